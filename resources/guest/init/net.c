/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network interfaces: sets the addresses the command line asks for, brings the
 * link up and pings the gateway through a raw socket.
 */
#include "params.h"
#include "steps.h"
#include "sys.h"
#include "text.h"

enum {
	SIOCSIFFLAGS = 0x8914,
	SIOCSIFADDR = 0x8916,
	SIOCSIFNETMASK = 0x891c,
	SIOCGIFHWADDR = 0x8927,
};
enum { IFF_UP = 0x1, IFF_BROADCAST = 0x2, IFF_RUNNING = 0x40, IFF_MULTICAST = 0x1000 };
enum { ICMP_ECHO_REPLY = 0, ICMP_ECHO = 8, ICMP_HEADER = 8, MAX_PAYLOAD = 1472 };

struct ifreq {
	char name[16];
	union {
		struct sockaddr_in address;
		struct {
			uint16_t family;
			uint8_t bytes[14];
		} hardware;
		int16_t flags;
		uint8_t pad[24];
	} u;
};

static struct nic {
	char name[16];
	uint8_t address[4], netmask[4], gateway[4], mac[6];
} all[MAX_NICS];
static unsigned count;
static unsigned payload = 56;

unsigned nets(void)
{
	return count;
}

static bool dotted(const char **s, uint8_t to[4])
{
	for (int i = 0; i < 4; i++) {
		uint64_t v;

		if (i && *(*s)++ != '.')
			return false;
		if (!number(s, &v) || v > 255)
			return false;
		to[i] = (uint8_t)v;
	}
	return true;
}

/* [INTERFACE:]ADDRESS/PREFIX,GATEWAY */
static bool parse(const char *s, struct nic *n)
{
	uint64_t prefix;

	copy(n->name, sizeof n->name, "eth0");
	if (*s < '0' || *s > '9') {
		size_t i = 0;

		for (; *s && *s != ':' && i + 1 < sizeof n->name; i++)
			n->name[i] = *s++;
		n->name[i] = 0;
		if (*s++ != ':')
			return false;
	}
	if (!dotted(&s, n->address) || *s++ != '/' || !number(&s, &prefix) || prefix > 32 ||
	    *s++ != ',' || !dotted(&s, n->gateway))
		return false;
	for (unsigned i = 0; i < 4; i++) {
		unsigned bits = prefix > 8 * i ? (unsigned)prefix - 8 * i : 0;

		n->netmask[i] = bits >= 8 ? 0xff : (uint8_t)(0xff00 >> bits);
	}
	return true;
}

static long set_address(long s, struct ifreq *r, unsigned long op, const uint8_t address[4])
{
	memset(&r->u, 0, sizeof r->u);
	r->u.address.family = AF_INET;
	memcpy(r->u.address.addr, address, 4);
	return sys_ioctl(s, op, r);
}

/* Returns what failed, or NULL. */
static const char *bring_up(struct nic *n, long *err)
{
	struct ifreq r = { 0 };
	long s = sys_socket(AF_INET, SOCK_DGRAM, 0);

	if ((*err = s) < 0)
		return "socket";
	copy(r.name, sizeof r.name, n->name);
	*err = sys_ioctl(s, SIOCGIFHWADDR, &r);
	if (*err < 0) {
		sys_close(s);
		return "missing";
	}
	memcpy(n->mac, r.u.hardware.bytes, sizeof n->mac);
	*err = set_address(s, &r, SIOCSIFADDR, n->address);
	if (*err >= 0)
		*err = set_address(s, &r, SIOCSIFNETMASK, n->netmask);
	if (*err >= 0) {
		memset(&r.u, 0, sizeof r.u);
		r.u.flags = IFF_UP | IFF_BROADCAST | IFF_RUNNING | IFF_MULTICAST;
		*err = sys_ioctl(s, SIOCSIFFLAGS, &r);
	}
	sys_close(s);
	return *err < 0 ? "up" : NULL;
}

/* The Internet checksum of an even number of bytes. */
static uint16_t checksum(const uint8_t *p, size_t n)
{
	uint32_t sum = 0;

	for (; n; p += 2, n -= 2)
		sum += *(const uint16_t *)p;
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~(sum + (sum >> 16));
}

long ping_open(void)
{
	long timeout[2] = { (long)param_number("heirloom.timeout", 3), 0 };
	long s = sys_socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);

	if (s >= 0)
		sys_setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, timeout, sizeof timeout);
	return s;
}

bool ping_once(long s, unsigned nic, unsigned seq)
{
	static _Alignas(4) uint8_t request[ICMP_HEADER + MAX_PAYLOAD];
	static _Alignas(4) uint8_t reply[60 + ICMP_HEADER + MAX_PAYLOAD];
	struct sockaddr_in to = { AF_INET, 0, { 0 }, { 0 } };
	unsigned id = (unsigned)sys_getpid() & 0xffff;
	size_t n = ICMP_HEADER + payload;
	uint16_t sum;

	memcpy(to.addr, all[nic].gateway, 4);
	memset(request, 0, ICMP_HEADER);
	request[0] = ICMP_ECHO;
	request[4] = (uint8_t)(id >> 8), request[5] = (uint8_t)id;
	request[6] = (uint8_t)(seq >> 8), request[7] = (uint8_t)seq;
	for (size_t i = ICMP_HEADER; i < n; i++)
		request[i] = (uint8_t)(i + seq);
	sum = checksum(request, n);
	memcpy(request + 2, &sum, 2);
	if (sys_sendto(s, request, n, &to) != (long)n)
		return false;

	/* A raw socket sees every ICMP packet: look for our own answer in full. */
	for (unsigned tries = 0; tries < 64; tries++) {
		long got = sys_recv(s, reply, sizeof reply);
		size_t header;

		if (got < 0)
			return false;
		header = (size_t)(reply[0] & 15) * 4;
		if ((size_t)got == header + n && reply[header] == ICMP_ECHO_REPLY &&
		    !memcmp(reply + 12, to.addr, 4) &&
		    !memcmp(reply + header + 4, request + 4, n - 4))
			return true;
	}
	return false;
}

static void check(const char *request)
{
	struct nic *n = &all[count];
	const char *wrong = "syntax";
	unsigned sent = 0, received = 0;
	uint64_t from = now_ms(), pings = param_number("heirloom.pings", 3);
	char reason[48];
	long err = 0;

	memset(n, 0, sizeof *n);
	if (parse(request, n))
		wrong = bring_up(n, &err);
	if (!wrong) {
		long s = ping_open();

		err = s;
		wrong = s < 0 ? "socket" : NULL;
		for (; !wrong && sent < pings; sent++)
			received += ping_once(s, count, sent + 1);
		if (s >= 0)
			sys_close(s);
	}

	out("HEIRLOOM-NET ");
	out(n->name);
	if (wrong) {
		out(" error=");
		out(wrong);
		out(":");
		out_int(err);
		failed(path(reason, sizeof reason, "net-", n->name, "-", wrong));
	} else {
		out(" mac=");
		for (int i = 0; i < 6; i++) {
			if (i)
				out(":");
			out_hex(n->mac[i], 2);
		}
		out(" sent=");
		out_num(sent);
		out(" received=");
		out_num(received);
		out(" ms=");
		out_num(now_ms() - from);
		if (received == sent)
			count++;
		else
			failed(path(reason, sizeof reason, "net-", n->name, "-lost", ""));
	}
	out_end();
}

void nets_check(void)
{
	const char *request;

	payload = (unsigned)param_number("heirloom.pingsize", payload) & ~1u;
	if (payload > MAX_PAYLOAD)
		payload = MAX_PAYLOAD;
	for (unsigned i = 0; count < MAX_NICS && (request = param("heirloom.net", i)); i++)
		check(request);
}

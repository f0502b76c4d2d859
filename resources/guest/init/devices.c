/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtio devices as the kernel sees them: where they are, which features were
 * negotiated, how they interrupt. Feature bit 32 (VIRTIO_F_VERSION_1) clear
 * means that the driver used the legacy interface.
 */
#include "params.h"
#include "steps.h"
#include "sys.h"
#include "text.h"

#define PCI_DEVICES "/sys/bus/pci/devices/"
#define VIRTIO_DEVICES "/sys/bus/virtio/devices/"

enum { VIRTIO_NET = 1, VIRTIO_BLK = 2 };

static uint64_t read_number(const char *dir, const char *device, const char *file)
{
	char name[192], text[32];
	const char *p = text;
	uint64_t v = 0;

	slurp(path(name, sizeof name, dir, device, "/", file), text, sizeof text);
	number(&p, &v);
	return v;
}

/* Calls each(name) for every virtio device, in the order of their numbers. */
static void every_device(void (*each)(const char *device))
{
	char name[16], file[128], text[8];

	for (unsigned i = 0; i < 32; i++) {
		char digits[3] = { (char)('0' + i / 10), (char)('0' + i % 10), 0 };

		path(name, sizeof name, "virtio", i < 10 ? digits + 1 : digits, "", "");
		path(file, sizeof file, VIRTIO_DEVICES, name, "/device", "");
		if (slurp(file, text, sizeof text) > 0)
			each(name);
	}
}

/* --- waiting --- */

struct census {
	unsigned functions; /* virtio PCI functions */
	unsigned devices;   /* virtio devices */
	unsigned disks, nics;       /* virtio devices of these kinds that have a driver */
	unsigned disks_up, nics_up; /* what their drivers have made of them */
};

static void count_function(const char *name, void *ctx)
{
	struct census *c = ctx;
	uint64_t id;

	if (read_number(PCI_DEVICES, name, "vendor") != 0x1af4)
		return;
	id = read_number(PCI_DEVICES, name, "device");
	c->functions += id >= 0x1000 && id <= 0x107f;
}

static bool has_driver(const char *device)
{
	char name[128], target[128];

	path(name, sizeof name, VIRTIO_DEVICES, device, "/driver", "");
	return sys_readlink(name, target, sizeof target) > 0;
}

static void count_device(const char *name, void *ctx)
{
	struct census *c = ctx;
	uint64_t id = read_number(VIRTIO_DEVICES, name, "device");

	c->devices++;
	if (!has_driver(name))
		return;
	c->disks += id == VIRTIO_BLK;
	c->nics += id == VIRTIO_NET;
}

static void count_block(const char *name, void *ctx)
{
	char last = name[length(name) - 1];

	/* vda, not vda1 */
	((struct census *)ctx)->disks_up += starts(name, "vd") && (last < '0' || last > '9');
}

static void count_nic(const char *name, void *ctx)
{
	((struct census *)ctx)->nics_up += !same(name, "lo");
}

void devices_wait(void)
{
	uint64_t deadline = now_ms() + param_number("heirloom.wait", 10) * 1000;
	uint64_t expected = param_number("heirloom.expect", 0);

	for (;;) {
		struct census c = { 0 };

		list(PCI_DEVICES, count_function, &c);
		list(VIRTIO_DEVICES, count_device, &c);
		list("/sys/class/block", count_block, &c);
		list("/sys/class/net", count_nic, &c);
		if (c.devices >= c.functions && c.devices >= expected && c.disks_up >= c.disks &&
		    c.nics_up >= c.nics)
			return;
		if (now_ms() >= deadline) {
			out("HEIRLOOM-WAIT timeout functions=");
			out_num(c.functions);
			out(" devices=");
			out_num(c.devices);
			out(" disks=");
			out_num(c.disks_up);
			out(" nics=");
			out_num(c.nics_up);
			out_end();
			failed("devices");
			return;
		}
		sleep_ms(50);
	}
}

/* --- interrupts --- */

struct irqs {
	unsigned lines;   /* rows of /proc/interrupts that name the device */
	bool message;     /* MSI-X, not a line */
	char first[12];   /* the number of the first row */
	uint64_t count;   /* interrupts so far, all CPUs, all rows */
};

static char interrupts[16384];

static bool word_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* A row: "  24:  12  0  PCI-MSI 49153-edge  virtio0-req.0". */
static void look_at_row(char *row, const char *device, struct irqs *found)
{
	size_t n = length(device);
	const char *p = row, *name = NULL;
	uint64_t v;

	for (const char *q = row + 1; *q; q++)
		if (!word_char(q[-1]) && starts(q, device) && !word_char(q[n]))
			name = q;
	if (!name)
		return;

	while (*p == ' ')
		p++;
	if (!found->lines++) {
		size_t i = 0;

		for (; p[i] && p[i] != ':' && i + 1 < sizeof found->first; i++)
			found->first[i] = p[i];
		found->first[i] = 0;
	}
	while (*p && *p != ':')
		p++;
	if (*p)
		p++;
	for (;;) {
		while (*p == ' ')
			p++;
		if (!number(&p, &v))
			break;
		/* the row of a line interrupt may go on with "11-fasteoi" or "IO-APIC" */
		if (*p != ' ')
			break;
		found->count += v;
	}
	/* A legacy driver names its vectors virtioN-SOMETHING; a line is just virtioN. */
	if (name[n] == '-')
		found->message = true;
}

static struct irqs irqs_of(const char *device)
{
	struct irqs found = { 0 };

	for (char *row = interrupts; *row;) {
		char *end = row, saved;

		while (*end && *end != '\n')
			end++;
		saved = *end;
		*end = 0;
		look_at_row(row, device, &found);
		*end = saved;
		row = saved ? end + 1 : end;
	}
	return found;
}

static void out_irqs(const struct irqs *i)
{
	if (!i->lines) {
		out(" irq=none");
	} else if (i->message) {
		out(" irq=msix:");
		out_num(i->lines);
	} else {
		out(" irq=intx:");
		out(i->first);
	}
}

/* --- reports --- */

/* The virtio device hangs below its PCI function: .../0000:00:03.0/virtio0 */
static void out_pci_function(const char *device)
{
	char name[128], target[256], *end, *start;
	long n = sys_readlink(path(name, sizeof name, VIRTIO_DEVICES, device, "", ""), target,
			      sizeof target - 1);

	out(" pci=");
	if (n <= 0) {
		out("none");
		return;
	}
	end = target + n;
	while (end > target && *end != '/')
		end--;
	*end = 0;
	for (start = end; start > target && start[-1] != '/';)
		start--;
	out(start);
	out(" pciid=");
	out_hex(read_number(PCI_DEVICES, start, "vendor"), 4);
	out(":");
	out_hex(read_number(PCI_DEVICES, start, "device"), 4);
	out(" rev=");
	out_hex(read_number(PCI_DEVICES, start, "revision"), 2);
}

static void report(const char *device)
{
	char name[128], bits[80];
	uint64_t features = 0;
	struct irqs i = irqs_of(device);
	long n;

	/* The file has one character per bit, bit 0 first. */
	n = slurp(path(name, sizeof name, VIRTIO_DEVICES, device, "/features", ""), bits,
		  sizeof bits);
	for (long b = 0; b < n && b < 64; b++)
		features |= (uint64_t)(bits[b] == '1') << b;

	out("HEIRLOOM-VIRTIO ");
	out(device);
	out_pci_function(device);
	out(" id=");
	out_num(read_number(VIRTIO_DEVICES, device, "device"));
	out(" driver=");
	out(has_driver(device) ? "yes" : "no");
	out(" legacy=");
	out(features >> 32 & 1 ? "no" : "yes");
	out(" features=");
	out_hex(features, 16);
	out_irqs(&i);
	out_end();
}

void devices_report(void)
{
	slurp("/proc/interrupts", interrupts, sizeof interrupts);
	every_device(report);
}

static void report_irqs(const char *device)
{
	struct irqs i = irqs_of(device);

	out("HEIRLOOM-IRQ ");
	out(device);
	out_irqs(&i);
	out(" count=");
	out_num(i.count);
	out_end();
}

void devices_report_irqs(void)
{
	slurp("/proc/interrupts", interrupts, sizeof interrupts);
	every_device(report_irqs);
}

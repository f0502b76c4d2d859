/* SPDX-License-Identifier: Apache-2.0 */
/* Strings, numbers, small files and report lines. See text.h. */
#include "text.h"

#include "sys.h"

void *memcpy(void *to, const void *from, size_t n)
{
	void *start = to;

	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	return start;
}

void *memset(void *to, int byte, size_t n)
{
	void *start = to;

	__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(byte) : "memory");
	return start;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const unsigned char *p = a, *q = b;

	for (; n; n--, p++, q++)
		if (*p != *q)
			return *p - *q;
	return 0;
}

size_t length(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

bool same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

bool starts(const char *s, const char *prefix)
{
	while (*prefix)
		if (*s++ != *prefix++)
			return false;
	return true;
}

bool copy(char *to, size_t n, const char *s)
{
	size_t i = 0;

	for (; s[i] && i + 1 < n; i++)
		to[i] = s[i];
	to[i] = 0;
	return !s[i];
}

const char *path(char *to, size_t n, const char *a, const char *b, const char *c, const char *d)
{
	const char *parts[4] = { a, b, c, d };
	size_t at = 0;

	for (int i = 0; i < 4; i++) {
		copy(to + at, n - at, parts[i]);
		at += length(to + at);
	}
	return to;
}

bool number(const char **s, uint64_t *value)
{
	const char *p = *s;
	uint64_t v = 0;

	if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
		for (p += 2;; p++) {
			char c = *p | 0x20;

			if (*p >= '0' && *p <= '9')
				v = (v << 4) | (unsigned)(*p - '0');
			else if (c >= 'a' && c <= 'f')
				v = (v << 4) | (unsigned)(c - 'a' + 10);
			else
				break;
		}
		if (p == *s + 2)
			return false;
	} else {
		for (; *p >= '0' && *p <= '9'; p++)
			v = v * 10 + (unsigned)(*p - '0');
		if (p == *s)
			return false;
	}
	*s = p;
	*value = v;
	return true;
}

uint64_t div10(uint64_t value, unsigned *rest)
{
	/* Long division in base 65536: every step fits 32 bits. */
	uint64_t quotient = 0;
	uint32_t r = 0;

	for (int shift = 48; shift >= 0; shift -= 16) {
		uint32_t part = (r << 16) | (uint32_t)((value >> shift) & 0xffff);

		quotient |= (uint64_t)(part / 10) << shift;
		r = part % 10;
	}
	*rest = r;
	return quotient;
}

long slurp(const char *file, char *buf, size_t n)
{
	long fd = sys_open(file, O_RDONLY), got, total = 0;

	buf[0] = 0;
	if (fd < 0)
		return fd;
	while ((size_t)total + 1 < n && (got = sys_read(fd, buf + total, n - 1 - total)) > 0)
		total += got;
	sys_close(fd);
	if (total > 0 && buf[total - 1] == '\n')
		total--;
	buf[total] = 0;
	return total;
}

void list(const char *dir, void (*each)(const char *name, void *ctx), void *ctx)
{
	struct entry {
		uint64_t ino;
		int64_t off;
		uint16_t reclen;
		uint8_t type;
		char name[];
	};
	_Alignas(8) char buf[2048];
	long fd = sys_open(dir, O_RDONLY | O_DIRECTORY), n;

	if (fd < 0)
		return;
	while ((n = sys_getdents64(fd, buf, sizeof buf)) > 0)
		for (long at = 0; at < n;) {
			struct entry *e = (struct entry *)(buf + at);

			if (e->name[0] != '.')
				each(e->name, ctx);
			at += e->reclen;
		}
	sys_close(fd);
}

static char line[512];
static size_t used;

/* One place is kept for the newline: a line that is too long is cut. */
static void put(char c)
{
	if (used + 1 < sizeof line)
		line[used++] = c;
}

void out(const char *s)
{
	while (*s)
		put(*s++);
}

void out_num(uint64_t value)
{
	char digits[20];
	int n = 0;

	do {
		unsigned rest;

		value = div10(value, &rest);
		digits[n++] = (char)('0' + rest);
	} while (value);
	while (n)
		put(digits[--n]);
}

void out_int(long value)
{
	if (value < 0)
		put('-');
	out_num(value < 0 ? -(uint64_t)value : (uint64_t)value);
}

void out_hex(uint64_t value, int digits)
{
	while (digits--)
		put("0123456789abcdef"[(value >> (4 * digits)) & 15]);
}

void out_end(void)
{
	size_t at = 0;

	line[used++] = '\n';
	while (at < used) {
		long n = sys_write(1, line + at, used - at);

		if (n <= 0 && n != -EINTR)
			break;
		if (n > 0)
			at += (size_t)n;
	}
	used = 0;
}

void out_drain(void)
{
	enum { TCSBRK = 0x5409 };

	/* With a non-zero argument TCSBRK is tcdrain(3). */
	sys_ioctl(1, TCSBRK, (void *)1);
}

uint64_t now_ms(void)
{
	struct timespec ts = { 0, 0 };

	if (sys_clock_gettime(CLOCK_BOOTTIME, &ts) < 0)
		sys_clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.sec * 1000 + (unsigned long)ts.nsec / 1000000;
}

void sleep_ms(unsigned ms)
{
	struct timespec ts = { ms / 1000, (long)(ms % 1000) * 1000000 };

	sys_nanosleep(&ts);
}

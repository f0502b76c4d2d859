/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtio disks: reads each from end to end past the page cache, prints its
 * SHA-256, writes a pattern where asked and reads it back.
 */
#include "params.h"
#include "sha256.h"
#include "steps.h"
#include "sys.h"
#include "text.h"

enum { SECTOR = 512, CHUNK = 65536 };
/* Blocks whose checksum is remembered for disk_spot_check(): 16 MiB of each disk. */
enum { REMEMBERED = 4096 };

enum {
	BLKROGET = 0x125e,
	BLKFLSBUF = 0x1261,
	/* _IOR(0x12, 114, size_t): the size in bytes */
	BLKGETSIZE64 = NR(0x80081272, 0x80041272),
};

static struct disk {
	char name[16], node[32];
	bool readonly, direct;
	long fd;
	uint64_t size;
	uint32_t remembered; /* entries of sums[] */
	uint32_t sums[REMEMBERED];
} all[MAX_DISKS];
static unsigned count;

static _Alignas(4096) uint8_t buffer[CHUNK];

unsigned disks(void)
{
	return count;
}

static uint32_t sum_of(const uint8_t *p, size_t n)
{
	/* FNV-1a by 32-bit words: quick, and sensitive to order */
	uint32_t h = 2166136261u;

	for (; n >= 4; p += 4, n -= 4)
		h = (h ^ *(const uint32_t *)p) * 16777619u;
	return h;
}

static void add(const char *name, void *ctx)
{
	char file[64], text[32];
	const char *p = text;
	uint64_t major = 0, minor = 0;
	struct disk *d = &all[count];
	char last = name[length(name) - 1];

	(void)ctx;
	if (!starts(name, "vd") || (last >= '0' && last <= '9') || count == MAX_DISKS)
		return;
	copy(d->name, sizeof d->name, name);
	path(d->node, sizeof d->node, "/dev/", name, "", "");

	/* With devtmpfs the node is there already, then this changes nothing. */
	slurp(path(file, sizeof file, "/sys/class/block/", name, "/dev", ""), text, sizeof text);
	if (number(&p, &major) && *p++ == ':' && number(&p, &minor))
		sys_mknod(d->node, S_IFBLK | 0600, (unsigned)major, (unsigned)minor);
	count++;
}

static void sort(void)
{
	for (unsigned i = 1; i < count; i++)
		for (unsigned j = i; j && memcmp(all[j - 1].name, all[j].name, sizeof all->name) > 0;
		     j--) {
			static struct disk other;

			other = all[j];
			all[j] = all[j - 1];
			all[j - 1] = other;
		}
}

static bool fail(const struct disk *d, const char *what, long err)
{
	char reason[48];

	out("HEIRLOOM-BLK ");
	out(d->name);
	out(" error=");
	out(what);
	out(":");
	out_int(err);
	out_end();
	failed(path(reason, sizeof reason, "blk-", d->name, "-", what));
	return false;
}

/* Opens past the page cache; if a driver cannot, drops the cache instead. */
static bool open_disk(struct disk *d)
{
	int readonly = 0;

	d->fd = sys_open(d->node, O_RDONLY | O_DIRECT);
	d->direct = d->fd >= 0;
	if (!d->direct)
		d->fd = sys_open(d->node, O_RDONLY);
	if (d->fd < 0)
		return fail(d, "open", d->fd);
	sys_ioctl(d->fd, BLKGETSIZE64, &d->size);
	sys_ioctl(d->fd, BLKROGET, &readonly);
	d->readonly = readonly;
	return true;
}

static void check(struct disk *d)
{
	static struct sha256 hash;
	uint64_t from = now_ms(), limit, at = 0;
	uint8_t digest[32];

	if (!open_disk(d))
		return;
	limit = param_number("heirloom.read", ~0ull);
	if (limit > d->size)
		limit = d->size;
	sys_ioctl(d->fd, BLKFLSBUF, NULL);
	sha256_start(&hash);
	while (at < limit) {
		size_t want = limit - at < CHUNK ? (size_t)(limit - at) : CHUNK;
		/* direct reads are whole sectors */
		long got = sys_pread(d->fd, buffer, (want + SECTOR - 1) & ~(size_t)(SECTOR - 1), at);

		if (got <= 0) {
			fail(d, "read", got);
			return;
		}
		if ((size_t)got > want)
			got = (long)want;
		for (long b = 0; b + BLOCK <= got; b += BLOCK)
			if (d->remembered == (at + b) / BLOCK && d->remembered < REMEMBERED)
				d->sums[d->remembered++] = sum_of(buffer + b, BLOCK);
		sha256_add(&hash, buffer, (size_t)got);
		at += (uint64_t)got;
	}
	sha256_end(&hash, digest);

	out("HEIRLOOM-BLK ");
	out(d->name);
	out(" size=");
	out_num(d->size);
	if (limit != d->size) {
		out(" hashed=");
		out_num(limit);
	}
	out(d->readonly ? " ro=yes" : " ro=no");
	out(" sha256=");
	for (int i = 0; i < 32; i++)
		out_hex(digest[i], 2);
	out(" ms=");
	out_num(now_ms() - from);
	out_end();
}

void disks_check(void)
{
	list("/sys/class/block", add, NULL);
	sort();
	for (unsigned i = 0; i < count; i++)
		check(&all[i]);
}

/* --- writes --- */

/* A sector of the text and a newline over and over, as `yes TEXT | head -c 512` prints. */
static void fill(uint8_t sector[SECTOR], const char *text)
{
	size_t n = length(text);

	for (size_t i = 0; i < SECTOR; i++)
		sector[i] = i % (n + 1) == n ? '\n' : (uint8_t)text[i % (n + 1)];
}

static const char *write_sector(struct disk *d, uint64_t sector, const char *text, long *err)
{
	static uint8_t pattern[SECTOR];
	uint64_t at = sector * SECTOR;
	uint32_t block = (uint32_t)(at / BLOCK);
	long fd;

	if (at + SECTOR > d->size)
		return "range";
	fill(pattern, text);
	/* Buffered, so that disks with bigger sectors work too. */
	fd = sys_open(d->node, O_RDWR);
	if ((*err = fd) < 0)
		return "open";
	*err = sys_pwrite(fd, pattern, SECTOR, at);
	if (*err != SECTOR) {
		sys_close(fd);
		return "write";
	}
	*err = sys_fsync(fd);
	if (*err < 0) {
		sys_close(fd);
		return "fsync";
	}
	sys_ioctl(fd, BLKFLSBUF, NULL);
	memset(buffer, 0, BLOCK);
	*err = sys_pread(fd, buffer, SECTOR, at);
	sys_close(fd);
	if (*err != SECTOR)
		return "reread";
	if (memcmp(buffer, pattern, SECTOR))
		return "differs";
	/* Later spot checks have to expect what is there now. */
	if (block < d->remembered &&
	    sys_pread(d->fd, buffer, BLOCK, (uint64_t)block * BLOCK) == BLOCK)
		d->sums[block] = sum_of(buffer, BLOCK);
	return NULL;
}

/* heirloom.write=[DISK:]SECTOR,TEXT */
static void write_one(const char *request)
{
	struct disk *d = NULL;
	const char *p = request, *wrong = NULL;
	char name[16] = "vda";
	uint64_t sector = 0;
	long err = 0;

	if (starts(p, "vd")) {
		size_t i = 0;

		for (; *p && *p != ':' && i + 1 < sizeof name; i++)
			name[i] = *p++;
		name[i] = 0;
		if (*p == ':')
			p++;
	}
	for (unsigned i = 0; i < count; i++)
		if (same(all[i].name, name))
			d = &all[i];
	if (!d)
		wrong = "nodisk";
	else if (!number(&p, &sector) || *p++ != ',')
		wrong = "syntax";

	out("HEIRLOOM-WRITE ");
	out(name);
	out(" sector=");
	out_num(sector);
	if (!wrong && d->readonly) {
		out(" skipped=readonly");
		out_end();
		return;
	}
	if (!wrong)
		wrong = write_sector(d, sector, p, &err);
	if (wrong) {
		char reason[48];

		out(" error=");
		out(wrong);
		out(":");
		out_int(err);
		failed(path(reason, sizeof reason, "write-", name, "-", wrong));
	} else {
		out(" ok");
	}
	out_end();
}

void disks_write(void)
{
	const char *request;

	for (unsigned i = 0; (request = param("heirloom.write", i)); i++)
		write_one(request);
}

/* --- spot checks --- */

bool disk_spot_check(unsigned disk, uint32_t *seed)
{
	struct disk *d = &all[disk];
	uint32_t block;

	if (!d->remembered)
		return true;
	/* xorshift32 */
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	block = *seed % d->remembered;
	if (!d->direct)
		sys_ioctl(d->fd, BLKFLSBUF, NULL);
	return sys_pread(d->fd, buffer, BLOCK, (uint64_t)block * BLOCK) == BLOCK &&
	       sum_of(buffer, BLOCK) == d->sums[block];
}

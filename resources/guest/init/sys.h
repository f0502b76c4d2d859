/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls without a C library, for x86_64 and i386.
 *
 * Every call returns what the kernel returns: a negative errno on failure.
 */
#ifndef SYS_H
#define SYS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __x86_64__
#define NR(x64, x32) (x64)
#define ARCH_NAME "x86_64"
#else
#define NR(x64, x32) (x32)
#define ARCH_NAME "i386"
#endif

/* In start.S: number, then up to six arguments. */
long syscall6(long nr, long a, long b, long c, long d, long e, long f);

#define SYS(nr, a, b, c, d, e) \
	syscall6((nr), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)

enum { O_RDONLY = 0, O_WRONLY = 1, O_RDWR = 2, O_DIRECT = 040000, O_DIRECTORY = 0200000 };
enum { SEEK_END = 2 };
enum { S_IFCHR = 0020000, S_IFBLK = 0060000 };
enum { AT_FDCWD = -100 };
enum { EINTR = 4, EEXIST = 17, EINVAL = 22, ENOSYS = 38 };

static inline long sys_open(const char *path, int flags)
{
	return SYS(NR(2, 5), path, flags, 0, 0, 0);
}
static inline long sys_close(long fd) { return SYS(NR(3, 6), fd, 0, 0, 0, 0); }
static inline long sys_read(long fd, void *p, size_t n) { return SYS(NR(0, 3), fd, p, n, 0, 0); }
static inline long sys_write(long fd, const void *p, size_t n)
{
	return SYS(NR(1, 4), fd, p, n, 0, 0);
}
static inline long sys_fsync(long fd) { return SYS(NR(74, 118), fd, 0, 0, 0, 0); }
static inline long sys_ioctl(long fd, unsigned long op, void *arg)
{
	return SYS(NR(16, 54), fd, op, arg, 0, 0);
}

/* The i386 calls take the offset as two halves. */
static inline long sys_pread(long fd, void *p, size_t n, uint64_t at)
{
#ifdef __x86_64__
	return SYS(17, fd, p, n, at, 0);
#else
	return SYS(180, fd, p, n, (uint32_t)at, (uint32_t)(at >> 32));
#endif
}
static inline long sys_pwrite(long fd, const void *p, size_t n, uint64_t at)
{
#ifdef __x86_64__
	return SYS(18, fd, p, n, at, 0);
#else
	return SYS(181, fd, p, n, (uint32_t)at, (uint32_t)(at >> 32));
#endif
}

static inline long sys_mkdir(const char *path, int mode)
{
	return SYS(NR(83, 39), path, mode, 0, 0, 0);
}
static inline long sys_mknod(const char *path, int mode, unsigned major, unsigned minor)
{
	return SYS(NR(133, 14), path, mode,
		   (minor & 0xff) | (major << 8) | ((minor & ~0xffu) << 12), 0, 0);
}
static inline long sys_mount(const char *what, const char *where, const char *type)
{
	return SYS(NR(165, 21), what, where, type, 0, 0);
}
static inline long sys_readlink(const char *path, char *to, size_t n)
{
	return SYS(NR(89, 85), path, to, n, 0, 0);
}
static inline long sys_getdents64(long fd, void *p, size_t n)
{
	return SYS(NR(217, 220), fd, p, n, 0, 0);
}
static inline long sys_lseek(long fd, long at, int whence)
{
	return SYS(NR(8, 19), fd, at, whence, 0, 0);
}
/* A private mapping of a file, for reading. */
static inline long sys_map(long fd, size_t n)
{
	enum { PROT_READ = 1, MAP_PRIVATE = 2 };

	return syscall6(NR(9, 192), 0, (long)n, PROT_READ, MAP_PRIVATE, fd, 0);
}
static inline long sys_munmap(long at, size_t n) { return SYS(NR(11, 91), at, n, 0, 0, 0); }
static inline long sys_init_module(const void *image, size_t n, const char *params)
{
	return SYS(NR(175, 128), image, n, params, 0, 0);
}
/* Linux 3.8 and newer. */
static inline long sys_finit_module(long fd, const char *params)
{
	return SYS(NR(313, 350), fd, params, 0, 0, 0);
}

static inline long sys_fork(void) { return SYS(NR(57, 2), 0, 0, 0, 0, 0); }
static inline long sys_wait4(long pid, int *status)
{
	return SYS(NR(61, 114), pid, status, 0, 0, 0);
}
static inline _Noreturn void sys_exit(int code)
{
	for (;;)
		SYS(NR(60, 1), code, 0, 0, 0, 0);
}
static inline long sys_pause(void) { return SYS(NR(34, 29), 0, 0, 0, 0, 0); }
static inline long sys_getpid(void) { return SYS(NR(39, 20), 0, 0, 0, 0, 0); }
static inline long sys_setaffinity(long pid, size_t n, const void *mask)
{
	return SYS(NR(203, 241), pid, n, mask, 0, 0);
}
static inline long sys_getaffinity(long pid, size_t n, void *mask)
{
	return SYS(NR(204, 242), pid, n, mask, 0, 0);
}
static inline long sys_reboot(unsigned long what)
{
	return SYS(NR(169, 88), 0xfee1dead, 672274793, what, 0, 0);
}

struct timespec {
	long sec, nsec;
};
/* CLOCK_BOOTTIME came with Linux 2.6.39. */
enum { CLOCK_MONOTONIC = 1, CLOCK_BOOTTIME = 7 };
static inline long sys_clock_gettime(int clock, struct timespec *ts)
{
	return SYS(NR(228, 265), clock, ts, 0, 0, 0);
}
static inline long sys_nanosleep(const struct timespec *ts)
{
	return SYS(NR(35, 162), ts, 0, 0, 0, 0);
}

struct utsname {
	char sysname[65], nodename[65], release[65], version[65], machine[65], domain[65];
};
static inline long sys_uname(struct utsname *u) { return SYS(NR(63, 122), u, 0, 0, 0, 0); }

struct sysinfo {
	long uptime;
	unsigned long loads[3];
	unsigned long totalram, freeram, sharedram, bufferram, totalswap, freeswap;
	uint16_t procs, pad;
	unsigned long totalhigh, freehigh;
	uint32_t mem_unit;
	char tail[64];
};
static inline long sys_sysinfo(struct sysinfo *s) { return SYS(NR(99, 116), s, 0, 0, 0, 0); }

/* Sockets. Before Linux 4.3, i386 had them only behind socketcall(2). */
struct sockaddr_in {
	uint16_t family, port;
	uint8_t addr[4];
	uint8_t zero[8];
};
enum { AF_INET = 2, SOCK_DGRAM = 2, SOCK_RAW = 3, IPPROTO_ICMP = 1 };
enum { SOL_SOCKET = 1, SO_RCVTIMEO = 20 };

#ifdef __x86_64__
#define SOCK_CALL(nr, call, a, b, c, d, e, f) \
	syscall6((nr), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#else
static inline long socketcall(long call, long a, long b, long c, long d, long e, long f)
{
	volatile long args[6] = { a, b, c, d, e, f };
	return SYS(102, call, args, 0, 0, 0);
}
#define SOCK_CALL(nr, call, a, b, c, d, e, f) \
	socketcall((call), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#endif

static inline long sys_socket(int domain, int type, int proto)
{
	return SOCK_CALL(41, 1, domain, type, proto, 0, 0, 0);
}
static inline long sys_sendto(long fd, const void *p, size_t n, const struct sockaddr_in *to)
{
	return SOCK_CALL(44, 11, fd, p, n, 0, to, sizeof *to);
}
static inline long sys_recv(long fd, void *p, size_t n)
{
	return SOCK_CALL(45, 12, fd, p, n, 0, 0, 0);
}
static inline long sys_setsockopt(long fd, int level, int name, const void *p, size_t n)
{
	return SOCK_CALL(54, 14, fd, level, name, p, n, 0);
}

#endif

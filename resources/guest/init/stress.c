/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks and network at once: one reader per disk and CPU, one pinger per
 * interface, each a process of its own and each tied to a CPU in turn, so that
 * on a machine with several CPUs they really meet.
 */
#include "params.h"
#include "steps.h"
#include "sys.h"
#include "text.h"

enum { MAX_CPUS = 64, MAX_WORKERS = 64 };

static uint64_t cpu_mask(void)
{
	unsigned long mask[1024 / (8 * sizeof(long))] = { 0 };
	uint64_t cpus = 0;

	sys_getaffinity(0, sizeof mask, mask);
	for (unsigned i = 0; i < MAX_CPUS; i++)
		cpus |= (uint64_t)(mask[i / (8 * sizeof(long))] >> (i % (8 * sizeof(long))) & 1) << i;
	return cpus;
}

unsigned cpus_online(void)
{
	uint64_t mask = cpu_mask();
	unsigned n = 0;

	for (; mask; mask &= mask - 1)
		n++;
	return n;
}

static void run_on(unsigned nth)
{
	uint64_t mask = cpu_mask();
	unsigned long one[1024 / (8 * sizeof(long))] = { 0 };
	unsigned cpu = 0;

	for (nth %= cpus_online();; cpu++)
		if (mask >> cpu & 1 && !nth--)
			break;
	one[cpu / (8 * sizeof(long))] = 1ul << (cpu % (8 * sizeof(long)));
	sys_setaffinity(0, sizeof one, one);
}

static _Noreturn void read_worker(unsigned disk, unsigned me, unsigned rounds)
{
	uint32_t seed = 0x9e3779b9u * (me + 1) | 1;
	unsigned bad = 0;

	while (rounds--)
		bad += !disk_spot_check(disk, &seed);
	sys_exit(bad > 255 ? 255 : (int)bad);
}

static _Noreturn void ping_worker(unsigned nic, unsigned rounds)
{
	unsigned bad = 0;
	long s = ping_open();

	for (unsigned i = 1; i <= rounds; i++)
		bad += s < 0 || !ping_once(s, nic, i);
	sys_exit(bad > 255 ? 255 : (int)bad);
}

void stress(void)
{
	unsigned rounds = (unsigned)param_number("heirloom.stress", 0);
	unsigned cpus = cpus_online(), started = 0, bad = 0, lost = 0;
	uint64_t from = now_ms();
	long pids[MAX_WORKERS];
	bool reader[MAX_WORKERS];

	if (!rounds)
		return;
	for (unsigned i = 0; i < disks() * cpus + nets() && started < MAX_WORKERS; i++) {
		bool reads = i < disks() * cpus;
		long pid = sys_fork();

		if (pid == 0) {
			run_on(i);
			if (reads)
				read_worker(i % disks(), i, rounds);
			ping_worker(i - disks() * cpus, rounds);
		}
		if (pid < 0) {
			failed("fork");
			break;
		}
		pids[started] = pid;
		reader[started++] = reads;
	}
	for (unsigned i = 0; i < started; i++) {
		int status = 0;

		while (sys_wait4(pids[i], &status) == -EINTR)
			;
		/* the exit status counts failures; anything else is one */
		if (status & 0x7f)
			status = 1 << 8;
		*(reader[i] ? &bad : &lost) += (unsigned)status >> 8 & 0xff;
	}
	out("HEIRLOOM-STRESS rounds=");
	out_num(rounds);
	out(" workers=");
	out_num(started);
	out(" bad-reads=");
	out_num(bad);
	out(" lost-pings=");
	out_num(lost);
	out(" ms=");
	out_num(now_ms() - from);
	out_end();
	if (bad)
		failed("stress-reads");
	if (lost)
		failed("stress-pings");
}

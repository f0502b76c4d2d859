/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only program of Heirloom's test guests. It exercises virtio disks and
 * network interfaces, reports in lines a machine can read, and ends the VM.
 * ../README.md has its parameters and the form of its lines.
 */
#include "params.h"
#include "steps.h"
#include "sys.h"
#include "text.h"

int main(void);

static void introduce(void)
{
	struct utsname name;
	struct sysinfo info = { 0 };
	uint64_t ms = now_ms();

	sys_uname(&name);
	sys_sysinfo(&info);
	out("HEIRLOOM-INIT arch=" ARCH_NAME " release=");
	out(name.release);
	out(" cpus=");
	out_num(cpus_online());
	out(" mem_kb=");
	out_num(((uint64_t)info.totalram * (info.mem_unit ? info.mem_unit : 1)) >> 10);
	out(" uptime_ms=");
	out_num(ms);
	out_end();
}

/* heirloom.dump=FILE prints a file as it is, for a look by hand. */
static void dump(void)
{
	static char text[16384];
	const char *file;

	for (unsigned i = 0; (file = param("heirloom.dump", i)); i++) {
		long n = slurp(file, text, sizeof text);

		out("HEIRLOOM-DUMP ");
		out(file);
		out_end();
		if (n > 0)
			sys_write(1, text, (size_t)n);
		out_end();
	}
}

static _Noreturn void end(void)
{
	const char *how = param("heirloom.end", 0);

	if (how && same(how, "reboot"))
		sys_reboot(0x01234567);
	else if (how && same(how, "halt"))
		sys_reboot(0xcdef0123);
	else if (!how || !same(how, "hang"))
		sys_reboot(0x4321fedc);
	for (;;)
		sys_pause();
}

int main(void)
{
	/* The initramfs has the directories; a root file system may not. */
	sys_mount("proc", "/proc", "proc");
	sys_mount("sysfs", "/sys", "sysfs");
	params_load();
	introduce();

	modules_load();
	devices_wait();
	devices_report();
	disks_check();
	disks_write();
	nets_check();
	stress();
	devices_report_irqs();
	dump();

	out("HEIRLOOM-DONE ");
	if (*failures()) {
		out("fail ");
		out(failures());
	} else {
		out("ok");
	}
	out_end();
	out_drain();
	end();
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads the kernel modules that the initramfs brings. /modules/order lists
 * files, one a line, dependencies first. Options come from the kernel command
 * line in the form MODULE.OPTION=VALUE, so that one command line serves kernels
 * that have a driver built in and kernels that have it as a module.
 */
#include "params.h"
#include "steps.h"
#include "sys.h"
#include "text.h"

/* Loads the module in an open file, also by kernels before 3.8, which take it from memory. */
static long insert(long fd, const char *options)
{
	long err = sys_finit_module(fd, options);
	long size, image;

	if (err != -ENOSYS)
		return err;
	size = sys_lseek(fd, 0, SEEK_END);
	if (size <= 0)
		return size;
	image = sys_map(fd, (size_t)size);
	if (image < 0 && image > -4096)
		return image;
	err = sys_init_module((const void *)image, (size_t)size, options);
	sys_munmap(image, (size_t)size);
	return err;
}

static bool load(const char *file)
{
	char name[64], file_path[128], options[256];
	size_t n;
	long fd, err;

	copy(name, sizeof name, file);
	n = length(name);
	if (n > 3 && same(name + n - 3, ".ko"))
		name[n - 3] = 0;
	module_options(name, options, sizeof options);

	fd = sys_open(path(file_path, sizeof file_path, "/modules/", file, "", ""), O_RDONLY);
	err = fd < 0 ? fd : insert(fd, options);
	if (fd >= 0)
		sys_close(fd);
	/* A module that is built in as well, or listed twice, is no failure. */
	if (err < 0 && err != -EEXIST) {
		out("HEIRLOOM-MODULE ");
		out(name);
		out(" error=");
		out_int(err);
		out_end();
		return false;
	}
	return true;
}

void modules_load(void)
{
	char order[2048];
	uint64_t from = now_ms();
	unsigned loaded = 0, bad = 0;

	if (slurp("/modules/order", order, sizeof order) <= 0)
		return;
	for (char *line = order; *line;) {
		char *end = line;

		while (*end && *end != '\n')
			end++;
		bool last = !*end;

		*end = 0;
		if (*line)
			load(line) ? loaded++ : bad++;
		if (last)
			break;
		line = end + 1;
	}
	out("HEIRLOOM-MODULES loaded=");
	out_num(loaded);
	out(" ms=");
	out_num(now_ms() - from);
	out_end();
	if (bad)
		failed("modules");
}

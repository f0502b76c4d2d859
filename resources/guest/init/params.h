/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel command line, and the verdict of the run. */
#ifndef PARAMS_H
#define PARAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void params_load(void);
/*
 * The value of the occurrence-th (from 0) parameter called name, or NULL. A
 * parameter without '=' has an empty value. The string lives as long as init.
 */
const char *param(const char *name, unsigned occurrence);
uint64_t param_number(const char *name, uint64_t otherwise);
/* Collects the options of a module, given as MODULE.OPTION=VALUE, as modprobe does. */
void module_options(const char *module, char *to, size_t n);

/* Notes that something failed; reasons are words without spaces. */
void failed(const char *reason);
/* All reasons, joined by commas; empty when nothing failed. */
const char *failures(void);

#endif

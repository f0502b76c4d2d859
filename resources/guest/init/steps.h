/* SPDX-License-Identifier: Apache-2.0 */
/* What init does, one file a step; main.c has the order. */
#ifndef STEPS_H
#define STEPS_H

#include <stdbool.h>
#include <stdint.h>

/* modules.c: loads what /modules/order names. */
void modules_load(void);

/* devices.c */
void devices_wait(void);          /* until every virtio PCI function has its driver, or time is up */
void devices_report(void);        /* one line per virtio device */
void devices_report_irqs(void);   /* how many interrupts each has had */

/* disk.c */
enum { MAX_DISKS = 8, BLOCK = 4096 };
void disks_check(void);           /* size and hash of every virtio disk */
void disks_write(void);           /* the writes that were asked for */
unsigned disks(void);
/* Reads a random block of a disk and compares it with what the first pass saw. */
bool disk_spot_check(unsigned disk, uint32_t *seed);

/* net.c */
enum { MAX_NICS = 4 };
void nets_check(void);            /* addresses, link up, pings */
unsigned nets(void);              /* interfaces that answered their pings */
/* A socket for ping_once(), and one ping; true if the right answer came. */
long ping_open(void);
bool ping_once(long socket, unsigned nic, unsigned seq);

/* stress.c: disks and network at once, from every CPU. */
unsigned cpus_online(void);
void stress(void);

#endif

// SPDX-License-Identifier: Apache-2.0
//
// Prints this machine's TSC rate in kHz.
//
// QEMU's translator hands the host's TSC to its guest. A guest kernel that calibrates it against an
// emulated timer gets it wrong on a busy host (705 instead of 2445 MHz was seen), and then every clock
// and timeout in the guest is off by that factor. So the host measures it and tells the guest.
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

#define SAMPLES 5
#define NAP_NS (40 * 1000 * 1000)

struct moment {
    double seconds;
    uint64_t tsc;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_RAW, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// The clock and the TSC cannot be read at once: take the pair with the least time in between.
static struct moment read_both(void)
{
    struct moment best = { 0, 0 };
    double narrowest = 1e9;
    for (int i = 0; i < 50; i++) {
        double before = now();
        uint64_t tsc = __rdtsc();
        double after = now();
        if (after - before < narrowest) {
            narrowest = after - before;
            best = (struct moment){ (before + after) / 2, tsc };
        }
    }
    return best;
}

int main(void)
{
    double khz[SAMPLES];
    for (int i = 0; i < SAMPLES; i++) {
        struct moment start = read_both();
        nanosleep(&(struct timespec){ 0, NAP_NS }, NULL);
        struct moment end = read_both();
        double value = (double)(end.tsc - start.tsc) / (end.seconds - start.seconds) / 1e3;
        int at = i;
        for (; at > 0 && khz[at - 1] > value; at--)
            khz[at] = khz[at - 1];
        khz[at] = value;
    }
    printf("%.0f\n", khz[SAMPLES / 2]);
    return 0;
}

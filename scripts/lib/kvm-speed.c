// SPDX-License-Identifier: Apache-2.0
//
// How fast does /dev/kvm run guest instructions? Prints one line whose first word is
//   hardware   the CPU (or a translator as fast as one) runs the guest
//   emulated   something interprets the guest, too slowly for an operating system
//   missing    no usable KVM here; the rest of the line says why
// and always exits 0: being without KVM is an answer, not an error.
//
// Some container sandboxes offer a /dev/kvm that passes every capability check and interprets each
// instruction, so only a stopwatch tells them apart.
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

// Interpreters reach about 1 M/s; nested KVM under QEMU's translator hundreds of millions; a CPU
// thousands of millions. 50 M/s is the least at which a stock kernel boots within a minute.
#define HARDWARE_PER_SECOND 50e6
// The whole probe stays below 3 s, whatever KVM does.
#define LOOP_BUDGET_SECONDS 0.8
#define EXIT_BUDGET_SECONDS 0.3
#define HARD_LIMIT_MS 2700

#define GUEST_BYTES 0x10000
#define CODE 0x1000
#define PORT_DONE 0x10

// Flat 32-bit protected mode, because old Intel CPUs run real mode through KVM's interpreter and
// would be taken for slow ones.
static const uint8_t guest_code[] = {
    0x49,                   // again: dec ecx
    0x75, 0xfd,             //        jnz again
    0xe6, PORT_DONE,        // done:  out PORT_DONE, al
    0xeb, 0xfc,             //        jmp done
};
enum { DONE_LABEL = 3 };

__attribute__((noreturn, format(printf, 1, 2)))
static void answer(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
    _exit(0);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void on_alarm(int signal_number) { (void)signal_number; }

// A repeating alarm: a single one could arrive just before KVM_RUN is entered and be lost.
static void alarm_after(double seconds)
{
    struct itimerval timer = {
        .it_value = { (time_t)seconds, (suseconds_t)((seconds - (double)(time_t)seconds) * 1e6) },
        .it_interval = { 0, 50 * 1000 },
    };
    if (seconds == 0)
        timer.it_interval.tv_usec = 0;
    setitimer(ITIMER_REAL, &timer, NULL);
}

struct machine {
    int vcpu;
    struct kvm_run *run;
};

__attribute__((noreturn))
static void no_permission(void)
{
    struct stat status;
    if (stat("/dev/kvm", &status) == 0 && (status.st_mode & 0060) == 0060)
        answer("missing: no permission for /dev/kvm; join its group (as root: adduser USER kvm) and log in again");
    answer("missing: no permission for /dev/kvm, nor has a group any; as root: chgrp kvm /dev/kvm; chmod 660 /dev/kvm");
}

static struct machine create_machine(void)
{
    struct machine m;
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0 && (errno == EACCES || errno == EPERM))
        no_permission();
    if (kvm < 0 && errno == ENOENT)
        answer("missing: there is no /dev/kvm");
    if (kvm < 0)
        answer("missing: cannot open /dev/kvm: %s", strerror(errno));

    int version = ioctl(kvm, KVM_GET_API_VERSION, 0);
    if (version != KVM_API_VERSION)
        answer("missing: /dev/kvm speaks API version %d, not %d", version, KVM_API_VERSION);
    int vm = ioctl(kvm, KVM_CREATE_VM, 0);
    if (vm < 0)
        answer("missing: KVM cannot create a VM: %s", strerror(errno));
    // Old Intel CPUs need three pages for their virtual-8086 tricks; elsewhere this may fail and does not matter.
    (void)ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000UL);

    uint8_t *memory = mmap(NULL, GUEST_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        answer("missing: no memory for the probe: %s", strerror(errno));
    memcpy(memory + CODE, guest_code, sizeof guest_code);
    struct kvm_userspace_memory_region region = {
        .memory_size = GUEST_BYTES, .userspace_addr = (uintptr_t)memory,
    };
    if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region))
        answer("missing: KVM refuses guest memory: %s", strerror(errno));

    m.vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
    if (m.vcpu < 0)
        answer("missing: KVM cannot create a vCPU: %s", strerror(errno));
    int run_bytes = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    m.run = run_bytes < (int)sizeof *m.run ? MAP_FAILED
          : mmap(NULL, (size_t)run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, m.vcpu, 0);
    if (m.run == MAP_FAILED)
        answer("missing: KVM does not map its run page");

    struct kvm_sregs sregs;
    if (ioctl(m.vcpu, KVM_GET_SREGS, &sregs))
        answer("missing: KVM_GET_SREGS fails: %s", strerror(errno));
    struct kvm_segment code = {
        .limit = 0xffffffff, .selector = 8, .type = 11, .present = 1, .db = 1, .s = 1, .g = 1,
    };
    struct kvm_segment data = code;
    data.selector = 16;
    data.type = 3;
    sregs.cs = code;
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
    sregs.cr0 |= 1;
    if (ioctl(m.vcpu, KVM_SET_SREGS, &sregs))
        answer("missing: KVM_SET_SREGS fails: %s", strerror(errno));
    return m;
}

// Runs until the guest's OUT (returns 1) or until an alarm (returns 0).
static int run(struct machine *m)
{
    if (ioctl(m->vcpu, KVM_RUN, 0)) {
        if (errno == EINTR || errno == EAGAIN)
            return 0;
        answer("missing: KVM cannot run a guest: %s", strerror(errno));
    }
    switch (m->run->exit_reason) {
    case KVM_EXIT_IO:
        if (m->run->io.port != PORT_DONE)
            answer("missing: KVM runs a guest wrongly (access to port 0x%x)", m->run->io.port);
        return 1;
    case KVM_EXIT_INTR:
        return 0;
    case KVM_EXIT_INTERNAL_ERROR:
        answer("missing: KVM gave up on a three-instruction guest (internal error %u)", m->run->internal.suberror);
    case KVM_EXIT_FAIL_ENTRY:
        answer("missing: the CPU refuses to enter a guest (reason 0x%llx)",
               (unsigned long long)m->run->fail_entry.hardware_entry_failure_reason);
    }
    answer("missing: KVM runs a guest wrongly (exit reason %u)", m->run->exit_reason);
}

static void set_regs(struct machine *m, uint64_t rip, uint32_t count)
{
    struct kvm_regs regs = { .rip = rip, .rcx = count, .rflags = 2 };
    if (ioctl(m->vcpu, KVM_SET_REGS, &regs))
        answer("missing: KVM_SET_REGS fails: %s", strerror(errno));
}

// Instructions per second: the best of many runs, because on a busy machine any one run may have lost the
// CPU for most of its time. Only a machine that stays slow for the whole budget is called slow.
static double loop_speed(struct machine *m)
{
    double stop = now() + LOOP_BUDGET_SECONDS, best = 0;
    uint32_t count = 2000;
    alarm_after(LOOP_BUDGET_SECONDS);
    for (;;) {
        set_regs(m, CODE, count);
        double start = now();
        int done = 0;
        while (!(done = run(m)) && now() < stop)
            ;
        double seconds = now() - start;
        uint32_t left = 0;
        if (!done) {
            struct kvm_regs regs;
            if (ioctl(m->vcpu, KVM_GET_REGS, &regs))
                answer("missing: KVM_GET_REGS fails: %s", strerror(errno));
            left = (uint32_t)regs.rcx;
        }
        double speed = 2.0 * (double)(count - left) / seconds;
        best = speed > best ? speed : best;
        int long_enough = seconds > 0.03;
        if (now() >= stop || (long_enough && best > HARDWARE_PER_SECOND))
            break;
        if (!long_enough && count < UINT32_MAX / 8)
            count *= 8;
    }
    alarm_after(0);
    return best;
}

// Again the best: of batches short enough to fit between two losses of the CPU.
static double exit_seconds(struct machine *m)
{
    double stop = now() + EXIT_BUDGET_SECONDS, best = EXIT_BUDGET_SECONDS;
    set_regs(m, CODE + DONE_LABEL, 0);
    alarm_after(EXIT_BUDGET_SECONDS);
    for (int batch = 0; batch < 50 && now() < stop; batch++) {
        double start = now();
        unsigned exits = 0;
        for (int i = 0; i < 20; i++)
            exits += (unsigned)run(m);
        double each = (now() - start) / (exits ? exits : 1);
        best = each < best ? each : best;
    }
    alarm_after(0);
    return best;
}

__attribute__((noreturn))
static void probe(void)
{
    // No SA_RESTART, so that the alarm makes KVM_RUN return.
    struct sigaction action = { .sa_handler = on_alarm };
    sigaction(SIGALRM, &action, NULL);
    struct machine m = create_machine();
    double speed = loop_speed(&m);
    double per_exit = exit_seconds(&m);
    answer("%s %.1f M instructions/s, %.1f us per exit", speed > HARDWARE_PER_SECOND ? "hardware" : "emulated",
           speed / 1e6, per_exit * 1e6);
}

// A KVM that hangs inside an ioctl cannot be interrupted from its own thread: a parent watches.
int main(void)
{
    int channel[2];
    if (pipe(channel)) {
        perror("kvm-speed: pipe");
        return 1;
    }
    pid_t child = fork();
    if (child < 0) {
        perror("kvm-speed: fork");
        return 1;
    }
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(channel[1], STDOUT_FILENO);
        close(channel[0]);
        close(channel[1]);
        probe();
    }
    close(channel[1]);
    char line[256];
    ssize_t got = 0;
    struct pollfd ready = { .fd = channel[0], .events = POLLIN };
    if (poll(&ready, 1, HARD_LIMIT_MS) == 1)
        got = read(channel[0], line, sizeof line - 1);
    else
        kill(child, SIGKILL);
    if (got <= 0)
        got = snprintf(line, sizeof line, "missing: KVM did not answer within %.1f s\n", HARD_LIMIT_MS / 1000.0);
    fwrite(line, 1, (size_t)got, stdout);
    return fflush(stdout) ? 1 : 0;
}

// SPDX-License-Identifier: Apache-2.0
use super::*;

const MEMINFO: &str = "MemTotal:        8000000 kB\nMemFree:          100000 kB\nMemAvailable:    4000000 kB\n\
    SwapTotal:       1000000 kB\nSwapFree:         500000 kB\nHugePages_Total:       0\n";

fn host() -> HostMemory {
    HostMemory::parse(MEMINFO).unwrap()
}

#[test]
fn meminfo_is_read_in_bytes() {
    let host = host();
    assert_eq!(host.total, 8_000_000 * 1024);
    assert_eq!(host.available, 4_000_000 * 1024);
    assert_eq!(host.swap_total, 1_000_000 * 1024);
    assert_eq!(host.swap_free, 500_000 * 1024);
}

#[test]
fn meminfo_without_the_figures_gives_nothing() {
    assert_eq!(HostMemory::parse(""), None);
    assert_eq!(HostMemory::parse("MemTotal: 5 kB\nMemAvailable: many kB\n"), None);
    assert_eq!(HostMemory::parse("MemTotal: 99999999999999999999 kB\nMemAvailable: 1 kB\n"), None);
}

#[test]
fn limit_is_what_is_available_with_free_swap() {
    let limit = 4_500_000 * 1024;
    assert!(host().check(limit).is_ok());
    let error = host().check(limit + 1).unwrap_err().to_string();
    assert!(error.contains("wants 4395 MiB") && error.contains("can give 4394 MiB"), "{error}");
    assert!(error.contains("available"), "{error}");
}

#[test]
fn operator_that_overcommits_gets_up_to_everything_there_is() {
    let host = HostMemory { overcommit_always: true, ..host() };
    assert!(host.check(9_000_000 * 1024).is_ok());
    let error = host.check(9_000_000 * 1024 + 1).unwrap_err().to_string();
    assert!(error.contains("vm.overcommit_memory"), "{error}");
}

#[test]
fn control_group_limit_counts_when_it_is_smaller() {
    let host = HostMemory { cgroup_max: Some(64 << 20), ..host() };
    assert!(host.check(64 << 20).is_ok());
    let error = host.check((64 << 20) + 1).unwrap_err().to_string();
    assert!(error.contains("can give 64 MiB") && error.contains("control group"), "{error}");
}

#[test]
fn this_host_tells() {
    let host = HostMemory::read().unwrap();
    assert!(host.available > 0 && host.available <= host.total);
    assert!(host.check(u64::MAX).is_err());
}

// SPDX-License-Identifier: Apache-2.0
use super::profile::{ALWAYS, LEGACY, Register};
use super::*;

fn leaf(function: u32, index: u32, regs: [u32; 4]) -> kvm_cpuid_entry2 {
    let [eax, ebx, ecx, edx] = regs;
    kvm_cpuid_entry2 { function, index, eax, ebx, ecx, edx, ..Default::default() }
}

const ONES: [u32; 4] = [u32::MAX; 4];

/// A host with every bit set.
fn host() -> CpuId {
    CpuId::from_entries(&[
        leaf(0, 0, [0x1f, 0, 0, 0]),
        leaf(1, 0, [0xa0655, 0x0712_0800, u32::MAX, u32::MAX]),
        leaf(4, 0, ONES),
        leaf(4, 1, ONES),
        leaf(5, 0, ONES),
        leaf(6, 0, ONES),
        leaf(7, 0, ONES),
        leaf(0xa, 0, ONES),
        leaf(0xb, 0, [1, 2, 0x100, 0x33]),
        leaf(0xb, 1, [4, 16, 0x201, 0x33]),
        leaf(0xd, 0, ONES),
        leaf(0x1f, 0, [1, 2, 0x100, 0x33]),
        leaf(0x4000_0000, 0, [0x4000_0001, 0x4b4d_564b, 0x564b_4d56, 0x4d]),
        leaf(0x4000_0001, 0, ONES),
        leaf(0x8000_0000, 0, [0x8000_0026, 0, 0, 0]),
        leaf(0x8000_0001, 0, ONES),
        leaf(0x8000_0008, 0, [0x3028, u32::MAX, u32::MAX, 0]),
        leaf(0x8000_000a, 0, ONES),
        leaf(0x8000_001d, 0, ONES),
        leaf(0x8000_001e, 0, ONES),
        leaf(0x8000_0026, 0, ONES),
    ])
    .unwrap()
}

fn filtered(profile: CpuProfile, vcpu: u8) -> CpuId {
    let mut cpuid = host();
    filter(&mut cpuid, profile, vcpu).unwrap();
    cpuid
}

fn find(cpuid: &CpuId, function: u32, index: u32) -> Option<kvm_cpuid_entry2> {
    cpuid.as_slice().iter().copied().find(|e| e.function == function && e.index == index)
}

fn get(cpuid: &CpuId, function: u32, index: u32) -> kvm_cpuid_entry2 {
    find(cpuid, function, index).unwrap()
}

#[test]
fn ids_are_the_vcpu_number_in_every_leaf() {
    let cpuid = filtered(CpuProfile::Host, 3);
    let one = get(&cpuid, 1, 0);
    assert_eq!(one.ebx, 0x0301_0800, "id, one processor; CLFLUSH size stays");
    assert_eq!(one.eax, 0xa0655, "the host's model");
    for index in 0..3 {
        assert_eq!(get(&cpuid, 0xb, index).edx, 3);
    }
    assert_eq!(get(&cpuid, 0x8000_001e, 0).eax, 3);
}

#[test]
fn e18_no_profile_offers_nested_virtual_machines() {
    for profile in [CpuProfile::Host, CpuProfile::Legacy] {
        let cpuid = filtered(profile, 0);
        assert_eq!(get(&cpuid, 1, 0).ecx & 1 << 5, 0, "VMX");
        assert_eq!(get(&cpuid, 0x8000_0001, 0).ecx & 1 << 2, 0, "SVM");
        let svm = find(&cpuid, 0x8000_000a, 0).map(|leaf| [leaf.eax, leaf.ebx, leaf.ecx, leaf.edx]);
        assert_eq!(svm.unwrap_or_default(), [0; 4]);
    }
}

#[test]
fn each_processor_is_a_package() {
    let cpuid = filtered(CpuProfile::Host, 1);
    assert_eq!(get(&cpuid, 1, 0).edx & 1 << 28, 0);
    for index in 0..2 {
        assert_eq!(get(&cpuid, 4, index).eax, 0x3fff, "no core and no sharer of a cache beside it");
    }
    assert_eq!(get(&cpuid, 0x8000_001d, 0).eax >> 14 & 0xfff, 0);
    assert_eq!(get(&cpuid, 0x8000_0008, 0).ecx & 0xf0ff, 0);
    let levels: Vec<_> = (0..3).map(|i| get(&cpuid, 0xb, i)).map(|e| (e.eax, e.ebx, e.ecx)).collect();
    assert_eq!(levels, [(0, 1, 0x100), (0, 1, 0x201), (0, 0, 2)]);
    assert!(find(&cpuid, 0x1f, 0).is_none() && find(&cpuid, 0x8000_0026, 0).is_none());
    assert_eq!(cpuid.as_slice().iter().filter(|e| e.function == 0xb).count(), 3, "none of the host's");
}

#[test]
fn host_profile_keeps_what_kvm_can_do() {
    let cpuid = filtered(CpuProfile::Host, 0);
    assert_eq!(get(&cpuid, 1, 0).ecx, !(1 << 3 | 1 << 5 | 1 << 27));
    assert_eq!(get(&cpuid, 5, 0).eax, 0, "MWAIT leaf");
    assert_eq!(get(&cpuid, 7, 0).ebx, u32::MAX);
    assert!(find(&cpuid, 0xd, 0).is_some());
}

#[test]
fn legacy_profile_hides_what_old_kernels_trip_over() {
    let cpuid = filtered(CpuProfile::Legacy, 0);
    let one = get(&cpuid, 1, 0);
    for bit in [3, 5, 13, 17, 21, 26, 27, 28, 30] {
        assert_eq!(one.ecx & 1 << bit, 0, "leaf 1 ECX bit {bit}");
    }
    for bit in [24, 31, 0, 9, 19, 20, 23] {
        assert_ne!(one.ecx & 1 << bit, 0, "leaf 1 ECX bit {bit}: TSC deadline, hypervisor, SSE3 to 4.2, POPCNT");
    }
    assert_eq!(get(&cpuid, 0, 0).eax, 6);
    assert_eq!(get(&cpuid, 0x8000_0000, 0).eax, 0x8000_0008);
    let functions: Vec<_> = cpuid.as_slice().iter().map(|e| e.function).collect();
    assert_eq!(
        functions,
        [0, 1, 4, 4, 5, 6, 0x4000_0000, 0x4000_0001, 0x8000_0000, 0x8000_0001, 0x8000_0008],
        "KVM's leaves stay"
    );
    assert_eq!(get(&cpuid, 0x4000_0001, 0).eax, 0x0100_006b, "clock, steal time and EOI; no hypercalls");
    assert_eq!(get(&cpuid, 0x8000_0008, 0).ebx, 1 << 2, "XSAVEERPTR stays: no x87 work-around at task switches");
    let extended = get(&cpuid, 0x8000_0001, 0);
    assert_eq!((extended.edx >> 26 & 1, extended.edx >> 29 & 1), (0, 1), "no 1 GiB pages; long mode stays");
}

#[test]
fn tables_name_no_bit_twice_and_give_reasons() {
    let mut seen: Vec<(u32, Register, u32)> = Vec::new();
    for hidden in ALWAYS.iter().chain(LEGACY) {
        assert!(!hidden.reason.is_empty() && hidden.bits != 0);
        for (function, register, bits) in &seen {
            let same = (*function, *register) == (hidden.function, hidden.register);
            assert!(!same || bits & hidden.bits == 0, "{hidden:?}");
        }
        seen.push((hidden.function, hidden.register, hidden.bits));
    }
}

#[test]
fn small_host_without_topology_leaf_gets_none() {
    let mut cpuid = CpuId::from_entries(&[leaf(0, 0, [4, 0, 0, 0]), leaf(1, 0, ONES)]).unwrap();
    filter(&mut cpuid, CpuProfile::Host, 0).unwrap();
    assert!(find(&cpuid, 0xb, 0).is_none());
    assert_eq!(physical_bits(&cpuid), 36);
}

#[test]
fn full_list_is_an_error() {
    let mut entries = vec![leaf(0x4000_0010, 0, [0; 4]); kvm_bindings::KVM_MAX_CPUID_ENTRIES - 1];
    entries.push(leaf(0, 0, [0xd, 0, 0, 0]));
    let mut cpuid = CpuId::from_entries(&entries).unwrap();
    assert!(filter(&mut cpuid, CpuProfile::Host, 0).is_err());
}

#[test]
fn address_width_is_read() {
    assert_eq!(physical_bits(&host()), 40);
}

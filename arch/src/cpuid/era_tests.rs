// SPDX-License-Identifier: Apache-2.0
use std::fs;
use std::path::Path;

use super::*;
use crate::cpuid::{CpuProfile, filter, physical_bits};

const ONES: [u32; 4] = [u32::MAX; 4];

/// A host with every bit set.
fn host(maker: [u32; 3]) -> CpuId {
    let mut leaves = vec![entry(0, [0x1f, maker[0], maker[1], maker[2]])];
    leaves.extend((1..=0x1f).map(|function| entry(function, ONES)));
    leaves.push(entry(0x4000_0000, [0x4000_0001, 0x4b4d_564b, 0x564b_4d56, 0x4d]));
    leaves.push(entry(0x4000_0001, ONES));
    leaves.push(entry(0x8000_0000, [0x8000_0026, 0, 0, 0]));
    leaves.extend((1..=7).map(|n| entry(0x8000_0000 + n, ONES)));
    leaves.push(entry(0x8000_0008, [0x3034, u32::MAX, u32::MAX, u32::MAX]));
    leaves.extend((0xa..=0x26).map(|n| entry(0x8000_0000 + n, ONES)));
    CpuId::from_entries(&leaves).unwrap()
}

fn seen(era: Era, maker: Maker, vcpu: u8) -> CpuId {
    let mut cpuid = host(maker.text());
    filter(&mut cpuid, CpuProfile::Era(era), vcpu).unwrap();
    cpuid
}

fn get(cpuid: &CpuId, function: u32) -> kvm_cpuid_entry2 {
    find(cpuid, function).unwrap()
}

#[test]
fn each_year_has_its_processor() {
    let identities = Era::ALL.map(|era| [Maker::Intel, Maker::Amd].map(|maker| model(era, maker).identity()));
    assert_eq!(
        identities,
        [[(6, 8, 10), (6, 6, 1)], [(6, 15, 6), (15, 65, 3)], [(6, 44, 2), (16, 4, 2)]],
        "family, model and stepping"
    );
    for era in Era::ALL {
        for maker in [Maker::Intel, Maker::Amd] {
            let (cpuid, model) = (seen(era, maker, 5), model(era, maker));
            let zero = get(&cpuid, 0);
            assert_eq!((zero.eax, [zero.ebx, zero.ecx, zero.edx]), (model.basic, maker.text()));
            let one = get(&cpuid, 1);
            assert_eq!((one.eax, one.ebx >> 16), (model.signature, 0x0501), "APIC id 5, one processor");
            assert_eq!(one.ebx >> 8 & 0xff, if era == Era::I686Of2001 { 0 } else { 8 }, "line of CLFLUSH");
        }
    }
}

#[test]
fn no_leaf_beyond_the_highest_of_the_year() {
    for (era, maker) in Era::ALL.into_iter().flat_map(|era| [(era, Maker::Intel), (era, Maker::Amd)]) {
        let (cpuid, model) = (seen(era, maker, 0), model(era, maker));
        for leaf in cpuid.as_slice() {
            let highest = match leaf.function >> 28 {
                0 => model.basic,
                4 => 0x4000_0001,
                _ => model.extended,
            };
            assert!(leaf.function <= highest, "{era:?} {maker:?}: {:#x}", leaf.function);
        }
        let numbers: Vec<_> = cpuid.as_slice().iter().map(|leaf| (leaf.function, leaf.index)).collect();
        let mut once = numbers.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), numbers.len(), "a leaf twice");
        let is_there = |function| find(&cpuid, function).is_some();
        assert!((0..=1).chain([0x4000_0000, 0x4000_0001]).all(is_there));
        assert!(model.extended == 0 || (0x8000_0000..=model.extended).all(is_there));
        assert_eq!(get(&cpuid, 0x4000_0001).eax, KVM_OLD_FEATURES, "clock and steal time");
    }
}

/// Written out a second time, by what Linux prints in /proc/cpuinfo.
#[test]
fn the_flags_of_each_year() {
    let flags = |era: Era| FLAGS.iter().filter(|flag| flag.is_in(era)).map(|flag| flag.name).collect::<Vec<_>>();
    let first =
        "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 mmx fxsr sse hypervisor mmxext";
    assert_eq!(flags(Era::I686Of2001).join(" "), first);
    let added = |newer: Era, older: Era| {
        let old = flags(older);
        flags(newer).into_iter().filter(|name| !old.contains(name)).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        added(Era::X8664Of2006, Era::I686Of2001),
        "clflush sse2 pni ssse3 cx16 syscall nx fxsr_opt rdtscp lm lahf_lm cr8_legacy"
    );
    assert_eq!(
        added(Era::X8664Of2010, Era::X8664Of2006),
        "ss pclmulqdq sse4_1 sse4_2 popcnt aes pdpe1gb abm sse4a misalignsse 3dnowprefetch"
    );
}

#[test]
fn flags_are_shown_where_kvm_has_them() {
    for (era, edx, ecx) in [
        (Era::I686Of2001, 0x0383_fbff, 1 << 31),
        (Era::X8664Of2006, 0x078b_fbff, 0x8000_2201),
        (Era::X8664Of2010, 0x0f8b_fbff, 0x8298_2203),
    ] {
        let one = get(&seen(era, Maker::Intel, 0), 1);
        assert_eq!((one.edx, one.ecx), (edx, ecx), "{era:?}");
    }
    let two = get(&seen(Era::X8664Of2006, Maker::Amd, 0), 0x8000_0001);
    assert_eq!((two.eax, two.edx, two.ecx), (0x0004_0f13, 0x2bd3_fbff, 0x11), "AMD repeats leaf 1");
    let two = get(&seen(Era::X8664Of2006, Maker::Intel, 0), 0x8000_0001);
    assert_eq!((two.eax, two.edx), (0, 0x2a50_0800), "Intel does not");

    let mut small = CpuId::from_entries(&[entry(0, [1, 0, 0, 0]), entry(1, [0, 0, 1, 1])]).unwrap();
    filter(&mut small, CpuProfile::Era(Era::X8664Of2010), 0).unwrap();
    let one = get(&small, 1);
    assert_eq!((one.edx, one.ecx, one.ebx >> 8 & 0xff), (1, 1, 0), "nothing is invented");
    assert_eq!(get(&small, 0x8000_0001).edx, 0);
}

#[test]
fn caches_addresses_and_name() {
    let cpuid = seen(Era::X8664Of2006, Maker::Intel, 0);
    let caches: Vec<_> = cpuid.as_slice().iter().filter(|leaf| leaf.function == 4).collect();
    let size = |leaf: &kvm_cpuid_entry2| (((leaf.ebx >> 22) + 1) * ((leaf.ebx & 0xfff) + 1) * (leaf.ecx + 1)) >> 10;
    assert_eq!(caches[..3].iter().map(|leaf| size(leaf)).collect::<Vec<_>>(), [32, 32, 4096], "KiB");
    assert_eq!((caches.len(), caches[3].eax), (4, 0), "an empty one is the last");
    let sizes: Vec<_> = model(Era::X8664Of2010, Maker::Intel)
        .caches
        .iter()
        .map(|&[_, ebx, ecx]| size(&entry(4, [0, ebx, ecx, 0])))
        .collect();
    assert_eq!(sizes, [32, 32, 256, 8192]);

    let bits = |era, maker| physical_bits(&seen(era, maker, 0));
    assert_eq!(Era::ALL.map(|era| bits(era, Maker::Intel)), [36, 36, 40]);
    assert_eq!(Era::ALL.map(|era| bits(era, Maker::Amd)), [36, 40, 48]);
    let mut narrow = host(Maker::Amd.text());
    narrow.as_mut_slice().iter_mut().filter(|leaf| leaf.function == 0x8000_0008).for_each(|leaf| leaf.eax = 0x3027);
    filter(&mut narrow, CpuProfile::Era(Era::X8664Of2010), 0).unwrap();
    assert_eq!(physical_bits(&narrow), 39, "no more than the host's");

    let text: Vec<u8> = (2..5)
        .map(|n| get(&cpuid, 0x8000_0000 + n))
        .flat_map(|leaf| [leaf.eax, leaf.ebx, leaf.ecx, leaf.edx])
        .flat_map(u32::to_le_bytes)
        .collect();
    assert_eq!(String::from_utf8(text).unwrap().trim_end_matches('\0'), "Heirloom x86_64-2006 virtual CPU");
}

#[test]
fn makers_that_old_kernels_do_not_know_are_what_they_are_like() {
    let hygon = [0x6f67_7948, 0x656e_6975, 0x6e65_476e];
    let zhaoxin = [0x6853_2020, 0x2020_6961, 0x6867_6e61];
    for (vendor, maker) in [(hygon, Maker::Amd), (zhaoxin, Maker::Intel)] {
        let mut cpuid = host(vendor);
        filter(&mut cpuid, CpuProfile::Era(Era::X8664Of2010), 0).unwrap();
        assert_eq!(get(&cpuid, 0).ebx, maker.text()[0]);
    }
}

/// The tables in the document are these. To write them: `HEIRLOOM_UPDATE=1 cargo test -p arch --lib era`.
#[test]
fn the_document_has_processors_and_flags() {
    const BEGIN: &str = "<!-- eras: generated from arch/src/cpuid/era.rs -->\n";
    const END: &str = "<!-- end of the eras -->\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operation.md");
    let page = fs::read_to_string(&path).unwrap();
    let mut text = String::from(
        "\n| `--cpu` | host | processor | family, model, stepping | highest leaves | physical address bits |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    for (era, maker) in Era::ALL.into_iter().flat_map(|era| [(era, Maker::Intel), (era, Maker::Amd)]) {
        let model = model(era, maker);
        let (family, number, stepping) = model.identity();
        let extended = if model.extended == 0 { "none".to_owned() } else { format!("{:#x}", model.extended) };
        text += &format!(
            "| `{}` | {} | {} | {family}, {number}, {stepping} | {:#x}, {extended} | {} |\n",
            era.name(),
            if maker == Maker::Intel { "Intel" } else { "AMD" },
            model.name,
            model.basic,
            model.address.0
        );
    }
    text += "\n| flag | leaf, register, bit | `i686-2001` | `x86_64-2006` | `x86_64-2010` |\n| --- | --- | --- | --- | --- |\n";
    for flag in FLAGS {
        let place = match flag.word {
            BasicEcx => "1, ECX",
            BasicEdx => "1, EDX",
            ExtendedEcx => "0x80000001, ECX",
            ExtendedEdx => "0x80000001, EDX",
        };
        let shown = Era::ALL.map(|era| if flag.is_in(era) { "yes" } else { "" }).join(" | ");
        text += &format!("| `{}` | {place}, {} | {shown} |\n", flag.name, flag.bit);
    }
    text += "\n";
    let (head, rest) = page.split_once(BEGIN).unwrap();
    let (is, tail) = rest.split_once(END).unwrap();
    if std::env::var_os("HEIRLOOM_UPDATE").is_some() {
        fs::write(&path, format!("{head}{BEGIN}{text}{END}{tail}")).unwrap();
    } else {
        assert_eq!(is, text, "HEIRLOOM_UPDATE=1 cargo test -p arch --lib era writes it");
    }
}

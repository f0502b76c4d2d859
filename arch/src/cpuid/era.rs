// SPDX-License-Identifier: Apache-2.0
//! Processors of a year: what the guest sees is a processor that was sold then, with the features that KVM has of it.
//! A kernel of that time finds a family and model that it knows, no leaf that it never read, and no feature that came
//! later; it neither fails at one nor works around a processor of today. Pure.
//!
//! The maker is the host's, because instructions differ: only Intel has SYSENTER in long mode, SYSCALL outside of it
//! is AMD's. What is not in the tables here is not shown: the list is built from zero.
//!
//! Sources: CPUID in Intel's SDM volume 2A and its application note 485; AMD's publication 25481; dumps of the
//! processors named. docs/operation.md has the table of flags, which is made of [`FLAGS`].

use kvm_bindings::{CpuId, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, kvm_cpuid_entry2};

use super::profile::{KVM_FEATURES, KVM_OLD_FEATURES, XSAVEERPTR};
use super::{CpuidFull, find};

/// A year, and the width of what ran then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Era {
    /// 32 bits, 2001: Pentium III, Athlon.
    I686Of2001,
    /// 64 bits, 2006: Core 2, Opteron of family 15.
    X8664Of2006,
    /// 64 bits, 2010: Westmere, Opteron of family 16.
    X8664Of2010,
}

impl Era {
    /// All of them, oldest first.
    pub const ALL: [Self; 3] = [Self::I686Of2001, Self::X8664Of2006, Self::X8664Of2010];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::I686Of2001 => "i686-2001",
            Self::X8664Of2006 => "x86_64-2006",
            Self::X8664Of2010 => "x86_64-2010",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Where a flag is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Leaf 1, ECX.
    BasicEcx,
    /// Leaf 1, EDX.
    BasicEdx,
    /// Leaf 0x80000001, ECX.
    ExtendedEcx,
    /// Leaf 0x80000001, EDX. Bits that AMD's processors repeat from leaf 1 are not flags of their own.
    ExtendedEdx,
}

/// A feature, and the years in which it is shown.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Linux' name of it.
    pub name: &'static str,
    /// The register.
    pub word: Word,
    /// The bit of it.
    pub bit: u8,
    years: u8,
}

impl Flag {
    /// Whether it is shown in `era`, where KVM has it.
    pub const fn is_in(&self, era: Era) -> bool {
        self.years & era.bit() != 0
    }
}

const FROM_2001: u8 = Era::I686Of2001.bit() | FROM_2006;
const FROM_2006: u8 = Era::X8664Of2006.bit() | FROM_2010;
const FROM_2010: u8 = Era::X8664Of2010.bit();

const fn flag(name: &'static str, word: Word, bit: u8, years: u8) -> Flag {
    Flag { name, word, bit, years }
}

use Word::{BasicEcx, BasicEdx, ExtendedEcx, ExtendedEdx};

/// Every flag that is shown in some year. All others are hidden: monitor (see `profile.rs`), what goes with counters,
/// tracing, power states and nested virtualisation, x2APIC (kernels want interrupt remapping with it), 3DNow!
/// (processors of today have none), and everything later.
pub const FLAGS: &[Flag] = &[
    flag("fpu", BasicEdx, 0, FROM_2001),
    flag("vme", BasicEdx, 1, FROM_2001),
    flag("de", BasicEdx, 2, FROM_2001),
    flag("pse", BasicEdx, 3, FROM_2001),
    flag("tsc", BasicEdx, 4, FROM_2001),
    flag("msr", BasicEdx, 5, FROM_2001),
    flag("pae", BasicEdx, 6, FROM_2001),
    flag("mce", BasicEdx, 7, FROM_2001),
    flag("cx8", BasicEdx, 8, FROM_2001),
    flag("apic", BasicEdx, 9, FROM_2001),
    flag("sep", BasicEdx, 11, FROM_2001),
    flag("mtrr", BasicEdx, 12, FROM_2001),
    flag("pge", BasicEdx, 13, FROM_2001),
    flag("mca", BasicEdx, 14, FROM_2001),
    flag("cmov", BasicEdx, 15, FROM_2001),
    flag("pat", BasicEdx, 16, FROM_2001),
    flag("pse36", BasicEdx, 17, FROM_2001),
    flag("clflush", BasicEdx, 19, FROM_2006),
    flag("mmx", BasicEdx, 23, FROM_2001),
    flag("fxsr", BasicEdx, 24, FROM_2001),
    flag("sse", BasicEdx, 25, FROM_2001),
    flag("sse2", BasicEdx, 26, FROM_2006),
    flag("ss", BasicEdx, 27, FROM_2010),
    flag("pni", BasicEcx, 0, FROM_2006),
    flag("pclmulqdq", BasicEcx, 1, FROM_2010),
    flag("ssse3", BasicEcx, 9, FROM_2006),
    flag("cx16", BasicEcx, 13, FROM_2006),
    flag("sse4_1", BasicEcx, 19, FROM_2010),
    flag("sse4_2", BasicEcx, 20, FROM_2010),
    flag("popcnt", BasicEcx, 23, FROM_2010),
    flag("aes", BasicEcx, 25, FROM_2010),
    flag("hypervisor", BasicEcx, 31, FROM_2001),
    flag("syscall", ExtendedEdx, 11, FROM_2006),
    flag("nx", ExtendedEdx, 20, FROM_2006),
    flag("mmxext", ExtendedEdx, 22, FROM_2001),
    flag("fxsr_opt", ExtendedEdx, 25, FROM_2006),
    flag("pdpe1gb", ExtendedEdx, 26, FROM_2010),
    flag("rdtscp", ExtendedEdx, 27, FROM_2006),
    flag("lm", ExtendedEdx, 29, FROM_2006),
    flag("lahf_lm", ExtendedEcx, 0, FROM_2006),
    flag("cr8_legacy", ExtendedEcx, 4, FROM_2006),
    flag("abm", ExtendedEcx, 5, FROM_2010),
    flag("sse4a", ExtendedEcx, 6, FROM_2010),
    flag("misalignsse", ExtendedEcx, 7, FROM_2010),
    flag("3dnowprefetch", ExtendedEcx, 8, FROM_2010),
];

/// Bits of leaf 1 EDX that AMD's processors have in leaf 0x80000001 EDX as well.
const REPEATED: u32 = 0x0183_f3ff;

/// The processor that a guest sees.
#[derive(Debug)]
pub struct Model {
    /// What it is called where the processor says its name.
    pub name: &'static str,
    /// Leaf 1, EAX: stepping, model, family.
    pub signature: u32,
    /// Highest basic leaf.
    pub basic: u32,
    /// Highest extended leaf; 0 for none.
    pub extended: u32,
    /// Intel's descriptors of caches and TLBs (leaf 2).
    descriptors: [u32; 4],
    /// Intel's caches (leaf 4): EAX, EBX, ECX.
    caches: &'static [[u32; 3]],
    /// AMD's caches and TLBs, or Intel's L2 (leaves 0x80000005 and 0x80000006).
    tables: [[u32; 4]; 2],
    /// Bits of a physical address, and of a linear one (leaf 0x80000008).
    address: (u8, u8),
}

impl Model {
    /// Family, model and stepping as Linux prints them.
    pub const fn identity(&self) -> (u32, u32, u32) {
        let base = self.signature >> 8 & 0xf;
        let family = if base == 0xf { base + (self.signature >> 20 & 0xff) } else { base };
        let model = self.signature >> 4 & 0xf;
        let model = if base >= 6 { model | self.signature >> 12 & 0xf0 } else { model };
        (family, model, self.signature & 0xf)
    }
}

/// Whose processor the host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// Intel, and those whose processors are like its.
    Intel,
    /// AMD, likewise.
    Amd,
}

impl Maker {
    const AMD: [u32; 3] = [0x6874_7541, 0x444d_4163, 0x6974_6e65];
    const INTEL: [u32; 3] = [0x756e_6547, 0x6c65_746e, 0x4965_6e69];
    const HYGON_EBX: u32 = 0x6f67_7948;

    /// By leaf 0 of the host.
    fn of(leaf: &kvm_cpuid_entry2) -> Self {
        if leaf.ebx == Self::AMD[0] || leaf.ebx == Self::HYGON_EBX { Self::Amd } else { Self::Intel }
    }

    /// EBX, ECX and EDX of leaf 0. Old kernels know neither Hygon nor Zhaoxin, so these are what they are like.
    const fn text(self) -> [u32; 3] {
        match self {
            Self::Intel => Self::INTEL,
            Self::Amd => Self::AMD,
        }
    }
}

const L1_32K: [[u32; 3]; 2] = [[0x121, 0x01c0_003f, 0x3f], [0x122, 0x01c0_003f, 0x3f]];
/// 32 KiB each for data and instructions, 4 MiB.
const CORE_2_CACHES: [[u32; 3]; 3] = [L1_32K[0], L1_32K[1], [0x143, 0x03c0_003f, 0xfff]];
/// 32 KiB for data, and for instructions (4 ways), 256 KiB, 8 MiB.
const NEHALEM_CACHES: [[u32; 3]; 4] =
    [L1_32K[0], [0x122, 0x00c0_003f, 0x7f], [0x143, 0x01c0_003f, 0x1ff], [0x163, 0x03c0_003f, 0x1fff]];

/// The processor of a year.
pub const fn model(era: Era, maker: Maker) -> Model {
    match maker {
        Maker::Intel => intel(era),
        Maker::Amd => amd(era),
    }
}

/// Intel's.
const fn intel(era: Era) -> Model {
    match era {
        Era::I686Of2001 => Model {
            name: "Pentium III (Coppermine)",
            signature: 0x68a,
            basic: 2,
            extended: 0,
            descriptors: [0x0302_0101, 0, 0, 0x0c04_0882],
            caches: &[],
            tables: [[0; 4]; 2],
            address: (36, 32),
        },
        Era::X8664Of2006 => Model {
            name: "Core 2 (Conroe)",
            signature: 0x6f6,
            basic: 4,
            extended: 0x8000_0008,
            descriptors: [0x05b0_b101, 0x0056_57f0, 0, 0x2cb4_3049],
            caches: &CORE_2_CACHES,
            tables: [[0; 4], [0, 0, 0x1000_8040, 0]],
            address: (36, 48),
        },
        Era::X8664Of2010 => Model {
            name: "Xeon (Westmere)",
            signature: 0x0002_06c2,
            basic: 6,
            extended: 0x8000_0008,
            descriptors: [0x5503_5a01, 0x00f0_b2e4, 0, 0x09ca_212c],
            caches: &NEHALEM_CACHES,
            tables: [[0; 4], [0, 0, 0x0100_6040, 0]],
            address: (40, 48),
        },
    }
}

/// AMD's.
const fn amd(era: Era) -> Model {
    match era {
        // The first that Linux takes for fit to be one of several processors, and the first with SSE.
        Era::I686Of2001 => Model {
            name: "Athlon MP (Palomino)",
            signature: 0x661,
            basic: 1,
            extended: 0x8000_0006,
            descriptors: [0; 4],
            caches: &[],
            tables: [[0x0408_ff08, 0xff20_ff10, 0x4002_0140, 0x4002_0140], [0, 0x4100_4100, 0x0100_8140, 0]],
            address: (36, 32),
        },
        Era::X8664Of2006 => Model {
            name: "Opteron (family 15, revision F)",
            signature: 0x0004_0f13,
            basic: 1,
            extended: 0x8000_0008,
            descriptors: [0; 4],
            caches: &[],
            tables: [[0xff08_ff08, 0xff20_ff20, 0x4002_0140, 0x4002_0140], [0, 0x4200_4200, 0x0400_8140, 0]],
            address: (40, 48),
        },
        Era::X8664Of2010 => Model {
            name: "Opteron (family 16)",
            signature: 0x0010_0f42,
            basic: 5,
            extended: 0x8000_0008,
            descriptors: [0; 4],
            caches: &[],
            tables: [
                [0xff30_ff10, 0xff30_ff20, 0x4002_0140, 0x4002_0140],
                [0x2080_0000, 0x4200_4200, 0x0200_8140, 0x0030_b140],
            ],
            address: (48, 48),
        },
    }
}

/// Replaces what KVM supports by a processor of `era`.
pub fn apply(cpuid: &mut CpuId, era: Era) -> Result<(), CpuidFull> {
    let host = std::mem::replace(cpuid, CpuId::new(0).map_err(|_| CpuidFull)?);
    let basic = find(&host, 0).unwrap_or_default();
    let maker = Maker::of(&basic);
    let model = model(era, maker);
    let mut list = vec![entry(0, [model.basic, maker.text()[0], maker.text()[1], maker.text()[2]])];
    list.extend(basic_leaves(&host, era, &model));
    // KVM's own: clock and steal time are good for every kernel that knows them.
    list.extend(host.as_slice().iter().filter(|leaf| leaf.function >> 28 == 4).map(|leaf| {
        let mask = if leaf.function == KVM_FEATURES { KVM_OLD_FEATURES } else { u32::MAX };
        kvm_cpuid_entry2 { eax: leaf.eax & mask, ..*leaf }
    }));
    if model.extended > 0 {
        list.extend(extended_leaves(&host, era, maker, &model));
    }
    list.into_iter().try_for_each(|leaf| cpuid.push(leaf)).map_err(|_| CpuidFull)
}

fn basic_leaves(host: &CpuId, era: Era, model: &Model) -> Vec<kvm_cpuid_entry2> {
    let features = find(host, 1).unwrap_or_default();
    let edx = features.edx & mask(era, BasicEdx);
    // The line of CLFLUSH in units of 8 bytes, where there is CLFLUSH; topology sets the rest.
    let line = if edx & 1 << 19 != 0 { 8 << 8 } else { 0 };
    let mut list = vec![entry(1, [model.signature, line, features.ecx & mask(era, BasicEcx), edx])];
    if model.basic >= 2 && model.descriptors != [0; 4] {
        list.push(entry(2, model.descriptors));
    }
    if !model.caches.is_empty() {
        // An empty one ends the list.
        list.extend(model.caches.iter().chain([&[0; 3]]).zip(0..).map(|(&[eax, ebx, ecx], index)| kvm_cpuid_entry2 {
            index,
            flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
            ..entry(4, [eax, ebx, ecx, 0])
        }));
    }
    // No MONITOR, no thermal sensors.
    list.extend((5..=model.basic).map(|function| entry(function, [0; 4])));
    list
}

fn extended_leaves(host: &CpuId, era: Era, maker: Maker, model: &Model) -> Vec<kvm_cpuid_entry2> {
    let features = find(host, 0x8000_0001).unwrap_or_default();
    let (vendor, signature, repeated) = match maker {
        Maker::Intel => ([0; 3], 0, 0),
        Maker::Amd => (maker.text(), model.signature, REPEATED & mask(era, BasicEdx)),
    };
    let edx = features.edx & (mask(era, ExtendedEdx) | repeated);
    let mut list = vec![
        entry(0x8000_0000, [model.extended, vendor[0], vendor[1], vendor[2]]),
        entry(0x8000_0001, [signature, 0, features.ecx & mask(era, ExtendedEcx), edx]),
    ];
    list.extend(brand(era));
    list.extend((0x8000_0005..).zip(model.tables).map(|(function, registers)| entry(function, registers)));
    if model.extended >= 0x8000_0008 {
        // EDX bit 8: the TSC runs at one speed in every power state. Processors of 2010 are the first that say so.
        let power = find(host, 0x8000_0007).unwrap_or_default();
        let invariant = if era >= Era::X8664Of2010 { power.edx & 1 << 8 } else { 0 };
        list.push(entry(0x8000_0007, [0, 0, 0, invariant]));
        let sizes = find(host, 0x8000_0008).unwrap_or_default();
        let physical = model.address.0.min((sizes.eax & 0xff) as u8);
        let eax = u32::from(physical) | u32::from(model.address.1) << 8;
        list.push(entry(0x8000_0008, [eax, sizes.ebx & XSAVEERPTR, 0, 0]));
    }
    list
}

/// Leaves 0x80000002 to 0x80000004: the name.
fn brand(era: Era) -> impl Iterator<Item = kvm_cpuid_entry2> {
    let mut text = [0; 48];
    let name = format!("Heirloom {} virtual CPU", era.name());
    text.iter_mut().zip(name.bytes()).for_each(|(to, byte)| *to = byte);
    (0..3).map(move |leaf: u32| {
        let word = |index: usize| {
            let at = leaf as usize * 16 + index * 4;
            u32::from_le_bytes([text[at], text[at + 1], text[at + 2], text[at + 3]])
        };
        entry(0x8000_0002 + leaf, [word(0), word(1), word(2), word(3)])
    })
}

/// The flags of a register in a year.
fn mask(era: Era, word: Word) -> u32 {
    FLAGS.iter().filter(|flag| flag.word == word && flag.is_in(era)).fold(0, |mask, flag| mask | 1 << flag.bit)
}

fn entry(function: u32, [eax, ebx, ecx, edx]: [u32; 4]) -> kvm_cpuid_entry2 {
    kvm_cpuid_entry2 { function, eax, ebx, ecx, edx, ..Default::default() }
}

#[cfg(test)]
#[path = "era_tests.rs"]
mod tests;

// SPDX-License-Identifier: Apache-2.0
use super::*;

const NONE: u64 = u64::MAX;

#[test]
fn e16_all_spellings_of_a_size() {
    let spellings = ["mem=64M", "mem=64m", "mem=65536K", "mem=65536k", "mem=67108864", "mem=0x4000000", "mem=0x40M"];
    for text in spellings.into_iter().chain(["mem=0400000000", "mem=0100M", "memmap=64M", "\"mem=64M\"", "mem=\"64M\""])
    {
        assert_eq!(of(text), 64 << 20, "{text}");
    }
    assert_eq!((of("mem=2G"), of("mem=1T"), of("mem=0x10G")), (2 << 30, 1 << 40, 16 << 30));
    assert_eq!((of("mem=1P"), of("mem=1e")), (1 << 50, 1 << 60));
    // Kernels read as far as the number goes.
    for text in ["mem=64MB", "mem=64M;", "mem=64m-1", "mem=0x4000000h", "mem=64M#1", "memmap=64Mx", "mem=64Mé"] {
        assert_eq!(of(text), 64 << 20, "{text}");
    }
}

#[test]
fn e16_only_whole_words_count_and_the_least_of_them() {
    assert_eq!(of("quiet mem=128M\tmem=32M mem=64M"), 32 << 20);
    for other in ["", "mem", "mem=", "xmem=1M", "highmem=1M", "root=/dev/mem=1M", "mem=nopentium", "mem=0", "mem=abc"] {
        assert_eq!(of(other), NONE, "{other}");
    }
    for other in [
        "mem=-1M",
        "mem=+5M",
        "mem=M",
        "mem=0x",
        "mem=99999999999T",
        "mem=é5",
        "memmap=64K$0xe0000",
        "memmap=1M#2M",
        "memmap=1M!4G",
        "memmap=1M%2M-1+3",
    ] {
        assert_eq!(of(other), NONE, "{other}");
    }
}

#[test]
fn e16_an_exact_map_ends_with_its_last_region() {
    assert_eq!(of("mem=exactmap mem=640K@0 mem=47M@1M"), 48 << 20);
    assert_eq!(of("memmap=exactmap memmap=63M@1M memmap=639K@0"), 64 << 20);
    assert_eq!(of("memmap=exactmap,640K@0,15M@1M"), 16 << 20);
    assert_eq!(of("memmap=64M@1G"), NONE, "it adds a region");
    // 2.4 has these regions and no others; later kernels read mem=47M.
    assert_eq!(of("mem=47M@1M"), 47 << 20);
    assert_eq!(of("mem=640K@0 mem=47M@1M"), 47 << 20);
    assert_eq!(of("mem=exactmap mem=47M@1Mfoo mem=640K@"), 48 << 20);
}

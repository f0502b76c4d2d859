// SPDX-License-Identifier: Apache-2.0
use super::*;

const NONE: u64 = u64::MAX;

#[test]
fn all_spellings_of_a_size() {
    let spellings = ["mem=64M", "mem=64m", "mem=65536K", "mem=65536k", "mem=67108864", "mem=0x4000000", "mem=0x40M"];
    for text in spellings.into_iter().chain(["mem=0400000000", "mem=0100M", "memmap=64M", "\"mem=64M\"", "mem=\"64M\""])
    {
        assert_eq!(of(text), 64 << 20, "{text}");
    }
    assert_eq!((of("mem=2G"), of("mem=1T"), of("mem=0x10G")), (2 << 30, 1 << 40, 16 << 30));
}

#[test]
fn only_whole_words_count_and_the_least_of_them() {
    assert_eq!(of("quiet mem=128M\tmem=32M mem=64M"), 32 << 20);
    for other in ["", "mem", "mem=", "xmem=1M", "highmem=1M", "root=/dev/mem=1M", "mem=nopentium", "mem=0", "mem=abc"] {
        assert_eq!(of(other), NONE, "{other}");
    }
    for other in
        ["mem=-1M", "mem=+5M", "mem=M", "mem=0x", "mem=99999999999T", "mem=5é", "memmap=64K$0xe0000", "memmap=1M#2M"]
    {
        assert_eq!(of(other), NONE, "{other}");
    }
}

#[test]
fn an_exact_map_ends_with_its_last_region() {
    assert_eq!(of("mem=exactmap mem=640K@0 mem=47M@1M"), 48 << 20);
    assert_eq!(of("memmap=exactmap memmap=63M@1M memmap=639K@0"), 64 << 20);
    assert_eq!(of("memmap=exactmap,640K@0,15M@1M"), 16 << 20);
    assert_eq!(of("memmap=64M@1G"), NONE, "it adds a region");
}

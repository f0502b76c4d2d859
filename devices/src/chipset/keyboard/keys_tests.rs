// SPDX-License-Identifier: Apache-2.0
use super::*;

fn make(key: Key, set: ScanCodeSet) -> Vec<u8> {
    key.codes(set, true).collect()
}

/// Each printable character has a key, and no key is two characters' without Shift between them.
#[test]
fn each_printable_character_has_its_own_key() {
    let mut seen = Vec::new();
    for byte in 0x20..0x7f_u8 {
        let (key, shift) = Key::of_character(byte).unwrap_or_else(|| panic!("no key for {:?}", char::from(byte)));
        assert!(!seen.contains(&(key.set_2, shift)), "{:?} has a key of another", char::from(byte));
        seen.push((key.set_2, shift));
        assert_eq!(shift, byte.is_ascii_uppercase() || b"~!@#$%^&*()_+{}|:\"<>?".contains(&byte));
    }
    assert_eq!(Key::of_character(0x7f), None);
    assert_eq!(Key::of_character(0x80), None);
}

/// The keys of the first PC lie in rows, and set 1 counts them from Escape on. So translated codes can be checked
/// without the table.
#[test]
fn set_1_counts_the_keys_of_the_pc_row_by_row() {
    let row = |characters: &[u8]| -> Vec<u8> {
        characters.iter().flat_map(|byte| make(Key::of_character(*byte).unwrap().0, ScanCodeSet::One)).collect()
    };
    let from = |first: u8, count: u8| (first..first + count).collect::<Vec<u8>>();
    assert_eq!(make(Key::ESCAPE, ScanCodeSet::One), [0x01]);
    assert_eq!(row(b"1234567890-="), from(0x02, 12));
    assert_eq!([make(Key::BACKSPACE, ScanCodeSet::One), make(Key::TAB, ScanCodeSet::One)].concat(), [0x0e, 0x0f]);
    assert_eq!(row(b"qwertyuiop[]"), from(0x10, 12));
    assert_eq!([make(Key::ENTER, ScanCodeSet::One), make(Key::CTRL, ScanCodeSet::One)].concat(), [0x1c, 0x1d]);
    assert_eq!(row(b"asdfghjkl;'`"), from(0x1e, 12));
    assert_eq!(make(Key::SHIFT, ScanCodeSet::One), [0x2a]);
    assert_eq!(row(b"\\zxcvbnm,./"), from(0x2b, 11));
    assert_eq!(make(Key::ALT, ScanCodeSet::One), [0x38]);
    assert_eq!(row(b" "), [0x39]);
    let functions = (1..=10).flat_map(|n| make(Key::function(n).unwrap(), ScanCodeSet::One)).collect::<Vec<_>>();
    assert_eq!(functions, from(0x3b, 10));
    assert_eq!(make(Key::function(11).unwrap(), ScanCodeSet::One), [0x57]);
    assert_eq!(make(Key::function(12).unwrap(), ScanCodeSet::One), [0x58]);
    assert_eq!((Key::function(0), Key::function(13)), (None, None));
    assert_eq!(make(Key::SYS_RQ, ScanCodeSet::One), [0x54]);
}

/// The grey block has the number block's codes behind a prefix.
#[test]
fn grey_keys_are_extended() {
    let codes = [
        (Key::HOME, 0x47),
        (Key::UP, 0x48),
        (Key::PAGE_UP, 0x49),
        (Key::LEFT, 0x4b),
        (Key::RIGHT, 0x4d),
        (Key::END, 0x4f),
        (Key::DOWN, 0x50),
        (Key::PAGE_DOWN, 0x51),
        (Key::INSERT, 0x52),
        (Key::DELETE, 0x53),
    ];
    for (key, code) in codes {
        assert_eq!(make(key, ScanCodeSet::One), [EXTENDED, code]);
        assert_eq!(make(key, ScanCodeSet::Two)[0], EXTENDED);
        assert_eq!(make(key, ScanCodeSet::Three).len(), 1, "set 3 has no prefix");
        assert_eq!(key.codes(ScanCodeSet::One, false).collect::<Vec<_>>(), [EXTENDED, code | 0x80]);
    }
    assert_eq!(Key::UP.codes(ScanCodeSet::Two, false).collect::<Vec<_>>(), [0xe0, 0xf0, 0x75]);
    assert_eq!(Key::UP.codes(ScanCodeSet::Three, false).collect::<Vec<_>>(), [0xf0, 0x63]);
}

/// What the controller says to a keyboard's own bytes.
#[test]
fn translation_leaves_answers_alone() {
    for byte in [0xaa, 0xab, 0xee, 0xfa, 0xfe, EXTENDED] {
        assert_eq!(translate(byte), byte);
    }
    assert_eq!(translate(0x83), 0x41, "F7, and the second byte of the keyboard's id");
    assert_eq!([translate(1), translate(2), translate(3)], [0x43, 0x41, 0x3f], "the answers to 'which set'");
    let mut images: Vec<_> = (0..=0x7f).map(translate).collect();
    images.sort_unstable();
    images.dedup();
    assert_eq!(images.len(), 128, "no two codes of set 2 are one of set 1");
}

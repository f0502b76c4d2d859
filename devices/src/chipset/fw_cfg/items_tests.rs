// SPDX-License-Identifier: Apache-2.0
use super::*;

#[test]
fn the_directory_leads_to_each_file() {
    let mut items = Items::new();
    assert_eq!(items.get(key::FILE_DIR), [0; 4]);
    items.add_file("etc/e820", vec![1; 20]).unwrap();
    items.add_file("bootorder", b"/x\0".to_vec()).unwrap();
    let directory = items.get(key::FILE_DIR);
    assert_eq!((directory.len(), &directory[..4]), (4 + 2 * 64, &[0, 0, 0, 2][..]));
    let second = &directory[68..];
    assert_eq!(second[..8], [0, 0, 0, 3, 0, 0x21, 0, 0]);
    assert_eq!(&second[8..18], b"bootorder\0");
    assert_eq!((items.get(0x21), items.get(0x20)), (&b"/x\0"[..], &[1; 20][..]));
}

#[test]
fn values_and_keys_that_are_not_there() {
    let mut items = Items::new();
    items.set_u16(key::NB_CPUS, 0x0102);
    assert_eq!((items.get(0), items.get(1)), (&b"QEMU"[..], &[3, 0, 0, 0][..]));
    assert_eq!(items.get(key::NB_CPUS | key::WRITE_CHANNEL), [2, 1], "the bit for writing means nothing");
    for missing in [0x02, 0x20, 0x3fff, 0x8000, 0x8005, 0xffff] {
        assert!(items.get(missing).is_empty(), "{missing:#x}");
    }
}

#[test]
fn names_that_are_none() {
    let mut items = Items::new();
    for name in ["", "a b", "a\0", "\u{fc}", &"x".repeat(56)] {
        assert_eq!(items.add_file(name, vec![]), Err(FileError::Name(name.to_owned())));
    }
    items.add_file(&"x".repeat(55), vec![]).unwrap();
    assert_eq!(items.add_file(&"x".repeat(55), vec![]), Err(FileError::Twice("x".repeat(55))));
    for n in 1..MAX_FILES {
        items.add_file(&n.to_string(), vec![]).unwrap();
    }
    assert_eq!(items.add_file("more", vec![]), Err(FileError::TooMuch("more".to_owned())));
}

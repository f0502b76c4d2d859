// SPDX-License-Identifier: Apache-2.0
use proptest::prelude::*;

use super::*;

fn strokes(bytes: &[u8]) -> Vec<Stroke> {
    let mut keys = TerminalKeys::default();
    let mut strokes: Vec<_> = bytes.iter().filter_map(|byte| keys.take(*byte)).collect();
    strokes.extend(keys.flush());
    strokes
}

fn one(bytes: &[u8]) -> Stroke {
    let strokes = strokes(bytes);
    assert_eq!(strokes.len(), 1, "{bytes:?}");
    strokes[0]
}

fn with(key: Key, modifiers: Modifiers) -> Stroke {
    Stroke { key, modifiers }
}

const NONE: Modifiers = Modifiers { shift: false, ctrl: false, alt: false, sys_rq: false };

#[test]
fn characters_and_control_characters() {
    let a = Key::of_character(b'a').unwrap().0;
    assert_eq!(one(b"a"), Stroke::of(a));
    assert_eq!(one(b"A"), with(a, Modifiers { shift: true, ..NONE }));
    assert_eq!(one(b"\x01"), with(a, Modifiers { ctrl: true, ..NONE }));
    assert_eq!(one(b"\x1ba"), with(a, Modifiers { alt: true, ..NONE }));
    assert_eq!(one(b"\x1bA"), with(a, Modifiers { alt: true, shift: true, ..NONE }));
    assert_eq!(one(b"\r"), Stroke::of(Key::ENTER));
    assert_eq!(one(b"\n"), Stroke::of(Key::ENTER), "as in a file that is piped in");
    assert_eq!(one(b"\t"), Stroke::of(Key::TAB));
    assert_eq!((one(b"\x7f"), one(b"\x08")), (Stroke::of(Key::BACKSPACE), Stroke::of(Key::BACKSPACE)));
    assert_eq!(one(b"\x1c"), with(Key::of_character(b'\\').unwrap().0, Modifiers { ctrl: true, ..NONE }));
    assert_eq!(one(b"\x1d"), with(Key::of_character(b']').unwrap().0, Modifiers { ctrl: true, ..NONE }));
    assert_eq!(one(b"\x00"), with(Key::of_character(b' ').unwrap().0, Modifiers { ctrl: true, ..NONE }));
    assert_eq!(strokes("\u{fc}".as_bytes()), [], "no key of a US keyboard");
}

#[test]
fn escape_alone_and_before_other_things() {
    let escape = Stroke::of(Key::ESCAPE);
    assert_eq!(strokes(b"\x1b"), [escape]);
    assert_eq!(strokes(b"\x1b\x1b"), [escape, escape]);
    assert_eq!(strokes(b"\x1b\x1b[A"), [escape, Stroke::of(Key::UP)]);
    assert_eq!(strokes(b"\x1b["), [with(Key::of_character(b'[').unwrap().0, Modifiers { alt: true, ..NONE })]);
    assert_eq!(
        strokes(b"\x1bO"),
        [with(Key::of_character(b'o').unwrap().0, Modifiers { alt: true, shift: true, ..NONE })]
    );
}

#[test]
fn sequences_of_the_usual_terminals() {
    let keys: &[(&[u8], Key)] = &[
        (b"\x1b[A", Key::UP),
        (b"\x1bOB", Key::DOWN),
        (b"\x1b[C", Key::RIGHT),
        (b"\x1b[D", Key::LEFT),
        (b"\x1b[H", Key::HOME),
        (b"\x1b[1~", Key::HOME),
        (b"\x1b[F", Key::END),
        (b"\x1b[4~", Key::END),
        (b"\x1b[2~", Key::INSERT),
        (b"\x1b[3~", Key::DELETE),
        (b"\x1b[5~", Key::PAGE_UP),
        (b"\x1b[6~", Key::PAGE_DOWN),
    ];
    for (bytes, key) in keys {
        assert_eq!(one(bytes), Stroke::of(*key), "{bytes:?}");
    }
    let functions: &[&[u8]] = &[b"11", b"12", b"13", b"14", b"15", b"17", b"18", b"19", b"20", b"21", b"23", b"24"];
    for (number, code) in (1..).zip(functions) {
        assert_eq!(one(&[b"\x1b[", *code, b"~"].concat()), Stroke::of(Key::function(number).unwrap()));
    }
    for number in 1..=4 {
        assert_eq!(one(&[ESC, b'O', b'O' + number]), Stroke::of(Key::function(number).unwrap()), "xterm");
    }
    for number in 1..=5 {
        assert_eq!(one(&[ESC, b'[', b'[', b'@' + number]), Stroke::of(Key::function(number).unwrap()), "Linux");
    }
}

#[test]
fn sequences_with_modifiers() {
    assert_eq!(one(b"\x1b[1;5A"), with(Key::UP, Modifiers { ctrl: true, ..NONE }));
    assert_eq!(one(b"\x1b[3;7~"), with(Key::DELETE, Modifiers { ctrl: true, alt: true, ..NONE }), "Ctrl+Alt+Delete");
    assert_eq!(one(b"\x1b[1;2P"), with(Key::function(1).unwrap(), Modifiers { shift: true, ..NONE }));
    assert_eq!(one(b"\x1b[Z"), with(Key::TAB, Modifiers { shift: true, ..NONE }));
}

#[test]
fn unknown_sequences_are_swallowed_whole() {
    let a = Stroke::of_character(b'a').unwrap();
    for sequence in [&b"\x1b[200~"[..], b"\x1b[?1;2c", b"\x1b[99999;99999;99999x", b"\x1bOz", b"\x1b[[Z"] {
        assert_eq!(strokes(&[sequence, b"a"].concat()), [a], "{sequence:?}");
    }
}

proptest! {
    /// Whatever is typed: at most one stroke a byte, one for the rest, and afterwards keys are keys again.
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut keys = TerminalKeys::default();
        bytes.iter().for_each(|byte| _ = keys.take(*byte));
        keys.flush();
        prop_assert_eq!(keys.take(b'x'), Stroke::of_character(b'x'));
        prop_assert_eq!(keys.flush(), None);
    }
}

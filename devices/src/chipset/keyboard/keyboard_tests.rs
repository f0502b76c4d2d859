// SPDX-License-Identifier: Apache-2.0
use proptest::prelude::*;

use super::terminal::Modifiers;
use super::*;

fn sent(keyboard: &mut Keyboard) -> Vec<u8> {
    std::iter::from_fn(|| keyboard.send()).collect()
}

fn ask(keyboard: &mut Keyboard, bytes: &[u8]) -> Vec<u8> {
    bytes
        .iter()
        .flat_map(|byte| {
            keyboard.receive(*byte);
            sent(keyboard)
        })
        .collect()
}

fn press(keyboard: &mut Keyboard, character: u8) -> bool {
    keyboard.press(Stroke::of_character(character).unwrap())
}

/// Linux's atkbd: identify, LEDs off, rate, set, enable; and the reset of its `atkbd.reset`.
#[test]
fn commands_that_drivers_send() {
    let mut keyboard = Keyboard::default();
    assert_eq!(ask(&mut keyboard, &[0xf2]), [0xfa, 0xab, 0x83]);
    assert_eq!(ask(&mut keyboard, &[0xf5]), [0xfa]);
    assert_eq!(ask(&mut keyboard, &[0xed, 0x02]), [0xfa, 0xfa]);
    assert_eq!(keyboard.leds, 2);
    assert_eq!(ask(&mut keyboard, &[0xf3, 0x00]), [0xfa, 0xfa]);
    assert_eq!(ask(&mut keyboard, &[0xf0, 0x00]), [0xfa, 0xfa, 0x02]);
    assert_eq!(ask(&mut keyboard, &[0xf0, 0x03, 0xf0, 0x00]), [0xfa, 0xfa, 0xfa, 0xfa, 0x03]);
    assert_eq!(ask(&mut keyboard, &[0xf0, 0x04]), [0xfa, 0xfe], "there is no set 4");
    assert_eq!(ask(&mut keyboard, &[0xf8, 0xfb, 0x1c, 0x1b, 0xf4]), [0xfa; 5]);
    assert_eq!(ask(&mut keyboard, &[0xee]), [0xee]);
    assert_eq!(ask(&mut keyboard, &[0xff]), [0xfa, 0xaa]);
    assert_eq!((keyboard.leds, keyboard.set), (0, ScanCodeSet::Two));
    assert_eq!(ask(&mut keyboard, &[0xf6]), [0xfa]);
    assert_eq!(ask(&mut keyboard, &[0x12]), [0xfe], "no command");
    assert_eq!(ask(&mut keyboard, &[0xed, 0xee]), [0xfa, 0xee], "a command in place of a parameter is one");
}

#[test]
fn resend_repeats_what_was_sent_last() {
    let mut keyboard = Keyboard::default();
    assert_eq!(ask(&mut keyboard, &[0xf2, 0xfe, 0xfe]), [0xfa, 0xab, 0x83, 0x83, 0x83]);
    assert_eq!(ask(&mut keyboard, &[0x00, 0xfe]), [0xfe, 0x83], "but not a request to repeat");
}

#[test]
fn keys_in_each_set() {
    let mut keyboard = Keyboard::default();
    assert!(press(&mut keyboard, b'a'));
    assert_eq!(sent(&mut keyboard), [0x1c, 0xf0, 0x1c]);
    assert!(press(&mut keyboard, b'A'));
    assert_eq!(sent(&mut keyboard), [0x12, 0x1c, 0xf0, 0x1c, 0xf0, 0x12]);
    ask(&mut keyboard, &[0xf0, 1]);
    assert!(press(&mut keyboard, b'a'));
    assert_eq!(sent(&mut keyboard), [0x1e, 0x9e]);
    ask(&mut keyboard, &[0xf0, 3]);
    assert!(keyboard.press(Stroke::of(Key::UP)));
    assert_eq!(sent(&mut keyboard), [0x63, 0xf0, 0x63]);
}

#[test]
fn sys_rq_holds_alt() {
    let mut keyboard = Keyboard::default();
    ask(&mut keyboard, &[0xf0, 1]);
    assert!(keyboard.press(Stroke::of_character(b'b').unwrap().sys_rq()));
    assert_eq!(sent(&mut keyboard), [0x38, 0x54, 0x30, 0xb0, 0xd4, 0xb8]);
}

#[test]
fn a_full_buffer_takes_whole_strokes_or_none() {
    let mut keyboard = Keyboard::default();
    let strokes = (0..).take_while(|_| press(&mut keyboard, b'A')).count();
    assert_eq!(strokes, BUFFER / 6);
    let codes = sent(&mut keyboard);
    assert_eq!(codes.len(), 6 * strokes);
    assert_eq!(codes[codes.len() - 2..], [0xf0, 0x12], "Shift does not stay down");
    assert!(press(&mut keyboard, b'A'));
}

#[test]
fn keys_that_nobody_scans_are_lost() {
    let mut keyboard = Keyboard::default();
    assert!(press(&mut keyboard, b'a'));
    assert_eq!(ask(&mut keyboard, &[0xf5]), [0xfa], "disabling forgets what waits");
    assert!(press(&mut keyboard, b'a'));
    assert!(sent(&mut keyboard).is_empty());
    ask(&mut keyboard, &[0xf4]);
    assert!(press(&mut keyboard, b'a'));
    assert_eq!(sent(&mut keyboard).len(), 3);
}

#[test]
fn answers_go_before_keys() {
    let mut keyboard = Keyboard::default();
    assert!(press(&mut keyboard, b'a'));
    keyboard.receive(0xed);
    assert_eq!(sent(&mut keyboard), [0xfa, 0x1c, 0xf0, 0x1c]);
}

proptest! {
    /// Whatever is sent: an answer at once, bounded queues, and a state that can be saved.
    #[test]
    fn any_bytes(bytes in prop::collection::vec((any::<u8>(), any::<u8>(), any::<bool>()), 1..80)) {
        let mut keyboard = Keyboard::default();
        for (byte, key, take) in bytes {
            keyboard.receive(byte);
            prop_assert!((1..=3).contains(&keyboard.answers.len()));
            if let Some(stroke) = Stroke::of_character(key) {
                let modifiers = Modifiers { ctrl: key & 1 != 0, alt: key & 2 != 0, shift: true, sys_rq: byte & 1 != 0 };
                keyboard.press(Stroke { modifiers, ..stroke });
            }
            if take {
                keyboard.send();
            }
            prop_assert!(keyboard.codes.len() <= BUFFER);
        }
        let saved = serde_json::to_string(&keyboard).unwrap();
        prop_assert_eq!(serde_json::from_str::<Keyboard>(&saved).unwrap(), keyboard);
    }
}

// SPDX-License-Identifier: Apache-2.0
use super::*;

const SIZE: (u16, u16) = (80, 25);

fn screen(lines: &[&str], cursor: Option<(u16, u16)>) -> Screen {
    let columns = lines.first().map_or(0, |line| line.len()) as u16;
    let cells = lines.iter().flat_map(|line| line.bytes()).map(|character| Cell { character, attribute: 7 }).collect();
    let cursor = cursor.map(|(row, column)| Cursor { row, column });
    Screen { columns, cells, cursor, blink: true, graphics: false }
}

fn drawn(painter: &mut Painter, screen: &Screen) -> String {
    painter.update(screen.clone(), SIZE).replace('\x1b', "^")
}

#[test]
fn first_all_of_it_then_what_changed() {
    let mut painter = Painter::new();
    let first = screen(&["abcdef", "      "], Some((1, 0)));
    assert_eq!(drawn(&mut painter, &first), "^[0m^[2J^[H^[?25l^[1;1H^[0mabcdef^[2;1H^[?25h");
    assert_eq!(drawn(&mut painter, &first), "", "nothing changed");

    let mut second = screen(&["aBcdEF", "      "], Some((1, 1)));
    second.cells[4].attribute = 0x1e;
    second.cells[5].attribute = 0x8c;
    assert_eq!(drawn(&mut painter, &second), "^[1;2H^[0mB^[1;5H^[0;93;44mE^[0;5;91;40mF^[2;2H^[?25h");

    second.cursor = None;
    assert_eq!(drawn(&mut painter, &second), "^[?25l");
    painter.redraw();
    assert!(drawn(&mut painter, &second).starts_with("^[0m^[2J"));
}

#[test]
fn a_bright_background_where_nothing_blinks() {
    let mut text = screen(&["x"], None);
    text.blink = false;
    text.cells[0].attribute = 0xf0;
    assert!(drawn(&mut Painter::new(), &text).contains("^[0;30;107mx"));
}

#[test]
fn a_small_terminal_shows_what_is_around_the_cursor() {
    let mut painter = Painter::new();
    let text = screen(&["one..", "two..", "three"], Some((2, 1)));
    let shown = painter.update(text.clone(), (3, 2)).replace('\x1b', "^");
    assert_eq!(shown, "^[0m^[2J^[H^[?25l^[1;1H^[0mtwo^[2;1Hthr^[2;2H^[?25h");
    let shown = painter.update(Screen { cursor: Some(Cursor { row: 0, column: 4 }), ..text }, (3, 2));
    assert_eq!(
        shown.replace('\x1b', "^"),
        "^[0m^[2J^[H^[?25l^[1;1H^[0mone^[2;1Htwo^[?25l",
        "the cursor is off to the right"
    );
}

#[test]
fn another_shape_is_drawn_anew() {
    let mut painter = Painter::new();
    let _ = drawn(&mut painter, &screen(&["ab", "cd"], None));
    assert!(drawn(&mut painter, &screen(&["abcd"], None)).contains("^[2J"));
    let graphics = Screen { graphics: true, ..Screen::default() };
    assert!(drawn(&mut painter, &graphics).contains("graphics mode"));
    assert_eq!(drawn(&mut painter, &graphics), "");
    assert_eq!(painter.update(graphics, (0, 0)).replace('\x1b', "^").matches("^[2J").count(), 1, "no terminal at all");
}

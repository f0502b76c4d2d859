// SPDX-License-Identifier: Apache-2.0
//! What the characters in a VGA's ROM look like, as Unicode: code page 437 with the glyphs that it has for control
//! codes. A guest that loads a font of its own shows something else beyond ASCII; that is not followed. Pure.

/// 16 rows of 16 characters. Codes 0, 32 and 255 are blank.
const GLYPHS: &str = "\
\u{20}☺☻♥♦♣♠•◘○◙♂♀♪♫☼\
►◄↕‼¶§▬↨↑↓→←∟↔▲▼\
\u{20}!\"#$%&'()*+,-./\
0123456789:;<=>?\
@ABCDEFGHIJKLMNO\
PQRSTUVWXYZ[\\]^_\
`abcdefghijklmno\
pqrstuvwxyz{|}~⌂\
ÇüéâäàåçêëèïîìÄÅ\
ÉæÆôöòûùÿÖÜ¢£¥₧ƒ\
áíóúñÑªº¿⌐¬½¼¡«»\
░▒▓│┤╡╢╖╕╣║╗╝╜╛┐\
└┴┬├─┼╞╟╚╔╩╦╠═╬╧\
╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀\
αßΓπΣσµτΦΘΩδ∞φε∩\
≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{20}";

/// The glyph of a character code.
pub(super) fn to_char(code: u8) -> char {
    if matches!(code, b' '..=b'~') {
        return code.into();
    }
    GLYPHS.chars().nth(code.into()).unwrap_or(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_glyph_of_its_own() {
        assert_eq!(GLYPHS.chars().count(), 256);
        for code in b' '..=b'~' {
            assert_eq!(GLYPHS.chars().nth(code.into()), Some(code.into()), "{code}");
        }
        assert_eq!(
            [0x00, 0x01, 0x7f, 0xb0, 0xc4, 0xdb, 0xe1, 0xfe, 0xff].map(to_char),
            [' ', '☺', '⌂', '░', '─', '█', 'ß', '■', ' ']
        );
        let mut seen: Vec<char> = GLYPHS.chars().filter(|glyph| *glyph != ' ').collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 253, "blank are 0, 32 and 255");
    }
}

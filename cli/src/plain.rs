//! Text as others can carry it: no terminal's escape sequences, no control characters.

use std::borrow::Cow;

/// Where an escape sequence begins.
const ESCAPE: char = '\u{1b}';

/// What ends an operating system command besides `ESC \`.
const BELL: char = '\u{7}';

/// Returns the text without escape sequences; what XML 1.0 cannot carry is replaced.
pub(crate) fn plain(text: &str) -> String {
    without_escapes(text, false)
}

/// Returns the text as a terminal may be given it: coloured, but with nothing that moves, asks for or sets anything.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    let is_plain = |byte: &u8| (b' '..=b'~').contains(byte) || matches!(byte, b'\n' | b'\t');
    if text.as_bytes().iter().all(is_plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(without_escapes(text, true))
}

fn without_escapes(text: &str, keeps_colours: bool) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            ESCAPE => match rest.next() {
                // Control sequences: parameters, and a final character.
                Some('[') => {
                    let mut parameters = String::new();
                    let last = rest.find(|it| {
                        parameters.push(*it);
                        ('@'..='~').contains(it)
                    });
                    let is_colour = parameters.trim_end_matches('m').chars().all(is_parameter);
                    if keeps_colours && last == Some('m') && is_colour {
                        plain.push_str("\u{1b}[");
                        plain.push_str(&parameters);
                    }
                }
                // Texts for the terminal, such as links and titles: up to BEL or ESC \.
                Some(']' | 'P' | '^' | '_' | 'X') => {
                    while let Some(it) = rest.next() {
                        if it == BELL || (it == ESCAPE && rest.next_if_eq(&'\\').is_some()) {
                            break;
                        }
                    }
                }
                // Two or three characters: intermediates, and a final one.
                Some(' '..='/') => while rest.next().is_some_and(|it| (' '..='/').contains(&it)) {},
                Some(_) | None => {}
            },
            '\r' if rest.peek() == Some(&'\n') => {}
            other if is_carried(other) => plain.push(other),
            _ => plain.push(char::REPLACEMENT_CHARACTER),
        }
    }
    plain
}

/// Returns whether a colour may be said with a character.
fn is_parameter(character: char) -> bool {
    character.is_ascii_digit() || matches!(character, ';' | ':')
}

/// Returns whether a document of XML 1.0 may hold the character: §2.2, without the controls that it discourages.
fn is_carried(character: char) -> bool {
    matches!(character, '\t' | '\n' | ' '..='~' | '\u{a0}'..='\u{fffd}')
        || (character >= '\u{10000}' && u32::from(character) & 0xfffe != 0xfffe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_go_and_controls_are_replaced() {
        for (text, expected) in [
            ("plain ünï 🦀\tx\n", "plain ünï 🦀\tx\n"),
            ("\u{1b}[1;31merror\u{1b}[0m: no", "error: no"),
            ("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{7}!", "link!"),
            ("\u{1b}(Bascii\u{1b}7", "ascii"),
            (
                "a\0b\u{8}c\u{85}d\u{fffe}e\u{1ffff}",
                "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}e\u{fffd}",
            ),
            ("one\r\ntwo\rthree", "one\ntwo\u{fffd}three"),
            ("cut\u{1b}[3", "cut"),
            ("cut\u{1b}", "cut"),
        ] {
            assert_eq!(plain(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_terminal_is_given_colours_and_nothing_else() {
        for (text, expected) in [
            ("plain ünï\tx\n", "plain ünï\tx\n"),
            (
                "\u{1b}[1;38:5:196merror\u{1b}[0m: \u{1b}[mno",
                "\u{1b}[1;38:5:196merror\u{1b}[0m: \u{1b}[mno",
            ),
            ("\u{1b}[2J\u{1b}[1;1Hup\u{1b}[?25l\u{1b}[6n", "up"),
            ("\u{1b}[>4;2mkeys\u{1b}[?4m", "keys"),
            ("\u{1b}]52;c;aGk=\u{7}clip\u{1b}]0;title\u{1b}\\board", "clipboard"),
            ("\u{1b}Pq\u{1b}\\six\u{1b}cel", "sixel"),
            ("a\u{8}b\rc\u{9b}2J", "a\u{fffd}b\u{fffd}c\u{fffd}2J"),
            ("cut\u{1b}[3", "cut"),
        ] {
            assert_eq!(harmless(text), expected, "{text:?}");
        }
    }
}

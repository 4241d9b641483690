//! Text as others can carry it: no terminal's escape sequences, no control characters.

/// Where an escape sequence begins.
const ESCAPE: char = '\u{1b}';

/// What ends an operating system command besides `ESC \`.
const BELL: char = '\u{7}';

/// Returns the text without escape sequences; what XML 1.0 cannot carry is replaced.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            ESCAPE => match rest.next() {
                // Control sequences: parameters, and a final character.
                Some('[') => while rest.next().is_some_and(|it| !('@'..='~').contains(&it)) {},
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
}

//! A line of bash, up to the cursor: its words without quotes, and how its last word goes on.

/// A line as far as it is typed.
pub(crate) struct Typed {
    /// Its words, without quotes. The last is the one that is being typed; it may be empty.
    pub(crate) words: Vec<String>,
    /// The last word as it stands there.
    raw: String,
    /// The quote that is open at the cursor.
    quote: Option<char>,
}

impl Typed {
    /// Splits a line as bash does, as far as words and quotes go. What begins a new command begins anew.
    pub(crate) fn parse(line: &str) -> Self {
        let mut words = Vec::new();
        let (mut word, mut raw, mut quote) = (String::new(), String::new(), None);
        let mut characters = line.chars();
        while let Some(character) = characters.next() {
            match (quote, character) {
                (None, ' ' | '\t' | '\n') => {
                    if !raw.is_empty() {
                        words.push(std::mem::take(&mut word));
                        raw.clear();
                    }
                    continue;
                }
                (None, ';' | '|' | '&') => {
                    words.clear();
                    word.clear();
                    raw.clear();
                    continue;
                }
                (None, '\'' | '"') => quote = Some(character),
                (Some(open), _) if open == character => quote = None,
                (None | Some('"'), '\\') => {
                    raw.push('\\');
                    let Some(next) = characters.next() else { break };
                    word.push(next);
                    raw.push(next);
                    continue;
                }
                _ => word.push(character),
            }
            raw.push(character);
        }
        words.push(word);
        Self { words, raw, quote }
    }

    /// Returns whether a quote is open at the cursor.
    pub(crate) fn is_quoted(&self) -> bool {
        self.quote.is_some()
    }

    /// Returns what bash is to put in place of what it takes for the word: `breaks` (its `COMP_WORDBREAKS`) end words
    /// where no quote is open. `None` if `candidate` does not begin with what was typed.
    pub(crate) fn rest_for(&self, candidate: &str, breaks: &str) -> Option<String> {
        let typed = self.words.last()?;
        let added = candidate.strip_prefix(typed.as_str())?;
        if self.quote.is_some() {
            // Inside quotes the word is all that stands behind the quote.
            return Some(candidate.to_owned());
        }
        let is_break = |it: char| breaks.contains(it) && !"'\"".contains(it);
        let from = last_break(&self.raw, is_break);
        Some(format!("{}{}", &self.raw[from..], escape(added)))
    }
}

/// Returns where what follows the last break begins, that is neither quoted nor escaped.
fn last_break(raw: &str, is_break: impl Fn(char) -> bool) -> usize {
    let (mut from, mut quote, mut escaped) = (0, None, false);
    for (at, character) in raw.char_indices() {
        match quote {
            _ if escaped => escaped = false,
            None | Some('"') if character == '\\' => escaped = true,
            Some(open) if open == character => quote = None,
            None if "'\"".contains(character) => quote = Some(character),
            None if is_break(character) => from = at + character.len_utf8(),
            None | Some(_) => {}
        }
    }
    from
}

/// A comma in braces would make two words of one.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        if ", '\"\\$`*?[]()<>&;|!#~".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_as_bash_does_it() {
        for (line, words) in [
            ("bld build //a:b", vec!["bld", "build", "//a:b"]),
            ("bld build ", vec!["bld", "build", ""]),
            ("cd x && bld log '//a:b{k=1,", vec!["bld", "log", "//a:b{k=1,"]),
            (r#"bld "a b" c\ d"#, vec!["bld", "a b", "c d"]),
            (r"bld //a:b{k=1\,", vec!["bld", "//a:b{k=1,"]),
        ] {
            assert_eq!(Typed::parse(line).words, words, "{line}");
        }
    }

    #[test]
    fn bash_is_given_what_follows_its_last_break() {
        for (line, candidate, rest) in [
            ("bld build //a:b", "//a:bc", Some("bc")),
            ("bld build //a", "//a:", Some("//a:")),
            ("bld build '//a:b", "//a:bc", Some("//a:bc")),
            ("bld build //a:b{k=1", "//a:b{k=1,", Some(r"1\,")),
            (r"bld build //a:b{k=1\,", "//a:b{k=1,m=", Some(r"1\,m=")),
            ("bld build //b", "//a:", None),
        ] {
            let found = Typed::parse(line).rest_for(candidate, " \t\n\"'><=;|&(:");
            assert_eq!(found.as_deref(), rest, "{line}");
        }
    }
}

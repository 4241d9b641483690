//! A picture of a few lines at the end of a terminal, drawn anew in its place.

use std::io::Write as _;
use std::sync::Mutex;

/// Where the size of the terminal is unknown: what terminals once had.
const COLUMNS_DEFAULT: usize = 80;
const ROWS_DEFAULT: usize = 24;

/// Goes up a line and wipes it.
const WIPE_LINE_ABOVE: &str = "\x1b[1A\x1b[2K";

/// Draws on standard error.
#[derive(Default)]
pub(crate) struct Painter(Mutex<Picture>);

#[derive(Default)]
struct Picture {
    /// What is drawn now.
    lines: Vec<String>,
    ended: bool,
}

impl Painter {
    /// Draws lines in place of those before; returns whether this is still wanted.
    pub(crate) fn draw(&self, lines: &[String]) -> bool {
        let mut picture = self.0.lock().expect("no holder panics");
        if !picture.ended {
            let size = size();
            let wiped = picture.wipe(size);
            picture.lines = fit(lines, size);
            put(&(wiped + &picture.text()));
        }
        !picture.ended
    }

    /// Prints lines above the picture, for good.
    pub(crate) fn print_above(&self, text: &str) {
        let picture = self.0.lock().expect("no holder panics");
        put(&format!("{}{text}\n{}", picture.wipe(size()), picture.text()));
    }

    /// Wipes the picture; nothing is drawn any more.
    pub(crate) fn end(&self) {
        let mut picture = self.0.lock().expect("no holder panics");
        put(&picture.wipe(size()));
        *picture = Picture { lines: Vec::new(), ended: true };
    }
}

impl Picture {
    fn text(&self) -> String {
        self.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }

    /// Returns what wipes this from a terminal of that size. One that became narrower has broken long lines.
    fn wipe(&self, (columns, rows): (usize, usize)) -> String {
        let taken = self.lines.iter().map(|line| line.chars().count().div_ceil(columns).max(1));
        let taken: usize = taken.sum();
        WIPE_LINE_ABOVE.repeat(taken.min(rows))
    }
}

/// Cuts lines so that none is broken and all stand on the screen. The last column stays empty: what is written there
/// makes some terminals go on to the next line.
fn fit(lines: &[String], (columns, rows): (usize, usize)) -> Vec<String> {
    let cut = |line: &String| match line.char_indices().nth(columns.saturating_sub(1)) {
        None => line.clone(),
        Some(_) => line.chars().take(columns.saturating_sub(2)).chain(['…']).collect(),
    };
    lines.iter().take(rows.saturating_sub(1)).map(cut).collect()
}

/// Returns the columns and rows of the terminal.
fn size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok();
    let known = |it: u16, default| if it == 0 { default } else { usize::from(it) };
    size.map_or((COLUMNS_DEFAULT, ROWS_DEFAULT), |it| {
        (known(it.ws_col, COLUMNS_DEFAULT), known(it.ws_row, ROWS_DEFAULT))
    })
}

/// Writes at once, so that no half of a picture is ever seen.
fn put(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_to_the_terminal_and_wiped_where_it_has_broken_them() {
        let lines = ["0123456789".to_owned(), "012345678".to_owned(), "x".to_owned()];
        let drawn = fit(&lines, (10, 24));
        assert_eq!(drawn, ["01234567…", "012345678", "x"]);
        assert_eq!(fit(&lines, (10, 2)).len(), 1);
        let picture = Picture { lines: drawn, ended: false };
        assert_eq!(picture.wipe((10, 24)).matches(WIPE_LINE_ABOVE).count(), 3);
        // Nine columns are two lines of five.
        assert_eq!(picture.wipe((5, 24)).matches(WIPE_LINE_ABOVE).count(), 5);
    }
}

//! The grid as a page: one file that needs nothing else, readable without its script.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::{Digest, DigestFunction, RelativePath};

use super::{Cell, Counts, Grid, Log, Target};

const STYLE: &str = include_str!("page.css");

const SCRIPT: &str = include_str!("page.js");

/// What the page shows of a log, besides its text.
struct LogPlace<'a> {
    reason: &'a str,
    remembered: bool,
    file: Option<&'a RelativePath>,
}

/// Returns the page. `way` is how the folder `bld-out` is reached from where the page lies.
pub(super) fn write(grid: &Grid, way: &str) -> String {
    let counts = counts(&grid.counts());
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\" id=\"top\">\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src '{}'; script-src '{}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>bld: {counts}</title>\n<style>\n{STYLE}</style>\n<h1>{counts}</h1>\n",
        hash(STYLE),
        hash(SCRIPT)
    );
    for (number, target) in grid.targets.iter().enumerate() {
        write_target(&mut page, number, target);
    }
    let places = places(grid);
    for (number, log) in grid.logs.iter().enumerate() {
        write_log(&mut page, number, log, places.get(&number), way);
    }
    put(&mut page, &format!("<script>\n{SCRIPT}</script>\n</html>\n"));
    page
}

/// Names the only script and style that count: nothing that a log smuggles in is one of them.
fn hash(text: &str) -> String {
    let digest = Digest::of(DigestFunction::Sha256, format!("\n{text}").as_bytes());
    format!("sha256-{}", STANDARD.encode(digest.hash()))
}

fn write_target(page: &mut String, number: usize, target: &Target) {
    let counts = target.counts();
    let spans: Vec<_> = counts
        .iter()
        .map(|(name, count)| format!("<span class=\"{name}\">{count} {name}</span>"))
        .collect();
    let spans = spans.concat();
    let (label, rows) = (escaped(&target.label), escaped(&target.row_axis));
    let columns = escaped(&target.column_axes.join(" "));
    put(
        page,
        &format!(
            "<section>\n<h2>{label}</h2>\n<p class=\"counts\">{spans}</p>\n<div class=\"scroll\">\
             <table id=\"t{number}\" data-label=\"{label}\" data-row=\"{rows}\" data-columns=\"{columns}\">\n\
             <thead><tr><th>{rows}"
        ),
    );
    for values in &target.columns {
        put(page, &format!("<th>{}", escaped(&values.join(" "))));
    }
    put(page, "</thead>\n<tbody>\n");
    let mut cells = target.cells.iter().peekable();
    for (row, name) in target.rows.iter().enumerate() {
        put(page, &format!("<tr><th scope=\"row\">{}", escaped(name)));
        for column in 0..target.columns.len() {
            match cells.next_if(|cell| (cell.row, cell.column) == (row, column)) {
                Some(cell) => write_cell(page, cell),
                None => put(page, "<td>"),
            }
        }
        put(page, "\n");
    }
    put(page, "</tbody>\n</table></div>\n</section>\n");
}

/// Forty thousand of these are a page: no end tags, no quotes that are not needed.
fn write_cell(page: &mut String, cell: &Cell) {
    let name = cell.status.name();
    put(page, &format!("<td class={name}"));
    match (&cell.failure, &cell.reason) {
        (None, None) if cell.seconds > 0.0 => {
            put(page, &format!(" title=\"{:.1} s\"", cell.seconds));
        }
        (Some(_), Some(reason)) => put(page, &format!(" title=\"{}\"", escaped(reason))),
        // That a cell is excluded says it all.
        (None, Some(reason)) if cell.status != super::Status::Excluded => {
            put(page, &format!(" title=\"{}\"", escaped(reason)));
        }
        _ => {}
    }
    match &cell.failure {
        Some(failure) => put(page, &format!("><a href=#log-{}>{name}</a>", failure.log)),
        None => put(page, &format!(">{name}")),
    }
}

/// Returns the first cell's view of each log.
fn places(grid: &Grid) -> BTreeMap<usize, LogPlace<'_>> {
    let mut places = BTreeMap::new();
    for cell in grid.targets.iter().flat_map(|target| &target.cells) {
        if let Some(failure) = &cell.failure {
            places.entry(failure.log).or_insert(LogPlace {
                reason: cell.reason.as_deref().unwrap_or_default(),
                remembered: failure.remembered,
                file: failure.file.as_ref(),
            });
        }
    }
    places
}

fn write_log(page: &mut String, number: usize, log: &Log, place: Option<&LogPlace<'_>>, way: &str) {
    put(
        page,
        &format!(
            "<section class=\"log\" id=\"log-{number}\"><a class=\"close\" href=\"#top\">close</a>\
             <h3>{}</h3>\n",
            escaped(&log.action)
        ),
    );
    if let Some(LogPlace { reason, remembered, file }) = place {
        let again = if *remembered { ", remembered" } else { "" };
        put(page, &format!("<p>{}{again}", escaped(reason)));
        if let Some(file) = file {
            let to = escaped(&encoded(&format!("{way}{file}")));
            put(page, &format!(" · <a href=\"{to}\">the whole log</a>"));
        }
        put(page, "</p>\n");
    }
    put(page, &format!("<pre>\n{}</pre>\n", escaped(&log.text)));
    if log.cut > 0 {
        put(page, &format!("<p class=\"cut\">… and {} bytes more</p>\n", log.cut));
    }
    put(page, "</section>\n");
}

fn counts(counts: &Counts) -> String {
    let shown: Vec<_> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    if shown.is_empty() { "nothing".to_owned() } else { shown.join(" · ") }
}

fn put(page: &mut String, text: &str) {
    page.write_str(text).expect("a String takes everything");
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Returns the relative address of `to` for a page at `from`; both are absolute.
pub(super) fn way(from: &Path, to: &Path) -> String {
    let (from, to) = (plain_path(from), plain_path(to));
    let folder = from.parent().unwrap_or(Path::new("/"));
    let common = folder.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = folder.components().skip(common).map(|_| "..".to_owned());
    let down = to.components().skip(common).map(|it| it.as_os_str().to_string_lossy().into_owned());
    up.chain(down).map(|part| part + "/").collect()
}

/// Returns a path without `.` and `..`.
fn plain_path(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => {
                plain.push(component);
            }
        }
    }
    plain
}

/// Writes a path as an address: RFC 3986 keeps letters, digits and a few signs.
fn encoded(path: &str) -> String {
    let mut encoded = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/+=,@".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            put(&mut encoded, &format!("%{byte:02X}"));
        }
    }
    // What begins like `name:` would be taken for a scheme; the sign is encoded above.
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::samples::{HOSTILE, failing, large};

    #[test]
    fn nothing_hostile_gets_out_of_its_place() {
        let page = write(&failing(HOSTILE), "bld-out/");
        assert_eq!(page.matches("<script>").count(), 1);
        assert_eq!(page.matches("</script>").count(), 1);
        assert!(!page.contains("<img"), "{page}");
        assert!(page.contains("&lt;img src=x onerror="), "{page}");
    }

    #[test]
    fn nothing_is_had_from_elsewhere() {
        let page = write(&failing("log"), "bld-out/");
        for word in ["http:", "https:", "//cdn", "src=", "@import", "url("] {
            assert!(!page.contains(word), "{word}");
        }
    }

    #[test]
    fn forty_thousand_cells_are_a_page_of_a_few_megabytes() {
        let page = write(&large(8_000, 5), "bld-out/");
        assert_eq!(page.matches("<td class=").count(), 40_000);
        assert!(page.len() < 4 << 20, "{} bytes", page.len());
    }

    #[test]
    fn logs_are_reached_from_wherever_the_page_lies() {
        for (from, expected) in [
            ("/w/grid.html", "bld-out/"),
            ("/w/bld-out/grid.html", ""),
            ("/w/pages/x/grid.html", "../../bld-out/"),
            ("/tmp/../w/./grid.html", "bld-out/"),
            ("/grid.html", "w/bld-out/"),
        ] {
            assert_eq!(way(Path::new(from), Path::new("/w/bld-out")), expected, "{from}");
        }
        assert_eq!(encoded("../a b/ü#?:.log"), "../a%20b/%C3%BC%23%3F%3A.log");
    }
}

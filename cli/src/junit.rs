//! `JUnit` XML: what continuous integration reads results from.

use std::fmt::Write as _;

use crate::plain::plain;

/// Cases that belong together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Suite {
    pub(crate) name: String,
    pub(crate) cases: Vec<Case>,
}

/// One thing that was tried.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) class: String,
    pub(crate) seconds: f64,
    pub(crate) outcome: CaseOutcome,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CaseOutcome {
    Passed,
    /// What was tried is wrong.
    Failed {
        message: String,
        text: String,
    },
    /// It could not be tried as it should.
    Error {
        message: String,
        text: String,
    },
    /// It was not tried, or does not count.
    Skipped {
        message: String,
    },
}

/// How many cases there are, and how they ended.
#[derive(Default)]
struct Totals {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
    seconds: f64,
}

impl Totals {
    fn of<'a>(cases: impl IntoIterator<Item = &'a Case>) -> Self {
        let mut totals = Self::default();
        for case in cases {
            totals.tests += 1;
            totals.seconds += case.seconds;
            match case.outcome {
                CaseOutcome::Passed => {}
                CaseOutcome::Failed { .. } => totals.failures += 1,
                CaseOutcome::Error { .. } => totals.errors += 1,
                CaseOutcome::Skipped { .. } => totals.skipped += 1,
            }
        }
        totals
    }

    fn attributes(&self) -> String {
        let Self { tests, failures, errors, skipped, seconds } = self;
        format!(
            r#"tests="{tests}" failures="{failures}" errors="{errors}" skipped="{skipped}" time="{seconds:.3}""#
        )
    }
}

/// Returns the document.
pub(crate) fn write(suites: &[Suite]) -> String {
    let totals = Totals::of(suites.iter().flat_map(|suite| &suite.cases));
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"bld\" {}>\n",
        totals.attributes()
    );
    for suite in suites {
        let (name, totals) = (attribute(&suite.name), Totals::of(&suite.cases).attributes());
        put(&mut xml, &format!("  <testsuite name=\"{name}\" {totals}>\n"));
        for case in &suite.cases {
            write_case(&mut xml, case);
        }
        put(&mut xml, "  </testsuite>\n");
    }
    put(&mut xml, "</testsuites>\n");
    xml
}

fn write_case(xml: &mut String, case: &Case) {
    let (name, class) = (attribute(&case.name), attribute(&case.class));
    let seconds = case.seconds;
    put(
        xml,
        &format!("    <testcase name=\"{name}\" classname=\"{class}\" time=\"{seconds:.3}\">\n"),
    );
    let mut fault = |element: &str, message: &str, content: &str| {
        let (message, content) = (attribute(message), escaped(content));
        put(xml, &format!("      <{element} message=\"{message}\">{content}</{element}>\n"));
    };
    match &case.outcome {
        CaseOutcome::Passed => {}
        CaseOutcome::Failed { message, text } => fault("failure", message, text),
        CaseOutcome::Error { message, text } => fault("error", message, text),
        CaseOutcome::Skipped { message } => fault("skipped", message, ""),
    }
    for (element, text) in [("system-out", &case.stdout), ("system-err", &case.stderr)] {
        if !text.is_empty() {
            put(xml, &format!("      <{element}>{}</{element}>\n", escaped(text)));
        }
    }
    put(xml, "    </testcase>\n");
}

fn put(xml: &mut String, text: &str) {
    xml.write_str(text).expect("a String takes everything");
}

fn escaped(text: &str) -> String {
    plain(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Readers take line ends in attributes for spaces unless they are written as numbers.
fn attribute(text: &str) -> String {
    escaped(text).replace('"', "&quot;").replace('\n', "&#10;").replace('\t', "&#9;")
}

#[cfg(test)]
mod tests {
    use roxmltree::{Document, Node};

    use super::*;

    const HOSTILE: &str =
        "</testcase> ]]> \"a\" 'b' &amp; <img onerror=x>\n\tü \u{1b}[31mred\u{1b}[0m\0";
    const CARRIED: &str = "</testcase> ]]> \"a\" 'b' &amp; <img onerror=x>\n\tü red\u{fffd}";

    fn case(name: &str, outcome: CaseOutcome) -> Case {
        Case {
            name: name.to_owned(),
            class: "//drivers:echo".to_owned(),
            seconds: 1.25,
            outcome,
            stdout: String::new(),
            stderr: String::new(),
        }
    }

    fn texts<'a>(node: Node<'a, '_>, names: &[&str]) -> Vec<Option<&'a str>> {
        names.iter().map(|name| node.attribute(*name)).collect()
    }

    #[test]
    fn what_is_written_is_what_another_parser_reads() {
        let hostile = || HOSTILE.to_owned();
        let failed = CaseOutcome::Failed { message: hostile(), text: hostile() };
        let mut cases = vec![
            case("passed", CaseOutcome::Passed),
            case(HOSTILE, failed),
            case("error", CaseOutcome::Error { message: hostile(), text: String::new() }),
            case("skipped", CaseOutcome::Skipped { message: "excluded".to_owned() }),
        ];
        cases[0].stdout = hostile();
        cases[1].stderr = hostile();
        let suites = [
            Suite { name: HOSTILE.to_owned(), cases },
            Suite { name: "other".to_owned(), cases: vec![case("x", CaseOutcome::Passed)] },
        ];

        let xml = write(&suites);
        let document = Document::parse(&xml).unwrap();
        let root = document.root_element();
        let counts = ["tests", "failures", "errors", "skipped", "time"];
        assert_eq!(root.tag_name().name(), "testsuites");
        assert_eq!(texts(root, &counts), ["5", "1", "1", "1", "6.250"].map(Some));
        let suites: Vec<_> = root.children().filter(Node::is_element).collect();
        assert_eq!(suites[0].attribute("name"), Some(CARRIED));
        assert_eq!(texts(suites[0], &counts), ["4", "1", "1", "1", "5.000"].map(Some));
        assert_eq!(texts(suites[1], &counts), ["1", "0", "0", "0", "1.250"].map(Some));
        let cases: Vec<_> = suites[0].children().filter(Node::is_element).collect();
        assert_eq!(cases[1].attribute("name"), Some(CARRIED));
        assert_eq!(cases[1].attribute("classname"), Some("//drivers:echo"));

        let found: Vec<Vec<_>> = cases
            .iter()
            .map(|case| {
                let children = case.children().filter(Node::is_element);
                children
                    .map(|it| (it.tag_name().name(), it.attribute("message"), it.text()))
                    .collect()
            })
            .collect();
        assert_eq!(found[0], [("system-out", None, Some(CARRIED))]);
        let failure = ("failure", Some(CARRIED), Some(CARRIED));
        assert_eq!(found[1], [failure, ("system-err", None, Some(CARRIED))]);
        assert_eq!(found[2], [("error", Some(CARRIED), None)]);
        assert_eq!(found[3], [("skipped", Some("excluded"), None)]);
    }
}

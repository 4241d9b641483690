//! The grid's page in a real browser.

use std::fs;

use serde_json::json;

use crate::browser::Browser;
use crate::grid::{FAILS, FAILS_AND_PASSES, HOSTILE, machine};
use crate::machine::Machine;

/// Returns the texts of the rows that are shown.
const ROWS: &str = "[...document.querySelectorAll('tbody tr')].filter(it => it.checkVisibility()).map(it => it.innerText.trim().split(/\\s+/).join(' '))";

/// Returns what is shown over the page: the log or the cell that was chosen.
const PANEL: &str = "[...document.querySelectorAll('.log')].filter(it => it.checkVisibility()).map(it => it.innerText).join()";

#[test]
fn the_page_is_sorted_and_filtered_and_shows_logs_in_a_real_browser() {
    let machine = machine(FAILS_AND_PASSES);
    machine.run(&["build", "//cells:all", "--grid", "pages/grid.html"]).expect(1);
    let page = machine.workspace().join("pages/grid.html");
    let mut browser = Browser::start();
    browser.open(&page, "");
    let all = json!([
        "6.1.0-9 xfail built",
        "6.1.0-10 built failed",
        "6.12 excluded xpass",
        "7.0 unavailable unavailable"
    ]);
    assert_eq!(browser.eval(ROWS), all);
    assert_eq!(browser.eval("document.querySelector('#shown').value"), "8 of 8 cells");

    // Worst first, and back.
    browser.click("thead th:nth-child(3) button");
    let sorted = json!([
        "6.1.0-10 built failed",
        "6.12 excluded xpass",
        "7.0 unavailable unavailable",
        "6.1.0-9 xfail built"
    ]);
    assert_eq!(browser.eval(ROWS), sorted);
    browser.click("thead th:nth-child(1) button");
    assert_eq!(browser.eval(ROWS), all);
    browser.click("thead th:nth-child(1) button");
    assert_eq!(browser.eval(ROWS)[0], "7.0 unavailable unavailable");

    browser.click("input[name=kernel]");
    browser.type_text("6.1.0-*");
    assert_eq!(browser.eval(ROWS), json!(["6.1.0-10 built failed", "6.1.0-9 xfail built"]));
    browser.click("input[name=kind]");
    browser.type_text("mod");
    assert_eq!(browser.eval(ROWS), json!(["6.1.0-10 failed", "6.1.0-9 built"]));
    browser.click("input[name=status-failed]");
    assert_eq!(browser.eval(ROWS), json!(["6.1.0-10 failed"]));
    assert_eq!(browser.eval("document.querySelector('#shown').value"), "1 of 8 cells");
    // What is chosen can be sent to others.
    let hash = browser.eval("location.hash.slice(1)").as_str().unwrap().to_owned();

    browser.click("td.failed");
    let panel = browser.eval(PANEL);
    for word in
        ["//cells:grid{kernel=6.1.0-10,kind=mod}", "exit status 3", "the whole log", HOSTILE]
    {
        assert!(panel.as_str().unwrap().contains(word), "no {word} in {panel}");
    }
    let log = browser.eval("document.querySelector('.log.open p a').href");
    let log = log.as_str().unwrap().strip_prefix("file://").unwrap();
    assert!(fs::read_to_string(log).unwrap().contains(HOSTILE), "the log is where the page says");
    browser.click(".log.open .close");
    assert_eq!(browser.eval(PANEL), "");

    browser.open(&page, &hash);
    assert_eq!(browser.eval(ROWS), json!(["6.1.0-10 failed"]));
    browser.open(&page, "");
    browser.click("td.unavailable");
    let panel = browser.eval(PANEL);
    for word in ["//cells:grid{kernel=7.0,kind=bpf}", "unavailable: no <b>headers</b> for 7.0"] {
        assert!(panel.as_str().unwrap().contains(word), "no {word} in {panel}");
    }
    let nothing: [&str; 0] = [];
    assert_eq!(browser.complaints(), nothing);
    assert_eq!(browser.requests(), [format!("file://{}", page.display())]);
    assert!(browser.eval("document.title").as_str().unwrap().starts_with("bld: "));
    assert_eq!(browser.eval("document.images.length + document.scripts.length"), 1);
}

#[test]
fn the_page_can_be_read_without_its_script_and_in_the_dark() {
    let machine = machine(FAILS);
    machine.run(&["build", "//cells:all", "--grid", "bld-out/grid.html"]).expect(1);
    let page = machine.workspace().join("bld-out/grid.html");
    let mut browser = Browser::start();
    browser.without_scripts();
    browser.open(&page, "log-0");
    assert_eq!(browser.eval("document.documentElement.dataset.ready ?? 'no'"), "no");
    assert_eq!(browser.eval(ROWS)[1], "6.1.0-10 built failed");
    assert!(browser.eval(PANEL).as_str().unwrap().contains(HOSTILE));

    let colours = "['backgroundColor', 'color'].map(it => getComputedStyle(document.body)[it].match(/\\d+/g).reduce((sum, part) => sum + Number(part), 0))";
    for (scheme, dark) in [("light", false), ("dark", true)] {
        browser.prefer(scheme);
        let found = browser.eval(colours);
        let (ground, ink) = (found[0].as_u64().unwrap(), found[1].as_u64().unwrap());
        assert_eq!(ground < ink, dark, "{scheme}: {found}");
        assert!(ground.abs_diff(ink) > 400, "{scheme}: {found}");
    }
}

#[test]
fn forty_thousand_cells_open_and_stay_under_their_headings() {
    let machine = Machine::new();
    machine.write(
        "cells.bzl",
        r#"
def _cell(ctx):
    number = int(ctx.cell["kernel"].split("-")[1])
    if number % 100 == 7:
        return [UnavailableInfo(reason = "no headers for " + ctx.cell["kernel"])]
    return [DefaultInfo(outputs = {})]
cell = rule(implementation = _cell, attrs = {})
"#,
    );
    machine.write(
        "BUILD.bld",
        r#"
load(":cells.bzl", "cell")
cell(
    name = "grid",
    matrix = {"kernel": ["6.1.0-%d-amd64" % n for n in range(2000)], "version": ["%d.0" % n for n in range(20)]},
    exclude = [{"kernel": "*1-amd64", "version": "1.0"}],
)
"#,
    );
    machine.run(&["build", "//:grid", "--grid", "grid.html"]).expect(0);
    let page = machine.workspace().join("grid.html");
    assert!(fs::metadata(&page).unwrap().len() < 4 << 20);
    let mut browser = Browser::start();
    browser.open(&page, "kernel=*7-amd64&status=unavailable&version=1?.0");
    assert_eq!(browser.eval("document.querySelectorAll('td').length"), 40_000);
    assert_eq!(browser.eval("document.querySelector('#shown').value"), "200 of 40000 cells");
    browser.open(&page, "");
    assert_eq!(browser.eval("document.querySelector('#shown').value"), "40000 of 40000 cells");
    let places = browser.eval(
        "(() => { const box = document.querySelector('.scroll'); box.scrollTop = 20000; box.scrollLeft = 500; \
         const at = it => { const place = it.getBoundingClientRect(); const outer = box.getBoundingClientRect(); \
         return [Math.abs(place.x - outer.x) < 2, Math.abs(place.y - outer.y) < 2]; }; \
         return [box.scrollTop > 0, box.scrollLeft > 0, at(document.querySelector('thead th:nth-child(9)'))[1], \
         at(document.querySelector('tbody tr:nth-child(900) th'))[0]]; })()",
    );
    assert_eq!(places, json!([true, true, true, true]));
}

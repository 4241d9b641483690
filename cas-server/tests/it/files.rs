//! Files of an operator that somebody has changed: what makes no sense is told, and what was known stays known.

use std::path::Path;

use cas_server::Config;
use testkit::{Seed, cases};

use crate::asking::{CLOSED, House, bearing, grant};

/// How many cases there are, if `BLD_FUZZ_CASES` does not say.
const CASES: u64 = 1_500;

#[test]
fn no_configuration_makes_the_server_stumble() {
    let seed = Seed::new();
    let mut fuzz = seed.mutator();
    let text = include_str!("../../../docs/SERVER.md");
    let examples: Vec<&str> =
        text.split("```toml\n").skip(1).filter_map(|it| it.split("```").next()).collect();
    assert!(examples.len() >= 3);
    let file = Path::new("bld-server.toml");
    let mut refused = 0;
    for _ in 0..cases(CASES) {
        let example = examples[fuzz.below(examples.len())];
        let changed = fuzz.text(example);
        if let Err(error) = Config::parse(&changed, file, Some(Path::new("/data"))) {
            refused += 1;
            assert!(!error.to_string().is_empty());
        }
    }
    assert!(refused > 0);
}

#[test]
fn no_file_of_tokens_makes_the_server_stumble_or_lets_somebody_else_in() {
    let seed = Seed::new();
    let mut fuzz = seed.mutator();
    let house = House::new(CLOSED);
    let known = house.token("ci", grant("read", "trusted", &[]));
    let unknown = House::new(CLOSED).token("ci", grant("read", "trusted", &[]));
    let good = std::fs::read_to_string(house.path("tokens.toml")).unwrap();
    let mut is_known = true;
    for case in 0..cases(CASES) {
        let changed = fuzz.bytes(good.as_bytes());
        std::fs::write(house.path("tokens.toml"), &changed).unwrap();
        let makes_sense = house.tokens().list().is_ok();
        house.refresh();
        assert!(house.identify(&bearing(&unknown)).is_err(), "case {case}");
        let was_known = std::mem::replace(&mut is_known, house.identify(&bearing(&known)).is_ok());
        assert!(makes_sense || is_known == was_known, "case {case}: what it said before holds");
        if case % 50 == 49 {
            house.write("tokens.toml", &good);
            house.refresh();
            is_known = house.identify(&bearing(&known)).is_ok();
            assert!(is_known, "case {case}: it makes sense again");
        }
    }
}

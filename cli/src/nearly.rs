//! What may be meant by a pattern of which no build left anything.

use std::collections::{BTreeMap, BTreeSet};

use engine::{Pattern, Targets, suggest};

use crate::history::LastRun;

/// Returns `, did you mean …?` if something is known that is called nearly as the pattern, else nothing.
pub(crate) fn known(runs: &BTreeMap<String, LastRun>, pattern: &Pattern) -> String {
    let known = || runs.values().flat_map(LastRun::targets);
    let asked = pattern.targets.to_string();
    if !matches!(pattern.targets, Targets::One(_)) {
        let package = |label: &str| Some(label.split_once(':')?.0.to_owned());
        let packages: BTreeSet<_> = known().filter_map(|(label, _)| package(label)).collect();
        let asked = asked.trim_end_matches(":all").trim_end_matches("/...");
        return if packages.contains(asked) { String::new() } else { suggest(asked, &packages) };
    }
    let labels: BTreeSet<_> = known().map(|(label, _)| label.clone()).collect();
    if !labels.contains(&asked) {
        return suggest(&asked, &labels);
    }
    let mut axes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (axis, value) in known().filter(|(label, _)| **label == asked).flat_map(|(_, cell)| cell) {
        axes.entry(axis.clone()).or_default().insert(value.clone());
    }
    if let Some(unknown) = pattern.cells.axes().find(|axis| !axes.contains_key(*axis)) {
        return suggest(unknown, axes.keys());
    }
    let values = axes.into_iter().map(|(axis, values)| (axis, values.into_iter().collect()));
    pattern.cells.suggest(&values.collect())
}

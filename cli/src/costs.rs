//! What actions cost when they last ran: what an estimate is made of.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::Owner;
use store::LocalStore;

use crate::error::CliError;
use crate::history;
use crate::workspace::OpenWorkspace;

/// What is known of the cost of actions.
#[derive(Default)]
pub(crate) struct Costs {
    own: BTreeMap<String, f64>,
    /// The median of a target's actions of one role: another cell is the best guess for a new one.
    median: BTreeMap<(String, String), f64>,
}

impl Costs {
    /// Reads what the workspace's actions cost.
    pub(crate) fn read(workspace: &OpenWorkspace, store: &LocalStore) -> Result<Self, CliError> {
        let runs = history::last_runs(workspace, store)?;
        let run = |(owner, run): (String, history::LastRun)| {
            (owner, (run.label, run.role), run.cpu_seconds)
        };
        Ok(Self::of(runs.into_iter().map(run)))
    }

    fn of(runs: impl Iterator<Item = (String, (String, String), f64)>) -> Self {
        let mut own = BTreeMap::new();
        let mut all: BTreeMap<_, Vec<f64>> = BTreeMap::new();
        // A record that was tampered with may say anything.
        for (owner, role, seconds) in runs.filter(|(_, _, it)| it.is_finite() && *it >= 0.0) {
            own.insert(owner, seconds);
            all.entry(role).or_default().push(seconds);
        }
        let median = all.into_iter().map(|(role, mut costs)| {
            costs.sort_by(f64::total_cmp);
            (role, costs[costs.len() / 2])
        });
        Self { median: median.collect(), own }
    }

    /// Returns the processor time that an action takes: what it took, else what its like take; `None` if nobody knows.
    pub(crate) fn of_action(&self, owner: &Owner) -> Option<Duration> {
        let role = || (owner.label.to_string(), owner.role.clone());
        let known = self.own.get(&owner.to_string()).or_else(|| self.median.get(&role()));
        Duration::try_from_secs_f64(*known?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::{Cell, Label};

    fn owner(name: &str, cell: &str) -> Owner {
        let label = Label::parse(name, &model::RelativePath::root()).unwrap();
        let cell = Cell(BTreeMap::from([("n".to_owned(), cell.to_owned())]));
        Owner { label, cell: cell.into(), role: "role".to_owned() }
    }

    #[test]
    fn an_action_costs_what_it_cost_or_what_its_like_cost_or_nobody_knows() {
        let run = |cell: &str, seconds: f64| {
            let owner = owner("//a:a", cell);
            (owner.to_string(), (owner.label.to_string(), owner.role), seconds)
        };
        let runs =
            [run("1", 9.0), run("2", 1.0), run("3", 2.0), run("4", f64::NAN), run("5", -1.0)];
        let costs = Costs::of(runs.into_iter());
        let seconds = |name, cell| costs.of_action(&owner(name, cell)).map(|it| it.as_secs_f64());
        assert_eq!(seconds("//a:a", "1"), Some(9.0));
        assert_eq!(seconds("//a:a", "new"), Some(2.0));
        assert_eq!(seconds("//a:a", "4"), Some(2.0));
        assert_eq!(seconds("//a:other", "1"), None);
    }
}

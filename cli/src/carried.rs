//! What a build takes over from an earlier one, and what it leaves for the next.

use std::collections::BTreeSet;
use std::sync::Arc;

use engine::{
    Counts, Front, Goal, GoalOutcome, GoalStatus, Packed, Pattern, Plan, Receipt, Report, Settled,
};

use crate::error::CliError;
use crate::planned::{Planned, SelectArgs};
use crate::receipts::{Looked, Receipts};
use crate::settings::Settings;
use crate::workspace::OpenWorkspace;
use crate::{clock, output};

/// What is not worked on, because an earlier build has done it.
pub(crate) enum Carried {
    /// Nothing.
    Nothing,
    /// All goals of the receipt's plan but those with these numbers, which had made so many files.
    Goals { earlier: Looked, numbers: Vec<usize>, shared: Vec<bool>, files: u64 },
    /// Those goals of a new plan that are settled.
    Settled { earlier: Looked, plan: Arc<Plan>, settled: Vec<Settled> },
}

impl Carried {
    /// Plans what is left to be worked on. `earlier` is what an earlier build left, and how the workspace differs.
    pub(crate) fn plan(
        settings: &Settings,
        workspace: OpenWorkspace,
        patterns: &[Pattern],
        select: &SelectArgs,
        earlier: Option<Looked>,
    ) -> Result<(Planned, Self), CliError> {
        let Some(earlier) = earlier else {
            return Ok((Planned::of(settings, workspace, patterns, select)?, Self::Nothing));
        };
        if let Some(mut part) = earlier.part() {
            let (numbers, shared) = (part.numbers.clone(), std::mem::take(&mut part.shared));
            let carried = Self::Goals { earlier, numbers, shared, files: part.files };
            return Ok((Planned::again(settings, workspace, patterns, part, select)?, carried));
        }
        let mut planned = Planned::of(settings, workspace, patterns, select)?;
        let plan = Arc::clone(&planned.plan);
        let Some(settled) = earlier.receipt.settled(&plan, &earlier.changes) else {
            return Ok((planned, Self::Nothing));
        };
        let left = settled.iter().enumerate().filter(|(_, it)| it.is_none());
        planned.plan = Arc::new(plan.only(&left.map(|it| it.0).collect::<Vec<_>>()));
        Ok((planned, Self::Settled { earlier, plan, settled }))
    }

    /// Returns whether something ran that goals need which were not worked on: its result had been lost, and if it made
    /// something else this time, they are not what they should be.
    pub(crate) fn is_overtaken(&self, report: &Report) -> bool {
        let mut ran = report.ran.iter().filter(|ran| ran.executed.is_some());
        match self {
            Self::Nothing => false,
            Self::Goals { shared, .. } => ran.any(|ran| shared[ran.node]),
            Self::Settled { plan, settled, .. } => {
                let goals = plan.goals.iter().zip(settled).filter(|(_, it)| it.is_some());
                let outputs = goals.flat_map(|(goal, _)| goal.outputs.iter().map(|it| it.1.node));
                let needed = plan.graph.closure(outputs);
                ran.any(|ran| needed[ran.node])
            }
        }
    }

    /// Returns which of the patterns are known to stand for all goals that there are now: what else their targets have
    /// made goes.
    fn whole<'a>(&self, patterns: &'a [Pattern]) -> &'a [Pattern] {
        match self {
            // Of a part it cannot be told what its targets have no more.
            Self::Goals { .. } => &[],
            Self::Nothing | Self::Settled { .. } => patterns,
        }
    }

    /// Puts what was made in its place, and returns how many files lie there for each goal that was worked on or planned.
    pub(crate) fn write(
        &self,
        planned: &Planned,
        report: &Report,
        patterns: &[Pattern],
    ) -> Result<Vec<u64>, CliError> {
        let Planned { workspace, store, .. } = planned;
        let patterns = self.whole(patterns);
        let Self::Settled { plan, settled, .. } = self else {
            return output::write(workspace, store, &planned.plan, report, patterns, &|_| false);
        };
        let is_settled = |number: usize| settled[number].is_some();
        let report = Report { goals: merged(settled, report), ..Report::default() };
        let written = output::write(workspace, store, plan, &report, patterns, &is_settled)?;
        let files = written.into_iter().zip(settled);
        Ok(files.map(|(files, it)| it.as_ref().map_or(files, |(_, files)| *files)).collect())
    }

    /// Returns how many actions were not even looked at, because what is settled needs them and nothing else.
    pub(crate) fn untouched(&self, planned: &Planned) -> u64 {
        let all = match self {
            Self::Nothing => return 0,
            Self::Goals { earlier, .. } => earlier.receipt.front().actions,
            Self::Settled { plan, .. } => plan.actions(),
        };
        all.saturating_sub(planned.plan.actions())
    }

    /// Returns how many files lie under `bld-out` for all goals.
    pub(crate) fn total(&self, files: &[u64]) -> u64 {
        let untouched = match self {
            Self::Nothing | Self::Settled { .. } => 0,
            Self::Goals { earlier, files, .. } => {
                earlier.receipt.front().files.saturating_sub(*files)
            }
        };
        untouched + files.iter().sum::<u64>()
    }

    /// Returns all goals and what they came to, if that is more than what was worked on.
    pub(crate) fn all(&self, report: &Report) -> Option<(Plan, Report)> {
        let (goals, outcomes) = match self {
            Self::Nothing => return None,
            Self::Settled { plan, settled, .. } => (plan.goals.clone(), merged(settled, report)),
            Self::Goals { earlier, numbers, .. } => {
                let (goals, mut outcomes) = earlier.receipt.goals()?;
                for (number, outcome) in numbers.iter().zip(&report.goals) {
                    outcomes[*number] = Some(outcome.clone());
                }
                let known = |it: Option<GoalOutcome>| it.expect("what is not known is worked on");
                (goals, outcomes.into_iter().map(known).collect())
            }
        };
        let (counts, transfer) = (report.counts, report.transfer.clone());
        let report = Report { goals: outcomes, counts, transfer, ..Report::default() };
        Some((Plan { goals, ..Plan::default() }, report))
    }

    /// Returns whether there is a grid to show of what was carried over.
    pub(crate) fn has_axes(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Goals { earlier, .. } => earlier.receipt.front().has_axes,
            Self::Settled { plan, .. } => has_axes(plan),
        }
    }

    /// Leaves a receipt for the next build of this kind.
    pub(crate) fn keep(
        &self,
        receipts: &Receipts,
        planned: &Planned,
        report: &Report,
        files: &[u64],
    ) {
        let front = Front {
            ended: clock::now(),
            actions: planned.plan.actions() + self.untouched(planned),
            cpu: report.counts.cpu_saved + report.counts.cpu_spent,
            files: self.total(files),
            is_complete: is_complete(&planned.plan, &report.goals),
            has_axes: self.has_axes() || has_axes(&planned.plan),
            rewrites: planned.rewrites,
        };
        let asked = &planned.asked;
        let receipt = match self {
            Self::Nothing => {
                let (plan, seen) = (&planned.plan, planned.workspace.files.snapshot().pack());
                Some(Receipt::bytes(&front, &seen, plan, &report.goals, files, asked))
            }
            Self::Settled { earlier, plan, settled } => {
                let front = earlier.renew(front);
                let bytes = |seen: Packed| {
                    let goals = merged(settled, report);
                    Receipt::bytes(&front, &seen, plan, &goals, files, asked)
                };
                earlier.seen(&planned.workspace).map(bytes)
            }
            Self::Goals { earlier, numbers, .. } => {
                let front = earlier.renew(front);
                let renewed = |seen: Packed| {
                    let (goals, outcomes) = (&planned.plan.goals, &report.goals);
                    earlier.receipt.renewed(&front, &seen, numbers, goals, outcomes, files)
                };
                earlier.seen(&planned.workspace).and_then(renewed)
            }
        };
        // One that is damaged is no use to anybody.
        if let Some(receipt) = receipt {
            receipts.keep(&receipt);
        }
    }
}

/// Returns what came of two builds of the same, one right after the other: what the first ran is not found by the second.
pub(crate) fn after(plan: &Plan, first: &Report, all: &Plan, second: Report) -> Report {
    let name = |goal: &Goal| (goal.label.clone(), Arc::clone(&goal.cell));
    let is_built = |it: &(&Goal, &GoalOutcome)| matches!(it.1.status, GoalStatus::Built);
    let built: BTreeSet<_> =
        plan.goals.iter().zip(&first.goals).filter(is_built).map(|(goal, _)| name(goal)).collect();
    let merge = |(goal, mut outcome): (&Goal, GoalOutcome)| {
        if matches!(outcome.status, GoalStatus::Cached) && built.contains(&name(goal)) {
            outcome.status = GoalStatus::Built;
        }
        outcome
    };
    let (ran, found) = (first.counts, second.counts);
    let counts = Counts {
        hits: found.hits.saturating_sub(ran.misses),
        remote_hits: found.remote_hits + ran.remote_hits,
        misses: found.misses + ran.misses,
        cpu_spent: found.cpu_spent + ran.cpu_spent,
        cpu_saved: found.cpu_saved.saturating_sub(ran.cpu_spent),
        ..found
    };
    let transfer = match (&first.transfer, second.transfer) {
        (Some(first), Some(second)) => Some(second.after(first)),
        (first, second) => second.or_else(|| first.clone()),
    };
    let goals = all.goals.iter().zip(second.goals).map(merge).collect();
    Report { goals, counts, transfer, ..second }
}

fn is_complete(plan: &Plan, outcomes: &[GoalOutcome]) -> bool {
    plan.goals.iter().zip(outcomes).all(|(goal, outcome)| outcome.is_settled(goal))
}

fn has_axes(plan: &Plan) -> bool {
    plan.goals.iter().any(|goal| !goal.cell.0.is_empty())
}

/// Returns what all goals came to: those that are settled, and between them those that were worked on.
fn merged(settled: &[Settled], report: &Report) -> Vec<GoalOutcome> {
    let mut worked_on = report.goals.iter();
    let outcome = |it: &Settled| match it {
        Some((outcome, _)) => outcome.clone(),
        None => worked_on.next().expect("what is not settled is worked on").clone(),
    };
    settled.iter().map(outcome).collect()
}

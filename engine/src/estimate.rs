//! Estimates: what the actions that would run cost, and how long they take on so many cores.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use crate::build::{ActionFate, Survey};
use crate::graph::{NodeId, Owner};
use crate::plan::Plan;

/// What running some actions costs, as far as is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// How many actions these are.
    pub actions: usize,
    /// Of how many nobody knows what they cost; they count as nothing below.
    pub unknown: usize,
    /// Their processor time.
    pub cpu: Duration,
    /// The longest chain of them in which each waits for the one before: no number of cores is faster.
    pub critical: Duration,
    /// How long they take on the cores there are, if each that is ready begins at once, the longest chain first.
    pub wall: Duration,
}

impl Estimate {
    /// Returns how long it takes at least: the longest chain, or all of it spread evenly.
    pub fn wall_min(&self, jobs: usize) -> Duration {
        self.critical.max(self.cpu / u32::try_from(jobs.max(1)).unwrap_or(u32::MAX))
    }
}

/// Estimates what the actions with such fates cost. `cost` says what an action took when it last ran.
pub fn estimate(
    plan: &Plan,
    survey: &Survey,
    counts: impl Fn(ActionFate) -> bool,
    cost: impl Fn(&Owner) -> Option<Duration>,
    jobs: usize,
) -> Estimate {
    let mut estimate = Estimate::default();
    let mut costs = BTreeMap::new();
    for action in survey.actions.iter().filter(|action| counts(action.fate)) {
        let Some(owner) = plan.graph.node(action.node).action_owner() else { continue };
        let known = cost(owner);
        estimate.actions += 1;
        estimate.unknown += usize::from(known.is_none());
        estimate.cpu += known.unwrap_or_default();
        costs.insert(action.node, known.unwrap_or_default());
    }
    if costs.is_empty() {
        return estimate;
    }
    let waiting = Waiting::new(plan, &costs);
    estimate.critical = costs.keys().map(|id| waiting.rest[*id]).max().unwrap_or_default();
    estimate.wall = waiting.run(&costs, jobs.max(1));
    estimate
}

/// Which nodes wait for which, and how long the longest chain is from the begin of each.
struct Waiting {
    rest: Vec<Duration>,
    users: Vec<Vec<NodeId>>,
    inputs: Vec<usize>,
}

impl Waiting {
    fn new(plan: &Plan, costs: &BTreeMap<NodeId, Duration>) -> Self {
        let nodes = plan.graph.len();
        let mut users = vec![Vec::new(); nodes];
        let mut inputs = vec![0; nodes];
        // What nothing that runs stands behind is there already.
        let mut runs = vec![false; nodes];
        for id in 0..nodes {
            for input in plan.graph.node(id).needs().filter(|input| runs[input.node]) {
                users[input.node].push(id);
                inputs[id] += 1;
            }
            runs[id] = inputs[id] > 0 || costs.contains_key(&id);
        }
        let mut rest = vec![Duration::ZERO; nodes];
        for id in (0..nodes).rev() {
            let after = users[id].iter().map(|user| rest[*user]).max().unwrap_or_default();
            rest[id] = after + costs.get(&id).copied().unwrap_or_default();
        }
        Self { rest, users, inputs }
    }

    /// Plays the run through: of what is ready, what the most waits for begins first.
    fn run(mut self, costs: &BTreeMap<NodeId, Duration>, jobs: usize) -> Duration {
        let begins = |id: &NodeId| self.inputs[*id] == 0;
        let mut ready: BinaryHeap<_> =
            costs.keys().filter(|id| begins(id)).map(|id| (self.rest[*id], Reverse(*id))).collect();
        let mut running = BinaryHeap::new();
        let mut now = Duration::ZERO;
        loop {
            while running.len() < jobs
                && let Some((_, Reverse(id))) = ready.pop()
            {
                running.push(Reverse((now + costs[&id], id)));
            }
            let Some(Reverse((ended, id))) = running.pop() else { return now };
            now = ended;
            let mut done = vec![id];
            while let Some(id) = done.pop() {
                for user in std::mem::take(&mut self.users[id]) {
                    self.inputs[user] -= 1;
                    match (self.inputs[user], costs.contains_key(&user)) {
                        (0, true) => ready.push((self.rest[user], Reverse(user))),
                        (0, false) => done.push(user),
                        _ => {}
                    }
                }
            }
        }
    }
}

//! Receipts: what a build came to and what it depended on, so that the same build need not be thought through again.
//!
//! A receipt holds what was seen of the workspace, the plan, and what each goal came to. If everything still looks the
//! same there is nothing to do. If only inputs changed, the plan is still right, and only the goals that they reach are
//! worked on: the others are not even decoded. If the workspace has to be planned anew, those goals are settled that are
//! made as they were, from what did not change.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;

use model::{Digest, DigestFunction, HASH_BYTES, Node as TreeNode, RelativePath};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::analyze::LockRequest;
use crate::build::{GoalOutcome, GoalStatus};
use crate::disk::OUTPUT_FOLDER;
use crate::graph::{Graph, Node, NodeId};
use crate::packed::Packed;
use crate::plan::{Goal, Plan};
use crate::shelf::{Shelf, encode};
use crate::signature;
use crate::snapshot::Changes;

/// What a receipt's bytes begin with.
const MAGIC: &[u8] = b"bld-receipt-2\n";

/// The bytes of a section's length.
const LENGTH_BYTES: usize = 8;

/// Front, snapshot, goals, plan.
const SECTIONS: usize = 4;

/// The bytes before the first section.
const HEADER_BYTES: usize = MAGIC.len() + SECTIONS * (LENGTH_BYTES + HASH_BYTES);

/// What is looked at first, and mostly alone.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Front {
    /// When all of it was built or found, in seconds since the epoch.
    pub ended: u64,
    /// How many actions the plan has.
    pub actions: u64,
    /// Their processor time, when they ran.
    pub cpu: Duration,
    /// How many files lie under `bld-out`.
    pub files: u64,
    /// Whether nothing is left to be worked on, even where nothing changes.
    pub is_complete: bool,
    /// Whether a goal has axes, so that there is a grid to show.
    pub has_axes: bool,
    /// How often results had been replaced in the store when this build began.
    pub rewrites: u64,
}

/// A part of a plan that has to be worked on again.
#[derive(Debug)]
pub struct Part {
    /// The plan, with only those goals.
    pub plan: Plan,
    /// Their numbers among all goals, in order.
    pub numbers: Vec<usize>,
    /// Of each node whether goals need it that are not among these.
    pub shared: Vec<bool>,
    /// How many files those of them had made that were built.
    pub files: u64,
    /// What the workspace asked to be locked.
    pub requests: Vec<LockRequest>,
}

/// A receipt, of which no more is read and decoded than what is asked for.
#[derive(Debug)]
pub struct Receipt {
    front: Front,
    snapshot: Arc<Packed>,
    file: File,
    goals: Section,
    plan: Section,
}

/// A part of a receipt's bytes, and what they hash to.
#[derive(Debug)]
struct Section {
    start: u64,
    length: u64,
    hash: [u8; HASH_BYTES],
}

/// A goal, and what it came to unless it has to be worked on again: its outputs, and how many files they are.
type Stored<'a> = (Cow<'a, Goal>, Option<(Vec<(RelativePath, TreeNode)>, u64)>);

/// The goals, and what can be asked of them without decoding them.
#[derive(Serialize, Deserialize)]
struct Goals {
    /// Of `Stored`.
    shelf: Shelf,
    /// Those that have to be worked on again.
    open: Vec<u32>,
    /// What each is made from, all the way down to the paths of sources: hashes, one after the other.
    #[serde(with = "serde_bytes")]
    signatures: Vec<u8>,
}

/// The plan's graph, and what can be asked of it without decoding its nodes.
#[derive(Serialize, Deserialize)]
struct Whole {
    /// Of `(Node, Option<String>)`: nodes, and what people call them.
    nodes: Shelf,
    /// For each node those that it needs.
    needs: Vec<Vec<u32>>,
    /// For each goal those that make its outputs.
    makers: Vec<Vec<u32>>,
    /// Of `(RelativePath, u32)`: the sources and their nodes, sorted.
    sources: Shelf,
    /// Of `(RelativePath, u32)`: the places of outputs below `bld-out` and their goals, sorted.
    places: Shelf,
    /// Labels, and JSON.
    requests: Vec<(String, String)>,
}

impl Receipt {
    /// Returns the bytes of a build's receipt; `snapshot` is what was seen of the workspace and of what was put under
    /// `bld-out`, and `files` says of each goal how many files it made.
    pub fn bytes(
        front: &Front,
        snapshot: &Packed,
        plan: &Plan,
        outcomes: &[GoalOutcome],
        files: &[u64],
        requests: &[LockRequest],
    ) -> Vec<u8> {
        let stored: Vec<Stored<'_>> = plan
            .goals
            .iter()
            .zip(outcomes.iter().zip(files))
            .map(|(goal, (outcome, files))| (Cow::Borrowed(goal), kept(goal, outcome, *files)))
            .collect();
        let open = (0..).zip(&stored).filter(|(_, (_, kept))| kept.is_none());
        let open = open.map(|(number, _)| number).collect();
        let signatures = signatures(plan).concat();
        let goals = Goals { shelf: Shelf::of(&stored), open, signatures };
        assemble([
            &encode(front),
            &encode(snapshot),
            &encode(&goals),
            &encode(&Whole::of(plan, requests)),
        ])
    }

    /// Returns the bytes of this with what the goals with these numbers came to now; `None` if this is damaged.
    pub fn renewed(
        &self,
        front: &Front,
        snapshot: &Packed,
        numbers: &[usize],
        part: &[Goal],
        outcomes: &[GoalOutcome],
        files: &[u64],
    ) -> Option<Vec<u8>> {
        let goals: Goals = self.goals.decode(&self.file)?;
        let came = part.iter().zip(outcomes.iter().zip(files));
        let kept = came.map(|(goal, (outcome, files))| kept(goal, outcome, *files));
        let kept: BTreeMap<usize, _> = numbers.iter().copied().zip(kept).collect();
        let open = kept.iter().filter(|(_, kept)| kept.is_none());
        let open = open.map(|(number, _)| u32::try_from(*number).ok()).collect::<Option<_>>()?;
        let goals_now = goals.shelf.with(|number| {
            let kept = kept.get(&number)?;
            let (goal, _): Stored<'_> = goals.shelf.get(number)?;
            Some((goal, kept))
        })?;
        let goals = encode(&Goals { shelf: goals_now, open, ..goals });
        let (snapshot, plan) = (encode(snapshot), self.plan.read(&self.file)?);
        Some(assemble([&encode(front), &snapshot, &goals, &plan]))
    }

    /// Returns the bytes of this with another snapshot, that of a second look at the same; `None` if this is damaged.
    pub fn seen_again(&self, snapshot: &Packed) -> Option<Vec<u8>> {
        let (goals, plan) = (self.goals.read(&self.file)?, self.plan.read(&self.file)?);
        Some(assemble([&encode(&self.front), &encode(snapshot), &goals, &plan]))
    }

    /// Opens a receipt; one that is torn or of another form is as good as none.
    pub fn open(file: File) -> Option<Self> {
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, 0).ok()?;
        let mut entries = header.strip_prefix(MAGIC)?.chunks_exact(LENGTH_BYTES + HASH_BYTES);
        let mut start = HEADER_BYTES as u64;
        let mut section = || {
            let (length, hash) = entries.next()?.split_first_chunk::<LENGTH_BYTES>()?;
            let (length, hash) = (u64::from_le_bytes(*length), *hash.first_chunk()?);
            let section = Section { start, length, hash };
            start = start.checked_add(length)?;
            Some(section)
        };
        let (front, snapshot, goals, plan) = (section()?, section()?, section()?, section()?);
        if file.metadata().ok()?.len() != start {
            return None;
        }
        let (front, snapshot) = (front.decode(&file)?, Arc::new(snapshot.decode(&file)?));
        Some(Self { front, snapshot, file, goals, plan })
    }

    /// Returns what was seen of the workspace and of what was put under `bld-out`.
    pub fn snapshot(&self) -> &Arc<Packed> {
        &self.snapshot
    }

    /// Returns what is looked at first.
    pub fn front(&self) -> &Front {
        &self.front
    }

    /// Returns all goals and what each came to, if that stands; `None` if this is damaged.
    pub fn goals(&self) -> Option<(Vec<Goal>, Vec<Option<GoalOutcome>>)> {
        let goals: Goals = self.goals.decode(&self.file)?;
        let outcome = |(goal, kept): Stored<'_>| {
            let outcome = kept.map(|(outputs, _)| outcome(&goal, outputs));
            (goal.into_owned(), outcome)
        };
        Some(goals.shelf.all()?.into_iter().map(outcome).unzip())
    }

    /// Returns what has to be worked on again after these changes; `None` if the plan may not be right any more, or
    /// this is damaged.
    pub fn part(&self, changes: &Changes) -> Option<Part> {
        if !changes.loaded.is_empty() {
            return None;
        }
        let goals: Goals = self.goals.decode(&self.file)?;
        let whole: Whole = self.plan.decode(&self.file)?;
        let wanted = whole.touched(&goals, changes);
        whole.part(&goals.shelf, wanted)
    }

    /// Returns for each goal of a new plan what it came to, and how many files that are, where this still stands after
    /// these changes; `None` if nothing can be said of that, or this is damaged.
    pub fn settled(&self, plan: &Plan, changes: &Changes) -> Option<Vec<Settled>> {
        if changes.kinds {
            return None;
        }
        let goals: Goals = self.goals.decode(&self.file)?;
        let whole: Whole = self.plan.decode(&self.file)?;
        let touched = whole.touched(&goals, changes);
        let mut before = BTreeMap::new();
        for (number, signature) in (0..).zip(goals.signatures.chunks_exact(HASH_BYTES)) {
            let (goal, kept): Stored<'_> = goals.shelf.get(number as usize)?;
            if let Some(kept) = kept.filter(|_| !touched.contains(&number)) {
                before.insert((goal.label.clone(), Arc::clone(&goal.cell)), (signature, kept));
            }
        }
        let settled = |(goal, signature): (&Goal, [u8; HASH_BYTES])| {
            let (then, (outputs, files)) =
                before.remove(&(goal.label.clone(), Arc::clone(&goal.cell)))?;
            (then == signature).then(|| (outcome(goal, outputs), files))
        };
        Some(plan.goals.iter().zip(signatures(plan)).map(settled).collect())
    }
}

impl Whole {
    fn of(plan: &Plan, requests: &[LockRequest]) -> Self {
        let number = |id: NodeId| u32::try_from(id).expect("plans have fewer nodes");
        let nodes = plan.graph.nodes();
        let needs = nodes.iter().map(|node| node.needs().map(|it| number(it.node)).collect());
        let makers =
            plan.goals.iter().map(|it| it.outputs.iter().map(|(_, it)| number(it.node)).collect());
        let source = |(id, node): (NodeId, &Node)| match node {
            Node::Source(path) => Some((path.clone(), number(id))),
            Node::Locked(_)
            | Node::Write { .. }
            | Node::Tree(_)
            | Node::Run(_)
            | Node::Builtin(_) => None,
        };
        let sources: BTreeSet<_> = nodes.iter().enumerate().filter_map(source).collect();
        let places = plan.goals.iter().enumerate().flat_map(|(index, goal)| {
            goal.outputs.iter().map(move |(path, _)| (goal.label.package.join(path), number(index)))
        });
        let places: BTreeSet<_> = places.collect();
        let request = |it: &LockRequest| (it.label.clone(), it.wants.to_string());
        Self {
            nodes: Shelf::of(
                nodes.iter().enumerate().map(|(id, node)| (node, plan.graph.alias(id))),
            ),
            needs: needs.collect(),
            makers: makers.collect(),
            sources: Shelf::of(sources),
            places: Shelf::of(places),
            requests: requests.iter().map(request).collect(),
        }
    }

    /// Returns the goals that have to be worked on again.
    fn touched(&self, goals: &Goals, changes: &Changes) -> BTreeSet<u32> {
        let output = RelativePath::new(OUTPUT_FOLDER).expect("a constant");
        let mut touched: BTreeSet<u32> = goals.open.iter().copied().collect();
        let mut edited = BTreeSet::new();
        for path in changes.paths() {
            match path.strip_prefix(&output) {
                Some(result) => touched.extend(at_or_above(&self.places, &result)),
                None => edited.extend(at_or_above(&self.sources, path)),
            }
        }
        touched.extend(self.reached(&edited));
        touched
    }

    /// Returns the goals that these nodes reach.
    fn reached(&self, changed: &BTreeSet<u32>) -> BTreeSet<u32> {
        let mut reached = vec![false; self.needs.len()];
        let is_reached =
            |reached: &[bool], id: &u32| reached.get(*id as usize).copied().unwrap_or(true);
        for (id, needs) in (0..).zip(&self.needs) {
            reached[id as usize] =
                changed.contains(&id) || needs.iter().any(|it| is_reached(&reached, it));
        }
        let goals = (0..).zip(&self.makers);
        goals
            .filter(|(_, it)| it.iter().any(|it| is_reached(&reached, it)))
            .map(|it| it.0)
            .collect()
    }

    /// Returns the plan of these goals alone, and of those that make files in the same places.
    fn part(&self, goals: &Shelf, mut wanted: BTreeSet<u32>) -> Option<Part> {
        let mut pending: Vec<u32> = wanted.iter().copied().collect();
        let mut chosen: BTreeMap<u32, Stored<'_>> = BTreeMap::new();
        while let Some(number) = pending.pop() {
            let stored: Stored<'_> = goals.get(number as usize)?;
            for (path, _) in &stored.0.outputs {
                let place = stored.0.label.package.join(path);
                let mut near = at_or_above(&self.places, &place);
                near.extend(below(&self.places, &place));
                pending.extend(near.into_iter().filter(|number| wanted.insert(*number)));
            }
            chosen.insert(number, stored);
        }
        let (nodes, numbers) = self.nodes_for(&wanted)?;
        let others = (0..u32::try_from(goals.len()).ok()?).filter(|it| !wanted.contains(it));
        let needed_by_others = self.needed(others)?;
        let mut part = Part {
            shared: numbers.keys().map(|old| needed_by_others[*old]).collect(),
            plan: Plan {
                graph: Arc::new(Graph::from_nodes(nodes)?),
                goals: Vec::new(),
                ..Plan::default()
            },
            numbers: wanted.into_iter().map(|number| number as usize).collect(),
            files: 0,
            requests: self.requests.iter().map(request).collect::<Option<_>>()?,
        };
        for (goal, kept) in chosen.into_values() {
            let mut goal = goal.into_owned();
            for (_, artifact) in &mut goal.outputs {
                artifact.node = *numbers.get(&artifact.node)?;
            }
            part.plan.goals.push(goal);
            part.files += kept.map_or(0, |(_, files)| files);
        }
        Some(part)
    }

    /// Returns of every node whether these goals need it.
    fn needed(&self, goals: impl IntoIterator<Item = u32>) -> Option<Vec<bool>> {
        let mut needed = vec![false; self.needs.len()];
        let mut pending = Vec::<u32>::new();
        for goal in goals {
            pending.extend(self.makers.get(goal as usize)?);
        }
        while let Some(id) = pending.pop() {
            if !std::mem::replace(needed.get_mut(id as usize)?, true) {
                pending.extend(&self.needs[id as usize]);
            }
        }
        Some(needed)
    }

    /// Returns the nodes that these goals need, numbered anew, and the new number of each.
    fn nodes_for(&self, goals: &BTreeSet<u32>) -> Option<(Vec<Named>, BTreeMap<NodeId, NodeId>)> {
        let needed = self.needed(goals.iter().copied())?;
        let mut numbers = BTreeMap::new();
        let mut nodes = Vec::new();
        for id in (0..needed.len()).filter(|id| needed[*id]) {
            let (mut node, alias): Named = self.nodes.get(id)?;
            for artifact in node.needs_mut() {
                artifact.node = *numbers.get(&artifact.node)?;
            }
            numbers.insert(id, nodes.len());
            nodes.push((node, alias));
        }
        Some((nodes, numbers))
    }
}

/// What a goal came to, and how many files that are, if nothing has changed for it.
pub type Settled = Option<(GoalOutcome, u64)>;

/// Returns what each goal is made from, where the path of a source stands for it.
fn signatures(plan: &Plan) -> Vec<[u8; HASH_BYTES]> {
    let source = |path: &RelativePath| Digest::of(DigestFunction::Blake3, path.as_str().as_bytes());
    let nodes = signature::signatures(plan, source);
    let goal = |goal| signature::of_goal(goal, |node| nodes.get(node).copied());
    plan.goals.iter().map(|it| *goal(it).expect("every node is described").hash()).collect()
}

/// A node, and what people call it.
type Named = (Node, Option<String>);

fn request((label, wants): &(String, String)) -> Option<LockRequest> {
    Some(LockRequest { label: label.clone(), wants: serde_json::from_str(wants).ok()? })
}

/// Returns the numbers of those paths, on a sorted shelf, that are `path` or that it lies below.
fn at_or_above(shelf: &Shelf, path: &RelativePath) -> Vec<u32> {
    let mut found = Vec::new();
    let above = std::iter::successors(Some(path.clone()), |it| Some(it.split_last()?.0));
    for path in above {
        let (mut low, mut high) = (0, shelf.len());
        while low < high {
            let middle = low.midpoint(high);
            match shelf.get::<(RelativePath, u32)>(middle) {
                Some((it, _)) if it < path => low = middle + 1,
                _ => high = middle,
            }
        }
        let same = (low..).map_while(|at| shelf.get::<(RelativePath, u32)>(at));
        found.extend(same.take_while(|(it, _)| *it == path).map(|(_, number)| number));
    }
    found
}

/// Returns the numbers of those paths, on a sorted shelf, that lie below `path`.
fn below(shelf: &Shelf, path: &RelativePath) -> Vec<u32> {
    let prefix = format!("{path}/");
    let (mut low, mut high) = (0, shelf.len());
    while low < high {
        let middle = low.midpoint(high);
        match shelf.first_of::<&str>(middle) {
            Some(it) if it < prefix.as_str() => low = middle + 1,
            _ => high = middle,
        }
    }
    let from_there = (low..).map_while(|at| shelf.get::<(&str, u32)>(at));
    let inside = from_there.take_while(|(it, _)| it.starts_with(&prefix));
    inside.map(|(_, number)| number).collect()
}

/// Returns what is to be kept of an outcome.
fn kept(
    goal: &Goal,
    outcome: &GoalOutcome,
    files: u64,
) -> Option<(Vec<(RelativePath, TreeNode)>, u64)> {
    outcome.is_settled(goal).then(|| (outcome.outputs.clone(), files))
}

fn outcome(goal: &Goal, outputs: Vec<(RelativePath, TreeNode)>) -> GoalOutcome {
    if goal.excluded || goal.unavailable.is_some() {
        return GoalOutcome::unwanted(goal);
    }
    GoalOutcome { status: GoalStatus::Cached, outputs }
}

/// Returns the bytes of a receipt with these sections: what it begins with, the length and hash of each, and the sections.
fn assemble(sections: [&[u8]; SECTIONS]) -> Vec<u8> {
    let all: usize = sections.iter().map(|section| section.len()).sum();
    let mut bytes = Vec::with_capacity(HEADER_BYTES + all);
    bytes.extend_from_slice(MAGIC);
    for section in sections {
        bytes.extend_from_slice(&(section.len() as u64).to_le_bytes());
        bytes.extend_from_slice(Digest::of(DigestFunction::Blake3, section).hash());
    }
    bytes.extend(sections.concat());
    bytes
}

impl Section {
    /// Returns the section's bytes, if they are what was written.
    fn read(&self, file: &File) -> Option<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.length).ok()?];
        file.read_exact_at(&mut bytes, self.start).ok()?;
        (*Digest::of(DigestFunction::Blake3, &bytes).hash() == self.hash).then_some(bytes)
    }

    fn decode<T: DeserializeOwned>(&self, file: &File) -> Option<T> {
        postcard::from_bytes(&self.read(file)?).ok()
    }
}

//! The journal of a build: hears what runs, finds out why, and saves it all when the build ends.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::SystemTime;

use engine::{Events, FailureKind, Node, NodeId, Owner, Plan, Ran, Report, Verdict, critical_path};
use model::{ActionDigest, DigestFunction, Hasher};
use store::LocalStore;

use super::History;
use super::base::Bounds;
use super::key::Key;
use super::ledger::{Entry, GOALS_MAX, GoalName, LastTime, Ledger, SUCCEEDED};
use super::names::{compare, full_name, keys};
use super::reason::{Between, Kind, Reason, describe};
use super::record::{Asked, Head, Line, Manner, Record, Run};
use crate::elsewhere::Elsewhere;
use crate::error::CliError;
use crate::receipts;
use crate::workspace::OpenWorkspace;

/// Hears what a build does.
pub(crate) struct Journal {
    history: History,
    /// Where the receipts of the workspace are.
    receipts: PathBuf,
    asked: Asked,
    store: Arc<LocalStore>,
    plan: Arc<Plan>,
    /// Read when the first action has run: most builds run none.
    ledger: OnceLock<Ledger>,
    /// Who may know more than what is known here.
    elsewhere: OnceLock<Elsewhere>,
    keys: OnceLock<BTreeMap<NodeId, Key>>,
    heard: Mutex<Heard>,
}

#[derive(Debug)]
struct Heard {
    began: SystemTime,
    manner: Manner,
    hits: BTreeSet<NodeId>,
    reasons: BTreeMap<NodeId, Reason>,
}

/// Why one action of a build ran.
#[derive(Clone, Debug)]
pub(crate) struct Because {
    /// The action, with its rule.
    pub(crate) name: String,
    /// Why it ran.
    pub(crate) reason: Reason,
}

impl Journal {
    pub(crate) fn new(
        workspace: &OpenWorkspace,
        store: &Arc<LocalStore>,
        plan: &Arc<Plan>,
        asked: Asked,
    ) -> Result<Arc<Self>, CliError> {
        Ok(Arc::new(Self {
            history: History::open(workspace, store)?,
            receipts: receipts::folder(store.root(), workspace),
            asked,
            store: Arc::clone(store),
            plan: Arc::clone(plan),
            ledger: OnceLock::new(),
            elsewhere: OnceLock::new(),
            keys: OnceLock::new(),
            heard: Mutex::new(Heard {
                began: SystemTime::now(),
                manner: Manner { kept: true, ..Manner::default() },
                hits: BTreeSet::new(),
                reasons: BTreeMap::new(),
            }),
        }))
    }

    /// Notes that a build begins, and how it goes about it.
    pub(crate) fn begin(&self, manner: Manner) {
        let mut heard = self.heard.lock().expect("no holder panics");
        (heard.began, heard.manner) = (SystemTime::now(), manner);
    }

    /// Names somebody who may know what is not known here.
    pub(crate) fn ask(&self, elsewhere: Elsewhere) {
        self.elsewhere.get_or_init(|| elsewhere);
    }

    /// Returns whose actions ran and did what they should, and their keys.
    pub(crate) fn ran_keys(&self, report: &Report) -> Vec<(String, ActionDigest)> {
        let ran = report.ran.iter();
        let ran = ran.filter(|ran| ran.executed.is_some() && ran.failure.is_none());
        ran.map(|ran| (self.key(ran.node).as_str().to_owned(), ran.action)).collect()
    }

    /// Returns why an action ran.
    pub(crate) fn reason(&self, ran: &Ran) -> Reason {
        if let Some(known) = self.heard.lock().expect("no holder panics").reasons.get(&ran.node) {
            return known.clone();
        }
        let reason = tokio::task::block_in_place(|| self.find_reason(ran));
        self.heard.lock().expect("no holder panics").reasons.insert(ran.node, reason.clone());
        reason
    }

    fn find_reason(&self, ran: &Ran) -> Reason {
        if self.heard.lock().expect("no holder panics").hits.contains(&ran.node) {
            return Reason::remade();
        }
        let ledger = self.ledger.get_or_init(|| self.history.ledger());
        let key = self.key(ran.node);
        let elsewhere = self.elsewhere.get();
        let differences = |old, between| {
            let explanation = compare(&self.store, elsewhere, old, ran.action);
            describe(&explanation, Some((&self.plan.graph, ran.node)), between)
        };
        match ledger.get(key) {
            // Of what never was built here, somebody else may have built something like it.
            None => match elsewhere.and_then(|it| it.latest_key(key.as_str())) {
                Some(old) if old == ran.action => Reason::evicted(),
                Some(old) => Reason::changed(differences(old, Between::Times)),
                None => Reason::new(ledger.nearest(key).and_then(|(near, entry)| {
                    Some((near.to_string(), differences(entry.digest()?, Between::Cells)))
                })),
            },
            Some(last) if last.digest() == Some(ran.action) => self.find_repetition(ran, &last),
            Some(last) => match last.digest() {
                Some(old) => Reason::changed(differences(old, Between::Times)),
                None => Reason::new(None),
            },
        }
    }

    /// Returns why an action ran whose key is what it was.
    fn find_repetition(&self, ran: &Ran, last: &Entry) -> Reason {
        let manner = self.heard.lock().expect("no holder panics").manner;
        let is_test = matches!(self.plan.graph.node(ran.node), Node::Run(run) if run.test);
        match last.outcome.as_str() {
            SUCCEEDED if is_test && manner.tests_again => Reason::asked(),
            SUCCEEDED if last.kept => Reason::evicted(),
            SUCCEEDED => Reason::unrecorded(),
            outcome => Reason::failed(outcome, is_test || manner.retries_failed),
        }
    }

    /// Returns whether something ran again that was done before: what is remembered of it beside the store may be
    /// wrong, if it did not make the same.
    fn ran_again(&self, report: &Report) -> bool {
        let again = |ran: &Ran| match self.reason(ran).kind {
            Kind::Evicted | Kind::Unrecorded | Kind::Asked => true,
            Kind::Changed | Kind::New | Kind::Failed => false,
        };
        report.ran.iter().any(|ran| ran.executed.is_some() && again(ran))
    }

    fn key(&self, node: NodeId) -> &Key {
        let keys = self.keys.get_or_init(|| keys(&self.plan.graph));
        keys.get(&node).expect("what ran is an action of the plan")
    }

    /// Returns why each action ran, in the order in which they need each other.
    pub(crate) fn reasons(&self, report: &Report) -> Vec<Because> {
        let mut ran: Vec<&Ran> = report.ran.iter().filter(|ran| ran.executed.is_some()).collect();
        ran.sort_by_key(|ran| ran.node);
        // A test is tried many times for one reason.
        ran.dedup_by_key(|ran| ran.node);
        let because = |ran: &Ran| Because {
            name: full_name(&self.plan.graph, &ran.owner),
            reason: self.reason(ran),
        };
        ran.into_iter().map(because).collect()
    }

    /// Leaves the record of a build, and what is now known of its actions. Returns the record.
    pub(crate) fn save(&self, report: &Report) -> Result<Record, CliError> {
        if self.ran_again(report) {
            receipts::forget(&self.receipts)?;
        }
        let (began, kept) = {
            let heard = self.heard.lock().expect("no holder panics");
            (heard.began, heard.manner.kept)
        };
        let mut head = Head {
            function: self.store.function().name().to_owned(),
            fingerprint: fingerprint(report),
            ..Head::of(began, &self.asked, report)
        };
        // If all is as the last build left it, so is the ledger, and need not be read.
        let is_idle = report.counts.misses == 0
            && self.history.last_head()?.is_some_and(|last| last.fingerprint == head.fingerprint);
        let mut lines = BTreeMap::new();
        let mut ledger = None;
        if !is_idle {
            let (changed, known) = self.news(report, kept);
            lines = changed.iter().map(|(key, (line, _))| (key.clone(), line.clone())).collect();
            ledger = Some((known, changed));
        }
        let record = |build| {
            head.build = build;
            Record { head: head.clone(), lines: lines.clone() }.to_text()
        };
        head.build = self.history.add(record)?;
        if let Some((mut known, changed)) = ledger
            && !changed.is_empty()
        {
            for (key, (_, mut entry)) in changed {
                entry.build = head.build;
                if let Some(last) = &mut entry.ran
                    && last.build == 0
                {
                    last.build = head.build;
                }
                known.insert(key, &entry);
            }
            known.write(&self.history.ledger_path(), head.build)?;
        }
        self.history.prune(Bounds::default(), SystemTime::now())?;
        Ok(Record { head, lines })
    }

    /// Returns what is new of the actions of a build, and the ledger without that.
    fn news(&self, report: &Report, kept: bool) -> (BTreeMap<Key, (Line, Entry)>, Ledger) {
        // Read again: another build may have ended meanwhile.
        let known = self.history.ledger();
        let spans = report.ran.iter().filter_map(|ran| Some((ran.node, ran.executed?))).collect();
        let critical: BTreeSet<_> = critical_path(&self.plan.graph, &spans).into_iter().collect();
        let mut goals = self.goals();
        let mut news: BTreeMap<Key, (Line, Entry)> = BTreeMap::new();
        for ran in &report.ran {
            let key = self.key(ran.node).clone();
            let old = known.get(&key);
            let outcome = outcome(ran.failure.as_ref());
            let action = ran.action.to_string();
            let is_known = |old: &Entry| old.action == action && old.outcome == outcome;
            let goals = goals.remove(&ran.node).unwrap_or_default();
            let has_goals = |old: &Entry| {
                old.goals.len() >= GOALS_MAX || goals.iter().all(|it| old.goals.contains(it))
            };
            let run = ran.executed.map(|span| Run {
                began: span.began.as_secs_f64(),
                ended: span.ended.as_secs_f64(),
                reason: self.reason(ran),
                critical: critical.contains(&ran.node),
            });
            let same = old.as_ref().is_some_and(|old| is_known(old) && has_goals(old));
            if run.is_none() && (same || news.contains_key(&key)) {
                continue;
            }
            let last = run.as_ref().map(|run| LastTime { build: 0, reason: run.reason.clone() });
            let hex = |digest: Option<model::Digest>| digest.map(|digest| digest.to_string());
            let (stdout, stderr) = (hex(ran.stdout), hex(ran.stderr));
            let mut entry = Entry {
                function: ran.action.0.function().name().to_owned(),
                action: action.clone(),
                outcome: outcome.clone(),
                build: 0,
                // What was found was recorded; a test that failed once is not.
                kept: run.is_none() || kept && !is_doubted(report, ran.node),
                wall_seconds: ran.wall.as_secs_f64(),
                cpu_seconds: ran.cpu.as_secs_f64(),
                stdout: stdout.clone(),
                stderr: stderr.clone(),
                goals,
                ran: last.or_else(|| old.as_ref()?.ran.clone()),
            };
            old.into_iter().flat_map(|old| old.goals).for_each(|goal| entry.add_goal(goal));
            let cpu_seconds = entry.cpu_seconds;
            let line = Line { action, outcome, cpu_seconds, stdout, stderr, ran: run };
            news.insert(key, (line, entry));
        }
        (news, known)
    }

    /// Returns the goals whose outputs each node makes: label and cell.
    fn goals(&self) -> BTreeMap<NodeId, Vec<GoalName>> {
        let mut goals: BTreeMap<NodeId, Vec<_>> = BTreeMap::new();
        for goal in &self.plan.goals {
            let name = (goal.label.to_string(), goal.cell.0.clone());
            let graph = &self.plan.graph;
            let makers = graph.makers(goal.outputs.iter().map(|(_, it)| it)).into_iter();
            for node in makers.filter(|id| graph.node(*id).action_owner().is_some()) {
                let of_node = goals.entry(node).or_default();
                if of_node.len() < GOALS_MAX {
                    of_node.push(name.clone());
                }
            }
        }
        goals
    }
}

/// Returns whether a test failed in an attempt, and is therefore forgotten.
fn is_doubted(report: &Report, node: NodeId) -> bool {
    report.tested.get(&node).is_some_and(|tested| tested.verdict() != Verdict::Passed)
}

/// Returns what came of an action, in a word or a few.
pub(super) fn outcome(failure: Option<&FailureKind>) -> String {
    failure.map_or_else(|| SUCCEEDED.to_owned(), ToString::to_string)
}

/// Returns the hash of all that a build found out about its actions.
fn fingerprint(report: &Report) -> String {
    let mut hasher = Hasher::new(DigestFunction::Blake3);
    let mut all: Vec<_> = report.ran.iter().collect();
    all.sort_by_key(|ran| ran.node);
    for ran in all {
        hasher.update(ran.owner.to_string().as_bytes());
        hasher.update(b"\0");
        hasher.update(ran.action.0.hash());
        hasher.update(outcome(ran.failure.as_ref()).as_bytes());
        hasher.update(b"\0");
    }
    hasher.finish().hex()
}

impl Events for Journal {
    fn started(&self, _owner: &Owner) {}

    fn finished(&self, ran: &Ran) {
        self.reason(ran);
    }

    fn hit(&self, ran: &Ran) {
        self.heard.lock().expect("no holder panics").hits.insert(ran.node);
    }
}

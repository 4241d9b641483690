//! What a plan says about keys: which node an action is, and so what its inputs are called.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::{Explanation, Graph, NodeId, Owner, Pattern, Plan, explain};
use model::ActionDigest;
use store::LocalStore;

use super::key::Key;
use super::reason::{Between, describe};
use crate::elsewhere::Elsewhere;
use crate::lockfile;
use crate::planned::locked_members;
use crate::workspace::OpenWorkspace;

/// The actions of a plan by their keys in history; none where there is no plan.
#[derive(Default)]
pub(crate) struct Names {
    plan: Option<Arc<Plan>>,
    nodes: BTreeMap<Key, NodeId>,
}

impl Names {
    /// Returns the names of a workspace as it is now. Nothing is locked or downloaded for them: where the workspace
    /// cannot be planned as it is, inputs are called after their places in the sandbox.
    pub(crate) fn now(workspace: &OpenWorkspace, patterns: &[Pattern], chosen: &[String]) -> Self {
        let chosen: Vec<_> = chosen.iter().filter_map(|it| it.split_once('=')).collect();
        let chosen: Vec<_> =
            chosen.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let plan = || {
            let settings = workspace.config.choose(&chosen).ok()?;
            let lock = lockfile::read(workspace).ok()?;
            let members = lock.map(|lock| locked_members(&lock)).unwrap_or_default();
            workspace.engine().plan(patterns, &settings, &members).ok()
        };
        plan().map(|plan| Self::of(Arc::new(plan))).unwrap_or_default()
    }

    fn of(plan: Arc<Plan>) -> Self {
        let nodes = keys(&plan.graph).into_iter().map(|(id, key)| (key, id)).collect();
        Self { plan: Some(plan), nodes }
    }

    /// Returns in what two keys of an action differ, in words.
    pub(crate) fn differences(
        &self,
        store: &LocalStore,
        elsewhere: &Elsewhere,
        key: &Key,
        keys: (ActionDigest, ActionDigest),
    ) -> Vec<String> {
        let explanation = compare(store, Some(elsewhere), keys.0, keys.1);
        let node = self.plan.as_ref().zip(self.nodes.get(key));
        let node = node.map(|(plan, node)| (&*plan.graph, *node));
        describe(&explanation, node, Between::Times)
    }

    /// Returns what an action is called: its rule, where that is known, and its owner.
    pub(crate) fn name(&self, key: &Key) -> String {
        let node = self.plan.as_ref().zip(self.nodes.get(key));
        match node.and_then(|(plan, id)| Some((plan, owner_of(&plan.graph, *id)?))) {
            Some((plan, owner)) => full_name(&plan.graph, owner),
            None => key.to_string(),
        }
    }
}

/// Returns the keys under which history knows the actions of a graph.
pub(super) fn keys(graph: &Graph) -> BTreeMap<NodeId, Key> {
    let key = |id| Some((id, Key::of(owner_of(graph, id)?)));
    (0..graph.len()).filter_map(key).collect()
}

/// Returns the name of an action with that of its rule: `kernel_module //drivers:echo-mod{kernel=…} (module)`.
pub(crate) fn full_name(graph: &Graph, owner: &Owner) -> String {
    graph.rule(&owner.label).map_or_else(|| owner.to_string(), |rule| format!("{rule} {owner}"))
}

/// Returns whose action a node is, if it is one.
pub(crate) fn owner_of(graph: &Graph, node: NodeId) -> Option<&Owner> {
    graph.node(node).action_owner()
}

/// Returns in what two keys differ; messages that neither the store nor somebody else can give are as good as evicted.
pub(super) fn compare(
    store: &LocalStore,
    elsewhere: Option<&Elsewhere>,
    old: ActionDigest,
    new: ActionDigest,
) -> Explanation {
    explain(old, new, &|digest| {
        let here = store.read_bytes(digest).ok().flatten();
        here.or_else(|| elsewhere?.read(digest))
    })
}

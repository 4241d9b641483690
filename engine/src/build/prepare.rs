//! Building what an action needs, and not the action itself: for who wants to look into its sandbox.

use std::sync::Arc;

use model::{ActionDigest, Command};

use super::action::Keyed;
use super::{Build, BuildError, Failure, Stop};
use crate::graph::{Node, NodeId};

/// An action whose inputs are there.
#[derive(Debug)]
pub struct Prepared {
    /// The action.
    pub action: model::Action,
    /// The command that it names.
    pub command: Command,
    /// What it is called in the cache.
    pub digest: ActionDigest,
}

/// Why an action cannot be entered.
#[derive(Debug)]
pub enum Unprepared {
    /// An action that it needs failed.
    Failed(Arc<Failure>),
    /// Something that it needs is nowhere any more, for this reason.
    Unavailable(Arc<str>),
    /// The build broke off.
    Broken(Arc<BuildError>),
}

impl Build {
    /// Builds what an action needs, and returns the action without running it; nothing if the node is no command.
    pub async fn prepare(&self, id: NodeId) -> Result<Option<Prepared>, Unprepared> {
        let Node::Run(_) = self.plan.graph.node(id) else { return Ok(None) };
        match self.keyed_of(id).await {
            Ok(keyed) => Ok(keyed.map(|Keyed { action, command, digest }| Prepared {
                action,
                command,
                digest,
            })),
            Err(Stop::Failed(failure)) => Err(Unprepared::Failed(failure)),
            Err(Stop::Unavailable(reason)) => Err(Unprepared::Unavailable(reason)),
            Err(Stop::Broken(error)) => Err(Unprepared::Broken(error)),
            Err(Stop::Skipped) => unreachable!("nothing is skipped before something has failed"),
        }
    }
}

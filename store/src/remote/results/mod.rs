//! Results of actions.

mod remote;

pub(super) use remote::{lookup, record};

//! What is granted to somebody, as it is typed.

use cas_server::{Grant, NotAbove, Right, Rights};
use serde_json::{Value, json};
use store::Namespace;

#[derive(Debug, clap::Args)]
pub(crate) struct GrantArgs {
    /// Where what its holder writes is believed: trusted, branch/NAME or pr/NAME [default: trusted]
    #[arg(long, value_name = "NAMESPACE")]
    namespace: Option<Namespace>,

    /// A namespace above that, which its holder reads besides: for a pull request, the branch it is for; can be repeated
    #[arg(long, value_name = "NAMESPACE")]
    reads: Vec<Namespace>,

    /// What its holder may do, with commas between: read, write-blobs, write-values, execute, administer [default: read]
    #[arg(long, value_name = "RIGHTS")]
    rights: Option<Rights>,
}

impl GrantArgs {
    /// Returns what is granted: to read what everybody believes, where nothing else was said.
    pub(super) fn grant(&self) -> Result<Grant, NotAbove> {
        let rights = self.rights.unwrap_or_else(|| Rights::from_iter([Right::Read]));
        let namespace = self.namespace.clone().unwrap_or(Namespace::Trusted);
        Grant::new(rights, namespace, &self.reads)
    }

    /// Returns whether anything was said.
    pub(super) fn is_given(&self) -> bool {
        self.namespace.is_some() || self.rights.is_some() || !self.reads.is_empty()
    }
}

/// Returns rights as people read them.
pub(super) fn words(rights: Rights) -> String {
    if rights.is_empty() { "nothing".to_owned() } else { rights.to_string() }
}

/// Returns rights for answers in JSON.
pub(super) fn names(rights: Rights) -> Value {
    json!(rights.iter().map(Right::name).collect::<Vec<_>>())
}

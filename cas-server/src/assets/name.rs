//! By what assets are found again.
//!
//! What is asked for with some qualifiers is whatever was pushed last with at least those. So what is pushed becomes a value
//! under every choice among its qualifiers, each with one writer, and finding it is one look.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use model::{Digest, DigestFunction};
use store::StoreError;
use tonic::Status;
use wire::asset::Asset;
use wire::references::ResultReferences;

use super::qualifiers::Qualifiers;
use crate::asked;
use crate::completeness;
use crate::front::View;
use crate::limits::{ADDRESS_BYTES_MAX, ADDRESSES_MAX};

/// What an asset is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AssetKind {
    Blob,
    Directory,
}

/// By what a client calls an asset, but for its qualifiers.
pub(crate) struct AssetName {
    pub(crate) kind: AssetKind,
    pub(crate) project: String,
    /// By which its digests are.
    pub(crate) function: DigestFunction,
    /// Best first, at least one.
    pub(crate) addresses: Vec<String>,
}

impl AssetName {
    /// Returns the name that a request says. Where it names no function, SHA-256 is meant.
    pub(crate) fn new(
        kind: AssetKind,
        project: String,
        function: i32,
        addresses: Vec<String>,
    ) -> Result<Self, Status> {
        if addresses.is_empty() {
            return Err(Status::invalid_argument("there is no uri"));
        }
        let is_wrong = |it: &String| {
            it.is_empty() || it.len() > ADDRESS_BYTES_MAX || it.contains(char::is_control)
        };
        if addresses.len() > ADDRESSES_MAX || addresses.iter().any(is_wrong) {
            let why =
                format!("there may be {ADDRESSES_MAX} uris of {ADDRESS_BYTES_MAX} bytes each");
            return Err(Status::invalid_argument(why));
        }
        Ok(Self { kind, project, function: asked::functions(function)?[0], addresses })
    }

    /// Returns what one of the addresses stands for, by the best word of which everything is here and admitted.
    pub(crate) async fn lookup(
        &self,
        view: &View,
        address: &str,
        qualifiers: &Qualifiers,
    ) -> Result<Option<Asset>, StoreError> {
        let (space, key) = (self.space(), key(address, &qualifiers.naming));
        for namespace in view.caller.reads.iter() {
            let value = view.lookup_in(namespace, &space, &key).await?;
            let asset = value.map(|it| Asset::decode(self.function, it.bytes));
            let Some(Ok(asset)) = asset else { continue };
            let is_valid = asset.expires.is_none_or(|it| it > SystemTime::now());
            let is_admitted =
                qualifiers.integrity.as_ref().is_none_or(|it| it.admits(&asset.digest));
            if is_valid && is_admitted && self.missing(view, &asset).await?.is_empty() {
                return Ok(Some(asset));
            }
        }
        Ok(None)
    }

    /// Remembers what the addresses stand for, by the caller's word.
    pub(crate) async fn record(
        &self,
        view: &View,
        qualifiers: &Qualifiers,
        asset: &Asset,
    ) -> Result<(), StoreError> {
        let (space, bytes) = (self.space(), asset.encode());
        for address in &self.addresses {
            for chosen in choices(&qualifiers.naming) {
                view.record(&space, &key(address, &chosen), bytes.clone()).await?;
            }
        }
        Ok(())
    }

    /// Returns what is missing of the asset and all that it is of no use without: nothing, if it can be pushed or answered.
    pub(crate) async fn missing(
        &self,
        view: &View,
        asset: &Asset,
    ) -> Result<BTreeSet<Digest>, StoreError> {
        let mut needed = ResultReferences {
            blobs: asset.blobs.clone(),
            trees: Vec::new(),
            directories: asset.directories.clone(),
        };
        let kind: &mut Vec<Digest> = match self.kind {
            AssetKind::Blob => &mut needed.blobs,
            AssetKind::Directory => &mut needed.directories,
        };
        kind.push(asset.digest);
        let mut missing = completeness::missing(&*view.cellar, self.function, &needed).await?;
        if !missing.is_empty() {
            // Where a directory is missing nothing further is looked for; what the asset names itself is known anyway.
            let named = [needed.blobs, needed.directories].concat();
            missing.extend(view.cellar.find_missing(named.into_iter().collect()).await?);
        }
        Ok(missing)
    }

    fn space(&self) -> String {
        let kind = match self.kind {
            AssetKind::Blob => "blob",
            AssetKind::Directory => "directory",
        };
        format!("asset/{kind}/{}/{}", self.function, self.project)
    }
}

/// Returns the address and a line for each qualifier: neither has a line break inside.
fn key(address: &str, naming: &BTreeMap<String, String>) -> String {
    let lines = naming.iter().map(|(name, value)| format!("\n{name}={value}"));
    std::iter::once(address.to_owned()).chain(lines).collect()
}

/// Returns every choice of some, all or none of the qualifiers. There are few names, so there are at most 16.
fn choices(naming: &BTreeMap<String, String>) -> impl Iterator<Item = BTreeMap<String, String>> {
    (0..1_u32 << naming.len()).map(|choice| {
        let is_chosen = |nth: usize| choice >> nth & 1 == 1;
        let chosen = naming.iter().enumerate().filter(|(nth, _)| is_chosen(*nth));
        chosen.map(|(_, (name, value))| (name.clone(), value.clone())).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_is_found_by_every_choice_among_its_qualifiers() {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let naming = |pairs: &[(&str, &str)]| pairs.iter().map(pair).collect();
        let (branch, kind) = (("vcs.branch", "main"), ("resource_type", "x"));
        let pushed: BTreeMap<_, _> = naming(&[branch, kind]);
        let keys: BTreeSet<_> = choices(&pushed).map(|it| key("a", &it)).collect();
        let asked = [&[][..], &[branch], &[kind], &[kind, branch]];
        assert_eq!(keys, asked.map(|it| key("a", &naming(it))).into());
        assert_eq!(choices(&BTreeMap::new()).count(), 1);
    }
}

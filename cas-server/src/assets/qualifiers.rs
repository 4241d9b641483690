//! Qualifiers of assets: which are understood, and which only say how to fetch.

use std::collections::BTreeMap;

use tonic::{Code, Status};

use super::integrity::Integrity;

/// How many qualifiers a request may have: Bazel sends one per header and address.
const QUALIFIERS_MAX: usize = 256;

/// Qualifiers that say *what* is meant; those of a fetch must all have been pushed.
const NAMING: [&str; 4] = ["resource_type", "directory", "vcs.branch", "vcs.commit"];

/// The qualifiers of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Qualifiers {
    /// Those that say what is meant, by name.
    pub(crate) naming: BTreeMap<String, String>,
    /// What the bytes must hash to.
    pub(crate) integrity: Option<Integrity>,
    /// Headers for all addresses. They hold credentials: they are never shown.
    headers: Vec<(String, String)>,
    /// Headers for one address, by its index.
    headers_of: Vec<(usize, String, String)>,
}

impl Qualifiers {
    /// Parses the names and values of a request.
    pub(crate) fn parse(
        pairs: impl ExactSizeIterator<Item = (String, String)>,
    ) -> Result<Self, Status> {
        if pairs.len() > QUALIFIERS_MAX {
            let why = format!("there may be {QUALIFIERS_MAX} qualifiers");
            return Err(Status::invalid_argument(why));
        }
        let mut qualifiers = Self::default();
        for (name, value) in pairs {
            qualifiers.take(name, value)?;
        }
        Ok(qualifiers)
    }

    fn take(&mut self, name: String, value: String) -> Result<(), Status> {
        if NAMING.contains(&name.as_str()) {
            if self.naming.contains_key(&name) {
                return Err(refused(&name, "is there twice"));
            }
            if value.contains(char::is_control) {
                return Err(refused(&name, "has a control character"));
            }
            self.naming.insert(name, value);
        } else if name == "checksum.sri" {
            let integrity = Integrity::parse(&value);
            let integrity = integrity.ok_or_else(|| refused(&name, "has no sha256 hash"))?;
            if self.integrity.replace(integrity).is_some() {
                return Err(refused(&name, "is there twice"));
            }
        } else if let Some(header) = name.strip_prefix("http_header:") {
            self.headers.push((header.to_owned(), value));
        } else if let Some(rest) = name.strip_prefix("http_header_url:") {
            let parsed = rest.split_once(':').and_then(|(n, it)| Some((n.parse().ok()?, it)));
            let (nth, header) = parsed.ok_or_else(|| refused(&name, "not supported"))?;
            self.headers_of.push((nth, header.to_owned(), value));
        } else if name != "bazel.canonical_id" {
            return Err(refused(&name, "not supported"));
        }
        Ok(())
    }

    /// Returns the headers to fetch the nth address with. One for that address wins over one for all.
    pub(crate) fn headers(&self, nth: usize) -> Vec<(String, String)> {
        let own = self.headers_of.iter().filter(|it| it.0 == nth);
        let own: Vec<_> = own.map(|(_, name, value)| (name.clone(), value.clone())).collect();
        let is_own = |name: &str| own.iter().any(|it| it.0.eq_ignore_ascii_case(name));
        let all = self.headers.iter().filter(|it| !is_own(&it.0)).cloned();
        all.chain(own.iter().cloned()).collect()
    }
}

fn refused(name: &str, why: &str) -> Status {
    let message = format!("the qualifier `{name}` {why}");
    let code = Code::InvalidArgument;
    let description = format!("\"{name}\" {why}");
    let details = wire::details::bad_field(code.into(), &message, "qualifiers.name", &description);
    Status::with_details(code, message, details)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<Qualifiers, Status> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Qualifiers::parse(pairs.iter().map(owned))
    }

    #[test]
    fn headers_of_one_address_win() {
        let qualifiers = parse(&[
            ("http_header:Authorization", "for all"),
            ("http_header_url:1:authorization", "for one"),
        ]);
        let qualifiers = qualifiers.unwrap();
        assert_eq!(qualifiers.headers(0), [("Authorization".to_owned(), "for all".to_owned())]);
        assert_eq!(qualifiers.headers(1), [("authorization".to_owned(), "for one".to_owned())]);
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for pairs in [
            &[("vcs.tag", "v1")][..],
            &[("vcs.commit", "a"), ("vcs.commit", "b")],
            &[("checksum.sri", "md5-AAAA")],
            &[("http_header_url:x:y", "z")],
            &[("vcs.branch", "a\nvcs.commit=b")],
        ] {
            let status = parse(pairs).unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument);
            assert!(status.message().contains(pairs[0].0), "{status:?}");
            assert!(!status.details().is_empty());
        }
    }
}

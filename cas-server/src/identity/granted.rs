//! What a certificate of our own authority grants: it says so itself, in a URI among its names, so that a server needs to know
//! nothing but the authority.
//!
//! `bld:client?namespace=pr/17&reads=branch/main&rights=read,write-blobs`

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use store::{InvalidNamespace, Namespace};

use crate::rights::{Grant, NotAbove, Rights, UnknownRight};

/// What every such URI begins with.
const SCHEME: &str = "bld:client?";

/// What is written as it is, besides letters and digits.
const PLAIN: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'/').remove(b',');

/// Why a certificate does not say what it grants.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantedError {
    /// It does not.
    #[error(
        "it does not say what it grants: `bld server ca issue` makes those that do, `identity.certificate` has rules for others"
    )]
    Nothing,
    /// It does so twice.
    #[error("it says twice what it grants")]
    Twice,
    /// It has a word that is not known, or one twice, or lacks one.
    #[error("what it grants is not of the form that is known here")]
    Form,
    /// A namespace is none.
    #[error(transparent)]
    Namespace(#[from] InvalidNamespace),
    /// A right is none.
    #[error(transparent)]
    Right(#[from] UnknownRight),
    /// Its namespaces do not fit together.
    #[error(transparent)]
    NotAbove(#[from] NotAbove),
}

/// Returns the URI that says this.
pub(crate) fn uri(grant: &Grant) -> String {
    let encode = |text: String| utf8_percent_encode(&text, PLAIN).to_string();
    let mut uri = format!("{SCHEME}namespace={}", encode(grant.namespace.to_string()));
    for namespace in grant.above() {
        uri.push_str("&reads=");
        uri.push_str(&encode(namespace.to_string()));
    }
    uri.push_str("&rights=");
    uri.push_str(&encode(grant.rights.to_string()));
    uri
}

/// Returns what the one of these URIs that is ours says.
pub(crate) fn of(uris: &[String]) -> Result<Grant, GrantedError> {
    let mut ours = uris.iter().filter_map(|uri| uri.strip_prefix(SCHEME));
    let said = ours.next().ok_or(GrantedError::Nothing)?;
    if ours.next().is_some() {
        return Err(GrantedError::Twice);
    }
    let (mut namespace, mut rights, mut reads) = (None, None, Vec::new());
    for part in said.split('&') {
        let (word, value) = part.split_once('=').ok_or(GrantedError::Form)?;
        let value = percent_decode_str(value).decode_utf8().ok().ok_or(GrantedError::Form)?;
        let again = match word {
            "namespace" => namespace.replace(value.parse::<Namespace>()?).is_some(),
            "rights" => rights.replace(value.parse::<Rights>()?).is_some(),
            "reads" => {
                reads.push(value.parse()?);
                false
            }
            _ => return Err(GrantedError::Form),
        };
        if again {
            return Err(GrantedError::Form);
        }
    }
    let (Some(namespace), Some(rights)) = (namespace, rights) else {
        return Err(GrantedError::Form);
    };
    Ok(Grant::new(rights, namespace, &reads)?)
}

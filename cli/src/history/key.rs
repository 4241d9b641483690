//! Who an action belongs to, as history writes it down.

use std::collections::BTreeMap;
use std::fmt;

use engine::{Cell, Owner};

/// Label, cell and role of an action as a line of JSON: `["//drivers:echo-mod",{"kernel":"6.1.0-56-amd64"},"module"]`.
///
/// Text, so that a ledger of tens of thousands can be sorted, looked up and written again without being parsed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(String);

/// What a key says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    /// The target.
    pub(crate) label: String,
    /// Its cell.
    pub(crate) cell: Cell,
    /// Which of its actions.
    pub(crate) role: String,
}

impl Key {
    /// Returns the key of an owner's action.
    pub(super) fn of(owner: &Owner) -> Self {
        let parts = (owner.label.to_string(), &owner.cell.0, &owner.role);
        Self(serde_json::to_string(&parts).expect("texts become JSON"))
    }

    /// Takes a text that was a key when it was written.
    pub(crate) fn from_text(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the text that the keys of all actions of the same target begin with.
    pub(crate) fn label_prefix(&self) -> &str {
        // A label has neither quotes nor braces in it.
        self.0.find(",{").map_or("", |end| &self.0[..=end])
    }

    /// Returns what the key says; `None` for a text that never was one.
    pub(crate) fn who(&self) -> Option<Who> {
        let parts: (String, BTreeMap<String, String>, String) =
            serde_json::from_str(&self.0).ok()?;
        Some(Who { label: parts.0, cell: Cell(parts.1), role: parts.2 })
    }
}

/// As people read it: `//drivers:echo-mod{kernel=6.1.0-56-amd64} (module)`.
impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.label, self.cell)?;
        if self.role.is_empty() { Ok(()) } else { write!(f, " ({})", self.role) }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.who() {
            Some(who) => who.fmt(f),
            None => f.write_str(&self.0),
        }
    }
}

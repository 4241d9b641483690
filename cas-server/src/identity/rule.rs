//! Rules: what is granted to those of whom somebody trustworthy says something.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::Deserialize;
use store::{InvalidNamespace, Namespace};

use crate::rights::{Grant, NotAbove, Rights};

/// What is said of somebody: claims, each with the values that it has.
pub(crate) type Claims = BTreeMap<String, Vec<String>>;

/// How many claims a rule may name, and how many namespaces above its own it may read.
const RULE_PARTS_MAX: usize = 32;

/// What is granted to those whose claims are so.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RuleFile")]
pub struct Rule {
    claims: BTreeMap<String, Pattern>,
    namespace: Template,
    reads: Vec<Template>,
    rights: Rights,
}

/// A rule as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    claims: BTreeMap<String, String>,
    namespace: String,
    #[serde(default)]
    reads: Vec<String>,
    rights: Rights,
}

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// It holds for everybody.
    #[error(
        "a rule without `claims` would hold for everybody: name at least one, with the value that it must have"
    )]
    Everybody,
    /// It names too much.
    #[error(
        "a rule has at most {RULE_PARTS_MAX} claims and reads at most {RULE_PARTS_MAX} namespaces"
    )]
    Long,
    /// A pattern has more than one star.
    #[error("`{0}` has more than one `*`")]
    Stars(String),
    /// A template names a claim that the rule does not.
    #[error(
        "`{{{claim}}}` in `{template}` stands for no claim of this rule: add it to `claims`, where `*` stands for any value"
    )]
    UnknownClaim {
        /// The template.
        template: String,
        /// The claim.
        claim: String,
    },
    /// A template has a brace that is not closed.
    #[error("`{0}` has a `{{` without `}}`")]
    Brace(String),
    /// A claim could say how far its holder is trusted.
    #[error(
        "`{0}` has to begin with `branch/` or `pr/`: no claim may say how far its holder is trusted"
    )]
    Kind(String),
    /// What a template makes is no namespace.
    #[error(transparent)]
    Namespace(#[from] InvalidNamespace),
    /// What a rule reads is not above its namespace.
    #[error(transparent)]
    NotAbove(#[from] NotAbove),
}

impl TryFrom<RuleFile> for Rule {
    type Error = RuleError;

    fn try_from(file: RuleFile) -> Result<Self, RuleError> {
        if file.claims.is_empty() {
            return Err(RuleError::Everybody);
        }
        if file.claims.len().max(file.reads.len()) > RULE_PARTS_MAX {
            return Err(RuleError::Long);
        }
        let parse = |(claim, text): (String, String)| Ok((claim, text.parse()?));
        let claims: BTreeMap<_, _> =
            file.claims.into_iter().map(parse).collect::<Result<_, RuleError>>()?;
        let template = |text: &String| Template::parse(text, &claims);
        let (namespace, reads) = (
            template(&file.namespace)?,
            file.reads.iter().map(template).collect::<Result<_, _>>()?,
        );
        let rule = Self { claims, namespace, reads, rights: file.rights };
        // Tried with some value: whether what comes of it is a namespace, and of which kind, does not depend on the value.
        rule.grant(&rule.claims.keys().map(|claim| (claim.as_str(), "x")).collect())?;
        Ok(rule)
    }
}

impl Rule {
    /// Returns what is granted to whom that is said of, or `None` if the rule is not about him. A value that makes no
    /// namespace is an error.
    pub(crate) fn apply(&self, said: &Claims) -> Option<Result<Grant, RuleError>> {
        let mut captured = BTreeMap::new();
        for (claim, pattern) in &self.claims {
            let part = said.get(claim)?.iter().find_map(|value| pattern.capture(value))?;
            captured.insert(claim.as_str(), part);
        }
        Some(self.grant(&captured))
    }

    fn grant(&self, captured: &BTreeMap<&str, &str>) -> Result<Grant, RuleError> {
        let above: Vec<_> =
            self.reads.iter().map(|it| it.fill(captured)).collect::<Result<_, _>>()?;
        Ok(Grant::new(self.rights, self.namespace.fill(captured)?, &above)?)
    }
}

/// A text that may have one star, which stands for one letter or more.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Exactly(String),
    Around { before: String, after: String },
}

impl FromStr for Pattern {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        match text.split_once('*') {
            None => Ok(Self::Exactly(text.to_owned())),
            Some((_, after)) if after.contains('*') => Err(RuleError::Stars(text.to_owned())),
            Some((before, after)) => {
                Ok(Self::Around { before: before.to_owned(), after: after.to_owned() })
            }
        }
    }
}

impl Pattern {
    /// Returns what the star stands for, or the whole text if there is none; or `None` if the pattern does not fit.
    fn capture<'v>(&self, value: &'v str) -> Option<&'v str> {
        match self {
            Self::Exactly(text) => (text == value).then_some(value),
            Self::Around { before, after } => {
                let part = value.strip_prefix(before.as_str())?.strip_suffix(after.as_str())?;
                (!part.is_empty()).then_some(part)
            }
        }
    }
}

/// The name of a namespace, with claims in braces.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Template {
    /// What stands before each claim, and the claim.
    parts: Vec<(String, String)>,
    /// What stands after the last.
    end: String,
}

impl Template {
    fn parse(text: &str, claims: &BTreeMap<String, Pattern>) -> Result<Self, RuleError> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            let (claim, after) =
                after.split_once('}').ok_or_else(|| RuleError::Brace(text.to_owned()))?;
            if !claims.contains_key(claim) {
                let (template, claim) = (text.to_owned(), claim.to_owned());
                return Err(RuleError::UnknownClaim { template, claim });
            }
            parts.push((before.to_owned(), claim.to_owned()));
            rest = after;
        }
        let template = Self { parts, end: rest.to_owned() };
        // Of which kind it is nobody who makes claims can choose: `trusted` and what stands before the `/` are written out.
        if let Some((before, _)) = template.parts.first()
            && !before.contains('/')
        {
            return Err(RuleError::Kind(text.to_owned()));
        }
        Ok(template)
    }

    fn fill(&self, captured: &BTreeMap<&str, &str>) -> Result<Namespace, RuleError> {
        let mut text = String::new();
        for (before, claim) in &self.parts {
            text.push_str(before);
            text.push_str(
                captured.get(claim.as_str()).expect("every claim of a template is one of its rule"),
            );
        }
        text.push_str(&self.end);
        Ok(text.parse()?)
    }
}

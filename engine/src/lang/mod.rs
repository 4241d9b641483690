//! The build language: Starlark, and the few words that `bld` adds to it.

pub(crate) mod artifact;
pub(crate) mod attr;
pub(crate) mod context;
pub(crate) mod data;
pub(crate) mod dep;
pub(crate) mod globals;
pub(crate) mod provider;
pub(crate) mod rule;
pub(crate) mod select;
pub(crate) mod session;

/// Makes a Starlark value of a Rust type that holds no other Starlark values.
macro_rules! plain_value {
    ($type:ident, $name:literal, |$self:ident, $f:ident| $display:expr) => {
        starlark::starlark_simple_value!($type);

        impl std::fmt::Display for $type {
            fn fmt(&$self, $f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $display
            }
        }
    };
}
pub(crate) use plain_value;

/// Returns a Starlark error that says `message` at the place of the call.
pub(crate) fn mistake(message: impl Into<String>) -> starlark::Error {
    starlark::Error::new_native(crate::diagnostic::Diagnostic::new(message))
}

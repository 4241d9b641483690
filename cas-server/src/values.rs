//! Values as a caller sees them: what is his own, and what each of those says whose word he takes.

use store::{Namespace, StoreError, Value, ValueKey};

use crate::front::View;

impl View {
    /// Returns what one namespace says of a key.
    ///
    /// The first of those that a caller reads need not be right: what it refers to may be gone, and then the next one
    /// counts.
    pub async fn lookup_in(
        &self,
        namespace: &Namespace,
        space: &str,
        key: &str,
    ) -> Result<Option<Value>, StoreError> {
        self.cellar.lookup(&key_in(namespace, space, key)).await
    }

    /// Forgets the caller's own word for a key. Returns whether there was one.
    pub async fn forget(&self, space: &str, key: &str) -> Result<bool, StoreError> {
        self.cellar.forget(&key_in(&self.caller.namespace, space, key)).await
    }
}

fn key_in(namespace: &Namespace, space: &str, key: &str) -> ValueKey {
    ValueKey { namespace: namespace.clone(), space: space.to_owned(), key: key.to_owned() }
}

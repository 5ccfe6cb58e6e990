//! What the API asks of a node about whole databases, so that it can be tested without one.

use std::ops::ControlFlow;

use sqlite::Cancel;
use store::backup::Form;
use store::node::Node;

/// A node's database, as a whole.
pub trait Vault: Send + Sync + 'static {
    /// Hands a backup to `sink`, piece by piece. Blocks.
    ///
    /// # Errors
    ///
    /// What reading reports; before the first piece nothing has left.
    fn backup(
        &self,
        form: &Form,
        cancel: &Cancel,
        sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), sqlite::Error>;
}

impl Vault for Node {
    fn backup(
        &self,
        form: &Form,
        cancel: &Cancel,
        sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), sqlite::Error> {
        Node::backup(self, form, cancel, sink)
    }
}

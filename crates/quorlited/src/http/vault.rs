//! What the API asks of a node about whole databases, so that it can be tested without one.

use std::ops::ControlFlow;
use std::time::Duration;

use command::entry::Chunk;
use command::reply::Reply;
use sqlite::Cancel;
use store::Error;
use store::backup::Form;
use store::load::{Boot, Loading};
use store::node::Node;
use store::transport::BoxFuture;

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
    /// A number for a load of its own.
    fn draw_load(&self) -> u64;
    /// Gathers a piece of a load on every node (leader only).
    fn gather(&self, chunk: Chunk, timeout: Duration) -> BoxFuture<'_, Result<Reply, Error>>;
    /// Loads what was gathered, or gives it up (leader only).
    fn load(&self, loading: Loading, timeout: Duration) -> BoxFuture<'_, Result<Reply, Error>>;
    /// Begins to receive a file for [`Vault::boot`].
    ///
    /// # Errors
    ///
    /// This node cannot be booted.
    fn begin_boot(&self) -> Result<Boot, Error>;
    /// Puts a file in the place of this lone node's database.
    fn boot(&self, boot: Boot, timeout: Duration) -> BoxFuture<'_, Result<(), Error>>;
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

    fn draw_load(&self) -> u64 {
        Node::draw_load(self)
    }

    fn gather(&self, chunk: Chunk, timeout: Duration) -> BoxFuture<'_, Result<Reply, Error>> {
        Box::pin(Node::gather(self, chunk, timeout))
    }

    fn load(&self, loading: Loading, timeout: Duration) -> BoxFuture<'_, Result<Reply, Error>> {
        Box::pin(Node::load(self, loading, timeout))
    }

    fn begin_boot(&self) -> Result<Boot, Error> {
        Node::begin_boot(self)
    }

    fn boot(&self, boot: Boot, timeout: Duration) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(Node::boot(self, boot, timeout))
    }
}

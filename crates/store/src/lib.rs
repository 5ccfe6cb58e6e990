//! Ledger: consensus, apply, read levels, membership, snapshots.
//!
//! Owns the replicated log's meaning and the order of everything. It opens no socket and speaks no HTTP: peers are
//! reached through [`transport::Transport`], time and randomness come in through [`environment::Environment`].
//!
//! ```text
//!  write ──► node ──► consensus ──► log (one flush per batch)
//!                        │    └───► peers, while the flush runs
//!                    committed
//!                        ▼
//!                      apply (one SQLite transaction per batch) ──► reply
//! ```

pub mod apply;
pub mod backup;
pub mod check;
pub mod config;
mod consensus;
mod databases;
pub mod divergence;
pub mod environment;
pub mod error;
mod executor;
#[cfg(feature = "mutations")]
pub mod feed;
mod identity;
mod keeper;
pub mod load;
pub mod member;
pub mod metrics;
pub mod node;
mod open;
pub mod prepared;
mod proposals;
pub mod read;
mod reconcile;
mod settings;
mod skips;
pub mod status;
pub mod transport;

#[doc(hidden)]
pub use consensus::reread;
pub use error::Error;
pub use node::Node;

//! How nodes find each other, form a cluster, join one, and work for each other's clients.
//!
//! Owns the protocol on the service channel. Membership itself is the store's; what a forwarded request means is
//! `http`'s. No SQL, no HTTP (but for one probe that guards against a wrong `-join`).
//!
//! ```text
//!  form ──► alone │ join ─────────────────► service of the leader ──► admission ──► store
//!                 │ bootstrap (founding) ─► services of the others: notify, promise
//!  forward ──────────────────────────────► service of the leader ──► http's handler
//! ```
//!
//! Invariants:
//! * A live node is never displaced by another that carries its name.
//! * At most one set that contains a given incarnation is ever initialized, and by one node.
//! * What may already have taken effect is sent again only when that is harmless (D9).

pub mod admission;
pub mod client;
pub mod counters;
pub mod error;
pub mod form;
pub mod forward;
pub mod founding;
pub mod join;
pub mod leave;
pub mod ledger;
pub mod message;
pub mod pool;
pub mod probe;
pub mod service;

#[cfg(test)]
mod tests;

pub use client::Client;
pub use counters::Counters;
pub use error::Error;
pub use forward::Forwarder;
pub use founding::Founding;
pub use service::{Handler, Service};

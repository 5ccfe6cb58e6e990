//! What the port counts, under the names that users know.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of the inter-node port; all start at zero with the process.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that came with a good hello and were handed on.
    pub connections_handled: AtomicU64,
    /// Connections whose hello names a channel that this release does not know.
    pub unregistered_handlers: AtomicU64,
    /// Times that the certificate was read.
    pub tls_cert_fetched: AtomicU64,
    /// Connections closed because as many as may be were open already.
    pub conn_rejected: AtomicU64,
}

impl Counters {
    /// The `mux` map of `/debug/vars`.
    pub fn mux(&self) -> [(&'static str, u64); 3] {
        [
            ("num_connections_handled", read(&self.connections_handled)),
            ("num_unregistered_handlers", read(&self.unregistered_handlers)),
            ("num_tls_cert_fetched", read(&self.tls_cert_fetched)),
        ]
    }
}

/// Counts one.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The value now.
pub fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

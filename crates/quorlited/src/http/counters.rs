//! What the API counts, under the names that users know; each starts at zero with the process.
//!
//! Atomics and nothing else: counting never waits.

use std::sync::atomic::{AtomicU64, Ordering};

/// A map of counters, by name.
macro_rules! counters {
    ($(#[$doc:meta])* $map:ident { $($(#[$field_doc:meta])* $field:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub struct $map {
            $($(#[$field_doc])* pub $field: AtomicU64,)*
        }

        impl $map {
            /// Names and values, as they are now.
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($field), self.$field.load(Ordering::Relaxed)),)*]
            }
        }
    };
}

counters! {
    /// The `http` map of `/debug/vars`.
    Http {
        /// Requests that found no leader.
        leader_not_found,
        /// Requests for the console.
        ui,
        /// `/db/execute`, queued ones included.
        executions,
        /// Statements in them.
        execute_stmts_rx,
        /// Queued ones.
        queued_executions,
        /// Batches of them that were applied.
        queued_executions_ok,
        /// Statements taken into the queue.
        queued_executions_num_stmts_rx,
        /// Statements of batches that were applied.
        queued_executions_num_stmts_tx,
        /// Tries of a batch that found no leader.
        queued_executions_no_leader,
        /// Tries that this node could not carry out, since another leads.
        queued_executions_not_leader,
        /// Tries whose outcome is unknown; they are repeated under the same key.
        queued_executions_leadership_lost,
        /// Tries that failed otherwise.
        queued_executions_unknown_error,
        /// Batches that were given up.
        queued_executions_failed,
        /// Requests that waited for their batch.
        queued_executions_wait,
        /// Of these, those that were told that it took too long.
        queued_executions_wait_timeout,
        /// `/db/query`.
        queries,
        /// Statements in them.
        query_stmts_rx,
        /// `/db/request`.
        requests,
        /// Statements in them.
        request_stmts_rx,
        /// `/readyz`.
        num_readyz,
        /// `/status`.
        num_status,
        /// `/db/backup`.
        backups,
        /// `/db/load`.
        loads,
        /// `/boot`.
        boot,
        /// `/snapshot`.
        user_snapshots,
        /// `/reap`.
        user_reaps,
        /// `/db/sql`.
        sql_analyze,
        /// Requests that were allowed.
        auth_ok,
        /// Requests that were not.
        auth_fail,
        /// Times that the certificate was read.
        tls_cert_fetched,
    }
}

counters! {
    /// The `queue` map of `/debug/vars`.
    Queue {
        /// Requests taken in.
        objects_rx,
        /// Requests whose batch has ended.
        objects_tx,
        /// Batches that left because their time had come.
        num_timeout,
        /// Batches that left.
        num_flush,
    }
}

counters! {
    /// What the `db` map of `/debug/vars` counts here: requests that ran on this node.
    Db {
        /// Writes.
        executions,
        /// Reads.
        queries,
        /// Reads and writes together.
        requests,
        /// Writes that are one unit.
        execute_transactions,
        /// Reads that see one snapshot.
        query_transactions,
        /// Mixed requests that are one unit.
        request_transactions,
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Counters {
    /// See [`Http`].
    pub http: Http,
    /// See [`Queue`].
    pub queue: Queue,
    /// See [`Db`].
    pub db: Db,
}

/// Counts one.
pub fn count(counter: &AtomicU64) {
    add(counter, 1);
}

/// Counts `many`.
pub fn add(counter: &AtomicU64, many: usize) {
    counter.fetch_add(many as u64, Ordering::Relaxed);
}

//! What the cluster service and its client count, under the names that users know.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::forwarded::Operation;
use crate::net;
use crate::net::counters::read;

/// Counters of the cluster service and client; all start at zero with the process.
#[derive(Debug, Default)]
pub struct Counters {
    /// The port's own counters.
    pub net: Arc<net::Counters>,
    /// Requests to describe this node.
    pub describe_req: AtomicU64,
    /// Answers to them.
    pub describe_resp: AtomicU64,
    /// Descriptions of this node that needed no connection.
    pub describe_req_local: AtomicU64,
    /// Forwarded `/db/execute` requests that came here.
    pub execute_req: AtomicU64,
    /// Forwarded `/db/query` requests that came here.
    pub query_req: AtomicU64,
    /// Forwarded `/db/request` requests that came here.
    pub request_req: AtomicU64,
    /// Forwarded backups that came here.
    pub backup_req: AtomicU64,
    /// Forwarded loads whose end came here.
    pub load_req: AtomicU64,
    /// Forwarded pieces of loads that came here.
    pub gather_req: AtomicU64,
    /// `/quorlite/skip` for other nodes' clients.
    pub skip_req: AtomicU64,
    /// `/quorlite/verify` for other nodes' clients.
    pub verify_req: AtomicU64,
    /// Forwarded removals that came here.
    pub remove_node_req: AtomicU64,
    /// Notifications of the bootstrap loop that came here.
    pub notify_req: AtomicU64,
    /// Join requests that came here.
    pub join_req: AtomicU64,
    /// Forwarded hand-overs that came here.
    pub stepdown_req: AtomicU64,
    /// Nodes that joined through this one.
    pub joins: AtomicU64,
    /// Joins of nodes that were members already.
    pub ignored_joins: AtomicU64,
    /// Members that made way for one that joined under their name or address.
    pub removed_before_joins: AtomicU64,
    /// `/db/execute` requests sent to the leader.
    pub remote_executions: AtomicU64,
    /// Of these, those that did not come through.
    pub remote_executions_failed: AtomicU64,
    /// `/db/query` requests sent to the leader.
    pub remote_queries: AtomicU64,
    /// Of these, those that did not come through.
    pub remote_queries_failed: AtomicU64,
    /// `/db/request` requests sent to the leader.
    pub remote_requests: AtomicU64,
    /// Of these, those that did not come through.
    pub remote_requests_failed: AtomicU64,
    /// Removals sent to the leader.
    pub remote_remove_node: AtomicU64,
    /// Hand-overs sent to the leader.
    pub remote_stepdowns: AtomicU64,
    /// Pieces of loads sent to the leader.
    pub remote_pieces: AtomicU64,
    /// `/quorlite/skip` sent to the leader.
    pub remote_skips: AtomicU64,
    /// `/quorlite/verify` sent to the leader.
    pub remote_verifications: AtomicU64,
    /// Loads sent to the leader.
    pub remote_loads: AtomicU64,
    /// Backups asked of the leader.
    pub remote_backups: AtomicU64,
    /// Requests sent again by this node.
    pub client_retries: AtomicU64,
    /// Of these, descriptions.
    pub describe_req_retries: AtomicU64,
    /// Of these, `/db/execute`.
    pub client_execute_retries: AtomicU64,
    /// Of these, `/db/query`.
    pub client_query_retries: AtomicU64,
    /// Of these, the ends of loads.
    pub client_load_retries: AtomicU64,
    /// Of these, `/db/request`.
    pub client_request_retries: AtomicU64,
    /// Requests whose answer did not come in time.
    pub client_read_timeouts: AtomicU64,
    /// Requests that could not be sent in time.
    pub client_write_timeouts: AtomicU64,
    /// Requests that needed a new connection because the pooled ones were stale: one for each such request.
    pub client_force_new_conn: AtomicU64,
}

impl Counters {
    /// Counters that stand beside those of the port.
    pub fn new(net: Arc<net::Counters>) -> Self {
        Self { net, ..Self::default() }
    }

    /// The `cluster` map of `/debug/vars`. Requests that other features bring stay at zero until those exist.
    pub fn cluster(&self) -> [(&'static str, u64); 24] {
        [
            ("num_get_node_api_req", read(&self.describe_req)),
            ("num_get_node_api_resp", read(&self.describe_resp)),
            ("num_get_node_api_req_local", read(&self.describe_req_local)),
            ("num_execute_req", read(&self.execute_req)),
            ("num_query_req", read(&self.query_req)),
            ("num_request_req", read(&self.request_req)),
            ("num_backup_req", read(&self.backup_req)),
            ("num_load_req", read(&self.load_req)),
            ("num_remove_node_req", read(&self.remove_node_req)),
            ("num_notify_req", read(&self.notify_req)),
            ("num_join_req", read(&self.join_req)),
            ("num_stepdown_req", read(&self.stepdown_req)),
            ("num_broadcast_hwm_req", 0),
            ("num_hwm_update_dropped", 0),
            ("num_conn_rejected", read(&self.net.conn_rejected)),
            ("num_client_retries", read(&self.client_retries)),
            ("num_get_node_api_req_retries", read(&self.describe_req_retries)),
            ("num_client_load_retries", read(&self.client_load_retries)),
            ("num_client_execute_retries", read(&self.client_execute_retries)),
            ("num_client_query_retries", read(&self.client_query_retries)),
            ("num_client_request_retries", read(&self.client_request_retries)),
            ("num_client_read_timeouts", read(&self.client_read_timeouts)),
            ("num_client_write_timeouts", read(&self.client_write_timeouts)),
            ("num_client_force_new_conn", read(&self.client_force_new_conn)),
        ]
    }

    /// The `proxy` map of `/debug/vars`.
    pub fn proxy(&self) -> [(&'static str, u64); 10] {
        [
            ("remote_remove_node", read(&self.remote_remove_node)),
            ("remote_backups", read(&self.remote_backups)),
            ("remote_loads", read(&self.remote_loads)),
            ("remote_stepdowns", read(&self.remote_stepdowns)),
            ("remote_executions", read(&self.remote_executions)),
            ("remote_executions_failed", read(&self.remote_executions_failed)),
            ("remote_queries", read(&self.remote_queries)),
            ("remote_queries_failed", read(&self.remote_queries_failed)),
            ("remote_requests", read(&self.remote_requests)),
            ("remote_requests_failed", read(&self.remote_requests_failed)),
        ]
    }

    /// What the `store` map of `/debug/vars` shows of joining.
    pub fn joining(&self) -> [(&'static str, u64); 3] {
        [
            ("num_joins", read(&self.joins)),
            ("num_ignored_joins", read(&self.ignored_joins)),
            ("num_removed_before_joins", read(&self.removed_before_joins)),
        ]
    }

    /// The counter of requests that were sent to the leader, by operation, and that of those which did not come through.
    pub fn sent(&self, operation: &Operation) -> (&AtomicU64, Option<&AtomicU64>) {
        match operation {
            Operation::Execute(_) => (&self.remote_executions, Some(&self.remote_executions_failed)),
            Operation::Query(_) => (&self.remote_queries, Some(&self.remote_queries_failed)),
            Operation::Request(_) => (&self.remote_requests, Some(&self.remote_requests_failed)),
            Operation::Remove(_) => (&self.remote_remove_node, None),
            Operation::StepDown(_) => (&self.remote_stepdowns, None),
            Operation::Backup(_) => (&self.remote_backups, None),
            Operation::Gather(_) => (&self.remote_pieces, None),
            Operation::Skip(_) => (&self.remote_skips, None),
            Operation::Verify(_) => (&self.remote_verifications, None),
            Operation::Load(_) => (&self.remote_loads, None),
        }
    }

    /// The counter of requests that came here, by operation.
    pub fn received(&self, operation: &Operation) -> &AtomicU64 {
        match operation {
            Operation::Execute(_) => &self.execute_req,
            Operation::Query(_) => &self.query_req,
            Operation::Request(_) => &self.request_req,
            Operation::Remove(_) => &self.remove_node_req,
            Operation::StepDown(_) => &self.stepdown_req,
            Operation::Backup(_) => &self.backup_req,
            Operation::Gather(_) => &self.gather_req,
            Operation::Skip(_) => &self.skip_req,
            Operation::Verify(_) => &self.verify_req,
            Operation::Load(_) => &self.load_req,
        }
    }

    /// The counter of requests that were sent again, by operation; `None` where only the total is kept.
    pub fn retried(&self, operation: &Operation) -> Option<&AtomicU64> {
        match operation {
            Operation::Execute(_) => Some(&self.client_execute_retries),
            Operation::Query(_) => Some(&self.client_query_retries),
            Operation::Request(_) => Some(&self.client_request_retries),
            Operation::Load(_) => Some(&self.client_load_retries),
            Operation::Remove(_)
            | Operation::StepDown(_)
            | Operation::Backup(_)
            | Operation::Gather(_)
            | Operation::Skip(_)
            | Operation::Verify(_) => None,
        }
    }
}

//! The leader's and candidate's side of consensus: calls and streams to one peer.
//!
//! Three clients per peer, each with connections of its own: control (votes, heartbeats, transfers), append (pipelined)
//! and bulk (snapshots), so that nothing heavy stands before a heartbeat.
//!
//! The pipelined stream itself is in [`crate::consensus::pipeline`].

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use openraft::OptionalSend;
use openraft::error::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2, stream_append_sequential};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use tracing::warn;

use crate::consensus::control::Control;
use crate::consensus::dial::Dialler;
use crate::consensus::pipeline::{Follower, Pipeline};
use crate::consensus::snapshot::{self, Pace, Snapshot, SnapshotData};
use crate::consensus::state_machine::{Progress, chain};
use crate::consensus::types::{Record, Types, Vote};
use crate::consensus::wire::{self, AppendAsk, ControlAnswerKind, ControlAskKind};
use crate::environment::Runner;
use crate::member::{NodeId, Peer};
use crate::transport::{BoxFuture, Channel, Duplex};

/// How long a vote, pre-vote or transfer may take at least; votes are flushed before they are answered.
const VOTE_TIMEOUT_MIN: Duration = Duration::from_millis(500);

pub(crate) type RpcError = RPCError<Types>;

/// Makes the clients of one node.
pub(crate) struct NetworkFactory {
    pub dialler: Dialler,
    pub runner: Runner,
    pub progress: Arc<Progress>,
}

/// A client to one peer on one channel.
pub(crate) struct Network {
    dialler: Dialler,
    peer: Peer,
    runner: Runner,
    channel: Channel,
    control: Control,
    progress: Arc<Progress>,
}

impl NetworkFactory {
    fn client(&self, target: u64, record: &Record, channel: Channel) -> Network {
        let peer = Peer {
            id: NodeId(target),
            name: record.name.clone(),
            address: record.address.clone(),
        };
        Network {
            control: Control::new(self.dialler.clone(), peer.clone()),
            dialler: self.dialler.clone(),
            peer,
            runner: self.runner,
            channel,
            progress: self.progress.clone(),
        }
    }
}

impl RaftNetworkFactory<Types> for NetworkFactory {
    type Network = Network;

    async fn new_client(&mut self, target: u64, node: &Record) -> Network {
        self.client(target, node, Channel::Append)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Record) -> Network {
        self.client(target, node, Channel::Control)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &Record) -> Network {
        self.client(target, node, Channel::Bulk)
    }
}

impl Network {
    async fn call(&mut self, ask: ControlAskKind, timeout: Duration) -> Result<ControlAnswerKind, RpcError> {
        self.control.call(ask, timeout).await.map_err(|error| rpc_error(&error))
    }

    async fn vote_call(&mut self, ask: ControlAskKind, option: &RPCOption) -> Result<VoteResponse<Types>, RpcError> {
        match self.call(ask, option.soft_ttl().max(VOTE_TIMEOUT_MIN)).await? {
            ControlAnswerKind::Vote(answer) => answer.try_into().map_err(|e| rpc_error(&e)),
            _ => Err(rpc_error(&wire::invalid("a vote was not answered with a vote"))),
        }
    }

    /// A request that says how much the peer has acknowledged: it may have come back with less.
    fn stamped(&self, rpc: &AppendEntriesRequest<Types>) -> AppendAsk {
        AppendAsk {
            acknowledged: self.dialler.acknowledged.by(self.peer.id.0, rpc.vote.leader_id.term),
            ..AppendAsk::from(rpc)
        }
    }

    /// Tells of a database that could not be sent; it is tried again. If what is on this disk may be at fault, all nodes
    /// are to verify what they have.
    fn note_unsent(&self, error: &io::Error) {
        let source = error
            .get_ref()
            .and_then(|source| source.downcast_ref::<sqlite::Error>());
        if source.is_some_and(sqlite::Error::is_damage) || error.kind() == io::ErrorKind::InvalidData {
            self.progress.divergence.suspect();
        }
        warn!(peer = %self.peer.name, error = chain(error), "database not sent, trying again");
    }

    /// Opens a pipelined stream and pumps `input` into it; `None` when there is nothing to send.
    ///
    /// The first request is taken before connecting: openraft waits out its backoff where requests are taken, so
    /// connecting first would spin on a peer that refuses connections.
    async fn pipeline<S>(&self, mut input: S) -> Result<Option<Pipeline>, RpcError>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        let Some(first) = input.next().await else {
            return Ok(None);
        };
        let dialled = self.dialler.dial(&self.peer, Channel::Append).await;
        let Duplex { tx, rx } = dialled.map_err(|error| rpc_error(&error))?;
        let peer = Follower {
            id: self.peer.id.0,
            term: first.vote.leader_id.term,
            acknowledged: self.dialler.acknowledged.clone(),
            progress: self.progress.clone(),
        };
        let first = wire::frame(&self.stamped(&first));
        Ok(Some(Pipeline::start(peer, first, input, Duplex { tx, rx })))
    }
}

impl RaftNetworkV2<Types> for Network {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RpcError> {
        match self
            .call(ControlAskKind::Heartbeat(self.stamped(&rpc)), option.soft_ttl())
            .await?
        {
            ControlAnswerKind::Append(answer) => answer.try_into().map_err(|e| rpc_error(&e)),
            _ => Err(rpc_error(&wire::invalid("an append was not answered with an append"))),
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<stream::BoxStream<'s, Result<StreamAppendResult<Types>, RpcError>>, RpcError>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        if self.channel == Channel::Control {
            return stream_append_sequential(self, input, option);
        }
        Box::pin(async move {
            let pipeline = self.pipeline(input).await?;
            let answers = stream::unfold(pipeline, |pipeline| async move {
                let mut pipeline = pipeline?;
                let answer = pipeline.next().await?;
                Some((answer, Some(pipeline)))
            });
            Ok(answers.boxed())
        })
    }

    async fn vote(&mut self, rpc: VoteRequest<Types>, option: RPCOption) -> Result<VoteResponse<Types>, RpcError> {
        self.vote_call(ControlAskKind::Vote((&rpc).into()), &option).await
    }

    async fn pre_vote(&mut self, rpc: VoteRequest<Types>, option: RPCOption) -> Result<VoteResponse<Types>, RpcError> {
        self.vote_call(ControlAskKind::PreVote((&rpc).into()), &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let sending = async {
            if self.progress.divergence.quarantine.is_on() {
                return Err(io::Error::other("this node is in quarantine: its database is not sent"));
            }
            let duplex = self.dialler.dial(&self.peer, Channel::Bulk).await?;
            // Only now: a follower that is down must not keep the log from being purged.
            let _streaming = self.progress.streaming();
            let sent = snapshot::send(duplex, vote, snapshot, Pace::from(self.runner)).await;
            sent.inspect_err(|error| self.note_unsent(error))
        };
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = sending => {
                sent.map(SnapshotResponse::new).map_err(|error| StreamingError::from(rpc_error(&error)))
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RpcError> {
        let ask = ControlAskKind::Transfer((&req).into());
        match self.call(ask, option.soft_ttl().max(VOTE_TIMEOUT_MIN)).await? {
            ControlAnswerKind::Transfer(answer) if answer.refused.is_empty() => Ok(Ok(())),
            ControlAnswerKind::Transfer(answer) => Err(rpc_error(&io::Error::other(answer.refused))),
            _ => Err(rpc_error(&wire::invalid("a transfer was not answered with a transfer"))),
        }
    }
}

/// A failure of a call as openraft classes it: unreachable backs off, the rest is tried again at once.
pub(crate) fn rpc_error(error: &io::Error) -> RpcError {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            RPCError::Network(NetworkError::new(error))
        }
        _ => RPCError::Unreachable(Unreachable::new(error)),
    }
}

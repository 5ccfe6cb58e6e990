//! The leader's and candidate's side of consensus: calls and streams to one peer.
//!
//! Three clients per peer, each with connections of its own: control (votes, heartbeats, transfers), append (pipelined)
//! and bulk (snapshots), so that nothing heavy stands before a heartbeat.
//!
//! ```text
//!  requests ──► pump ──► frames ──► peer
//!  openraft ◄── answers, in request order ◄──┘
//! ```

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use openraft::OptionalSend;
use openraft::error::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2, stream_append_sequential};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use tokio::sync::mpsc;

use crate::consensus::control::{self, Control};
use crate::consensus::snapshot::{self, Snapshot, SnapshotData};
use crate::consensus::state_machine::Progress;
use crate::consensus::types::{Record, Types, Vote};
use crate::consensus::wire::{self, AppendAnswer, AppendAsk, ControlAnswerKind, ControlAskKind};
use crate::environment::Runner;
use crate::member::{NodeId, Peer};
use crate::transport::{BoxFuture, Channel, Duplex, Transport};

/// How long requests of a pipelined stream may stand without an answer. A flush takes milliseconds; a follower that
/// needs longer than this is better asked again on a fresh stream.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a vote, pre-vote or transfer may take at least; votes are flushed before they are answered.
const VOTE_TIMEOUT_MIN: Duration = Duration::from_millis(500);

type RpcError = RPCError<Types>;

/// Makes the clients of one node.
pub(crate) struct NetworkFactory {
    pub me: NodeId,
    pub transport: Arc<dyn Transport>,
    pub runner: Runner,
    pub progress: Arc<Progress>,
}

/// A client to one peer on one channel.
pub(crate) struct Network {
    me: NodeId,
    peer: Peer,
    transport: Arc<dyn Transport>,
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
        let control = Control::new(self.me, peer.clone(), self.transport.clone());
        Network {
            me: self.me,
            peer,
            transport: self.transport.clone(),
            runner: self.runner,
            channel,
            control,
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
        let duplex = control::connect(self.transport.as_ref(), self.me, &self.peer, Channel::Append)
            .await
            .map_err(|error| rpc_error(&error))?;
        let Duplex { tx, rx } = duplex;
        let sent = Arc::new(AtomicU64::new(0));
        let pump = AbortOnDrop(tokio::spawn(pump(first, input, tx.clone(), sent.clone())));
        Ok(Some(Pipeline {
            rx,
            _tx: tx,
            sent,
            answered: 0,
            pump,
            pumped: false,
            failed: false,
        }))
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
            .call(ControlAskKind::Heartbeat(AppendAsk::from(&rpc)), option.soft_ttl())
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
        let _streaming = self.progress.streaming();
        let duplex = control::connect(self.transport.as_ref(), self.me, &self.peer, Channel::Bulk)
            .await
            .map_err(|error| StreamingError::from(rpc_error(&error)))?;
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = snapshot::send(duplex, vote, snapshot, self.runner) => {
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

/// The answers of a pipelined stream.
struct Pipeline {
    rx: mpsc::Receiver<Bytes>,
    /// Kept until all is answered: dropping the last sender breaks the stream.
    _tx: mpsc::Sender<Bytes>,
    sent: Arc<AtomicU64>,
    answered: u64,
    pump: AbortOnDrop,
    pumped: bool,
    failed: bool,
}

impl Pipeline {
    /// The next answer; `None` when every request has been answered and no more will come.
    async fn next(&mut self) -> Option<Result<StreamAppendResult<Types>, RpcError>> {
        if self.failed {
            return None;
        }
        let result = match self.answer().await {
            Ok(None) => return None,
            Ok(Some(answer)) => wire::stream_result(answer),
            Err(error) => Err(error),
        };
        self.failed = result.is_err();
        Some(result.map_err(|error| rpc_error(&error)))
    }

    async fn answer(&mut self) -> io::Result<Option<AppendAnswer>> {
        loop {
            let outstanding = self.sent.load(Ordering::Acquire) > self.answered;
            if self.pumped && !outstanding {
                return Ok(None);
            }
            tokio::select! {
                biased;
                frame = self.rx.recv() => {
                    self.answered += 1;
                    return wire::read(frame.ok_or_else(control::broken)?).map(Some);
                }
                _ = &mut self.pump.0, if !self.pumped => self.pumped = true,
                () = tokio::time::sleep(ANSWER_TIMEOUT) => if outstanding {
                    let text = format!("appends went unanswered for {ANSWER_TIMEOUT:?}");
                    return Err(io::Error::new(io::ErrorKind::TimedOut, text));
                },
            }
        }
    }
}

/// Sends each request as a frame, until there are no more or the stream breaks.
async fn pump<S>(first: AppendEntriesRequest<Types>, mut input: S, tx: mpsc::Sender<Bytes>, sent: Arc<AtomicU64>)
where
    S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
{
    let mut next = Some(first);
    while let Some(request) = next {
        let frame = wire::frame(&AppendAsk::from(&request));
        sent.fetch_add(1, Ordering::AcqRel);
        if tx.send(frame).await.is_err() {
            return;
        }
        next = input.next().await;
    }
}

/// A task that ends with its owner.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A failure of a call as openraft classes it: unreachable backs off, the rest is tried again at once.
fn rpc_error(error: &io::Error) -> RpcError {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            RPCError::Network(NetworkError::new(error))
        }
        _ => RPCError::Unreachable(Unreachable::new(error)),
    }
}

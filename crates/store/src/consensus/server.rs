//! The follower's and voter's side of consensus: what peers ask of this node.
//!
//! Invariants:
//! * A stream that is addressed to another identity is closed before anything on it is looked at.
//! * A frame that does not decode ends its stream; nothing of it is applied (D7).

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{StreamExt, stream};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, TransferLeaderRequest, VoteRequest,
};
use tokio::time::Instant;
use tracing::debug;

use crate::consensus::Core;
use crate::consensus::dial::broken;
use crate::consensus::snapshot;
use crate::consensus::types::Types;
use crate::consensus::wire::{
    self, AppendAnswer, AppendAsk, ControlAnswer, ControlAnswerKind, ControlAsk, ControlAskKind, Open, TransferAnswer,
    VoteAnswer,
};
use crate::transport::{Channel, Duplex};

/// Serves one stream until it breaks.
pub(crate) async fn serve(core: Arc<Core>, channel: Channel, duplex: Duplex) {
    if let Err(error) = run(core, channel, duplex).await {
        debug!(%error, ?channel, "peer stream ended");
    }
}

async fn run(core: Arc<Core>, channel: Channel, mut duplex: Duplex) -> io::Result<()> {
    let open: Open = wire::read(duplex.rx.recv().await.ok_or_else(broken)?)?;
    if open.to != core.id().0 {
        return Err(wire::invalid(format_args!(
            "addressed to node {:016x}, this is {}",
            open.to,
            core.id()
        )));
    }
    if open.version != wire::VERSION {
        return Err(wire::invalid(format_args!(
            "peer speaks version {}, this node {}",
            open.version,
            wire::VERSION
        )));
    }
    match channel {
        Channel::Control => control(&core, duplex).await,
        Channel::Append => append(&core, duplex).await,
        Channel::Bulk => snapshot::serve(&core, duplex).await,
        Channel::Service => Err(wire::invalid("the cluster service is not served here")),
    }
}

async fn control(core: &Core, mut duplex: Duplex) -> io::Result<()> {
    while let Some(frame) = duplex.rx.recv().await {
        let ask: ControlAsk = wire::read(frame)?;
        let kind = match ask.kind {
            Some(kind) => answer(core, kind)
                .await
                .unwrap_or_else(|error| ControlAnswerKind::Failed(error.to_string())),
            None => ControlAnswerKind::Failed("a request of unknown kind: is this node older?".to_owned()),
        };
        let answer = ControlAnswer {
            sequence: ask.sequence,
            kind: Some(kind),
        };
        duplex.tx.send(wire::frame(&answer)).await.map_err(|_| broken())?;
    }
    Ok(())
}

async fn answer(core: &Core, ask: ControlAskKind) -> io::Result<ControlAnswerKind> {
    let raft = core.raft();
    Ok(match ask {
        ControlAskKind::Vote(ask) => {
            let response = raft.vote(VoteRequest::try_from(ask)?).await.map_err(io::Error::other)?;
            ControlAnswerKind::Vote(VoteAnswer::from(&response))
        }
        ControlAskKind::PreVote(ask) => {
            let response = raft
                .pre_vote(VoteRequest::try_from(ask)?)
                .await
                .map_err(io::Error::other)?;
            ControlAnswerKind::Vote(VoteAnswer::from(&response))
        }
        ControlAskKind::Heartbeat(ask) => {
            let acknowledged = ask.acknowledged;
            let request = AppendEntriesRequest::<Types>::try_from(ask)?;
            core.check_kept(request.vote.leader_id.term, acknowledged).await?;
            let (at, committed) = (Instant::now(), committed(&request));
            let response = raft.append_entries(request).await.map_err(io::Error::other)?;
            if !matches!(response, AppendEntriesResponse::HigherVote(_)) {
                core.heard(at, committed);
            }
            ControlAnswerKind::Append(AppendAnswer::from(&response))
        }
        ControlAskKind::Transfer(ask) => {
            if core.progress.divergence.quarantine.is_on() {
                let refused = "this node is in quarantine, and does not lead".to_owned();
                return Ok(ControlAnswerKind::Transfer(TransferAnswer { refused }));
            }
            let request = TransferLeaderRequest::try_from(ask)?;
            let response = raft.handle_transfer_leader(request).await.map_err(io::Error::other)?;
            let refused = response.err().map(|error| error.to_string()).unwrap_or_default();
            ControlAnswerKind::Transfer(TransferAnswer { refused })
        }
        ControlAskKind::ReadIndex(_) => {
            ControlAnswerKind::ReadIndex(core.read_index().await.map_err(io::Error::other)?)
        }
        ControlAskKind::Marks(_) => ControlAnswerKind::Marks((&core.progress.divergence.report()).into()),
    })
}

/// What the sender of a request knows to be committed.
fn committed(request: &AppendEntriesRequest<Types>) -> u64 {
    request.leader_commit.as_ref().map_or(0, |id| id.index)
}

/// Feeds a pipelined stream into consensus and answers in order.
async fn append(core: &Arc<Core>, duplex: Duplex) -> io::Result<()> {
    let Duplex { tx, rx } = duplex;
    // What the requests that wait for an answer said. Bounded by openraft, which takes 64 of them at once.
    let asked = Arc::new(Mutex::new(VecDeque::new()));
    let asking = asked.clone();
    let serving = core.clone();
    let requests = stream::unfold(rx, move |mut rx| {
        let (asked, core) = (asking.clone(), serving.clone());
        async move {
            let ask: AppendAsk = wire::read(rx.recv().await?).ok()?;
            let acknowledged = ask.acknowledged;
            let request = AppendEntriesRequest::<Types>::try_from(ask)
                .inspect_err(|error| debug!(%error, "append refused"))
                .ok()?;
            core.check_kept(request.vote.leader_id.term, acknowledged).await.ok()?;
            let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
            asked.push_back((Instant::now(), committed(&request)));
            Some((request, rx))
        }
    });
    let mut answers = Box::pin(core.raft().stream_append(requests));
    while let Some(result) = answers.next().await {
        let result = result.map_err(io::Error::other)?;
        let said = asked.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        if let Some((at, committed)) = said
            && !matches!(result, Err(StreamAppendError::HigherVote(_)))
        {
            core.heard(at, committed);
        }
        tx.send(wire::frame(&wire::stream_answer(&result)))
            .await
            .map_err(|_| broken())?;
    }
    Ok(())
}

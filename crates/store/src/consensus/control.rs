//! One node's side of a control stream: a request, its answer, in order, with a bound on the wait.
//!
//! A call that was given up leaves its answer to be skipped by its sequence number: a slow peer is not made slower by
//! reconnecting. After [`LATE_MAX`] calls in a row without an answer the stream is taken for dead.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::consensus::wire::{self, ControlAnswer, ControlAnswerKind, ControlAsk, ControlAskKind, Open};
use crate::member::{NodeId, Peer};
use crate::transport::{Channel, Duplex, Transport};

/// Calls in a row that may go unanswered before the stream is replaced.
const LATE_MAX: u32 = 8;

/// Calls to one peer; reconnects as needed.
pub(crate) struct Control {
    me: NodeId,
    peer: Peer,
    transport: Arc<dyn Transport>,
    duplex: Option<Duplex>,
    sequence: u64,
    late: u32,
}

impl Control {
    pub(crate) fn new(me: NodeId, peer: Peer, transport: Arc<dyn Transport>) -> Self {
        Self {
            me,
            peer,
            transport,
            duplex: None,
            sequence: 0,
            late: 0,
        }
    }

    /// Asks, and waits at most `timeout` for the answer.
    ///
    /// # Errors
    ///
    /// `TimedOut`; what connecting reports; `Other` with the peer's own words when it could not do it.
    pub(crate) async fn call(&mut self, ask: ControlAskKind, timeout: Duration) -> io::Result<ControlAnswerKind> {
        self.late += 1;
        if self.late > LATE_MAX {
            self.duplex = None;
        }
        let answer = tokio::time::timeout(timeout, self.ask(ask))
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer in {timeout:?}")))??;
        self.late = 0;
        match answer {
            ControlAnswerKind::Failed(reason) => Err(io::Error::other(reason)),
            answer => Ok(answer),
        }
    }

    /// Asks on the open stream, or on a fresh one when that turns out to be broken.
    async fn ask(&mut self, kind: ControlAskKind) -> io::Result<ControlAnswerKind> {
        let reused = self.duplex.is_some();
        match self.exchange(kind.clone()).await {
            Err(_) if reused => self.exchange(kind).await,
            result => result,
        }
    }

    async fn exchange(&mut self, kind: ControlAskKind) -> io::Result<ControlAnswerKind> {
        self.sequence += 1;
        let sequence = self.sequence;
        let duplex = match &mut self.duplex {
            Some(duplex) => duplex,
            slot => slot.insert(connect(self.transport.as_ref(), self.me, &self.peer, Channel::Control).await?),
        };
        let result = roundtrip(
            duplex,
            ControlAsk {
                sequence,
                kind: Some(kind),
            },
        )
        .await;
        if result.is_err() {
            self.duplex = None;
        }
        result
    }
}

async fn roundtrip(duplex: &mut Duplex, ask: ControlAsk) -> io::Result<ControlAnswerKind> {
    let sequence = ask.sequence;
    duplex.tx.send(wire::frame(&ask)).await.map_err(|_| broken())?;
    loop {
        let answer: ControlAnswer = wire::read(duplex.rx.recv().await.ok_or_else(broken)?)?;
        if answer.sequence == sequence {
            return answer
                .kind
                .ok_or_else(|| wire::invalid("an answer of unknown kind: is the peer newer?"));
        }
    }
}

/// Connects and says who speaks to whom.
///
/// # Errors
///
/// What the transport reports.
pub(crate) async fn connect(
    transport: &dyn Transport,
    me: NodeId,
    peer: &Peer,
    channel: Channel,
) -> io::Result<Duplex> {
    let duplex = transport.connect(peer, channel).await?;
    let open = Open {
        version: wire::VERSION,
        from: me.0,
        to: peer.id.0,
    };
    duplex.tx.send(wire::frame(&open)).await.map_err(|_| broken())?;
    Ok(duplex)
}

/// The stream broke.
pub(crate) fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the stream broke")
}

//! One node's side of a control stream: a request, its answer, in order, with a bound on the wait.
//!
//! A call that was given up leaves its answer to be skipped by its sequence number: a slow peer is not made slower by
//! reconnecting. After [`LATE_MAX`] calls in a row without an answer the stream is taken for dead. Dialling goes on when
//! a call is given up: the next one finds the stream, however short its own patience.

use std::io;
use std::time::Duration;

use crate::consensus::dial::{Dialler, Task, broken};
use crate::consensus::wire::{self, ControlAnswer, ControlAnswerKind, ControlAsk, ControlAskKind};
use crate::member::Peer;
use crate::transport::{Channel, Duplex};

/// Calls in a row that may go unanswered before the stream is replaced.
const LATE_MAX: u32 = 8;

/// Calls to one peer; reconnects as needed.
pub(crate) struct Control {
    dialler: Dialler,
    peer: Peer,
    link: Link,
    sequence: u64,
    late: u32,
}

/// The way to the peer.
enum Link {
    Down,
    Dialling(Task<io::Result<Duplex>>),
    Up(Duplex),
}

impl Control {
    pub(crate) fn new(dialler: Dialler, peer: Peer) -> Self {
        Self {
            dialler,
            peer,
            link: Link::Down,
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
        if matches!(self.link, Link::Up(_)) {
            self.late += 1;
            if self.late > LATE_MAX {
                self.link = Link::Down;
                self.late = 0;
            }
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
        let reused = matches!(self.link, Link::Up(_));
        match self.exchange(kind.clone()).await {
            Err(_) if reused => self.exchange(kind).await,
            result => result,
        }
    }

    async fn exchange(&mut self, kind: ControlAskKind) -> io::Result<ControlAnswerKind> {
        self.sequence += 1;
        let ask = ControlAsk {
            sequence: self.sequence,
            kind: Some(kind),
        };
        let result = roundtrip(self.connected().await?, ask).await;
        if result.is_err() {
            self.link = Link::Down;
        }
        result
    }

    /// The stream, dialled if need be. Cancelled, it leaves the dialling to the next call.
    async fn connected(&mut self) -> io::Result<&mut Duplex> {
        if matches!(self.link, Link::Down) {
            let (dialler, peer) = (self.dialler.clone(), self.peer.clone());
            let dialling = tokio::spawn(async move { dialler.dial(&peer, Channel::Control).await });
            self.link = Link::Dialling(Task(dialling));
        }
        if let Link::Dialling(task) = &mut self.link {
            let dialled = (&mut task.0).await.map_err(io::Error::other).flatten();
            self.link = Link::Down;
            self.link = Link::Up(dialled?);
        }
        match &mut self.link {
            Link::Up(duplex) => Ok(duplex),
            Link::Down | Link::Dialling(_) => Err(broken()),
        }
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

//! One stream between two machines, and the flow of frames in each of its directions.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use store::transport::{Channel, FRAMES_MAX};
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{MachineId, Network};
use crate::life::Life;

/// How long what an end sent may take to arrive after that end has stopped listening; as the production transport has it.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// A stream; both flows and the network know it.
pub struct Link {
    ends: (MachineId, MachineId),
    channel: Channel,
    state: watch::Sender<State>,
}

/// What a stream is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Frames arrive.
    Open,
    /// One end is dead, and the other has not noticed: nothing arrives any more.
    Silent,
    /// Both ends know.
    Broken,
}

impl Link {
    /// A stream that was just made.
    pub fn new(from: MachineId, to: MachineId, channel: Channel) -> Link {
        Link {
            ends: (from, to),
            channel,
            state: watch::Sender::new(State::Open),
        }
    }

    /// It begins or ends at `machine`.
    pub fn touches(&self, machine: MachineId) -> bool {
        self.ends.0 == machine || self.ends.1 == machine
    }

    /// Nothing arrives from now on, and after `patience` both ends know.
    pub fn end(self: &Arc<Link>, patience: Duration) {
        if patience.is_zero() {
            self.state.send_replace(State::Broken);
            return;
        }
        let waiting = self.state.send_if_modified(|state| {
            let was_open = *state == State::Open;
            if was_open {
                *state = State::Silent;
            }
            was_open
        });
        if waiting {
            self.break_after(patience);
        }
    }

    /// After `patience` both ends know.
    fn break_after(self: &Arc<Link>, patience: Duration) {
        let link = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(patience).await;
            link.state.send_replace(State::Broken);
        });
    }
}

impl Link {
    fn is_open(&self) -> bool {
        *self.state.borrow() == State::Open
    }

    /// Resolves when nothing arrives any more.
    async fn ending(&self) {
        // The sender lives as long as `self`.
        let _ = self
            .state
            .subscribe()
            .wait_for(|state| *state != State::Open)
            .await
            .map(drop);
    }

    /// Resolves when both ends know.
    async fn broken(&self) {
        let _ = self
            .state
            .subscribe()
            .wait_for(|state| *state == State::Broken)
            .await
            .map(drop);
    }
}

/// One direction of a stream.
pub struct Flow {
    network: Network,
    link: Arc<Link>,
    route: (MachineId, MachineId),
    lives: [Arc<Life>; 2],
    /// Frames under way, and when each is due.
    under_way: VecDeque<(Instant, Bytes)>,
    /// The sender has let go of its end: what is under way still arrives.
    is_closing: bool,
    /// The receiver has let go of its end: nothing arrives, but what it sent before does.
    is_deaf: bool,
}

impl Flow {
    /// The flow along `route` of a stream between two processes.
    pub fn new(network: Network, link: Arc<Link>, route: (MachineId, MachineId), lives: [Arc<Life>; 2]) -> Flow {
        Flow {
            network,
            link,
            route,
            lives,
            under_way: VecDeque::new(),
            is_closing: false,
            is_deaf: false,
        }
    }

    /// Carries frames until the stream breaks, or its sender ends it and all have arrived.
    pub async fn run(mut self, mut from: Receiver<Bytes>, to: Sender<Bytes>) {
        loop {
            let due = self.under_way.front().map(|(due, _)| *due);
            let has_room = !self.is_closing && self.under_way.len() < FRAMES_MAX;
            tokio::select! {
                biased;
                () = self.link.broken() => return,
                () = to.closed(), if !self.is_deaf => {
                    self.is_deaf = true;
                    self.under_way.clear();
                    self.link.break_after(DRAIN_TIME_MAX);
                }
                () = sleep_until(due), if due.is_some() => {
                    if !self.deliver(&to).await {
                        break;
                    }
                }
                frame = from.recv(), if has_room => match frame {
                    Some(_) if self.is_deaf => {}
                    Some(frame) => self.send(frame),
                    None => self.is_closing = true,
                },
            }
            if self.is_closing && self.under_way.is_empty() {
                break;
            }
        }
        self.link.end(Duration::ZERO);
    }

    fn send(&mut self, frame: Bytes) {
        let (from, to) = self.route;
        let due = Instant::now() + self.network.delay(from, to, frame.len());
        let due = self.under_way.back().map_or(due, |(last, _)| due.max(*last));
        self.under_way.push_back((due, frame));
    }

    /// Hands the first frame over once the route lets it; false when the stream is no more.
    async fn deliver(&mut self, to: &Sender<Bytes>) -> bool {
        if !self.wait_for_route().await {
            return false;
        }
        let Some((_, frame)) = self.under_way.pop_front() else {
            return true;
        };
        // A process that died this very moment neither sends nor hears.
        if !self.lives.iter().all(|life| life.is_alive()) || !self.link.is_open() {
            self.link.broken().await;
            return false;
        }
        let (from, target) = self.route;
        self.network.delivered(from, target, self.link.channel, &frame);
        let is_taken = tokio::select! {
            biased;
            () = self.link.ending() => None,
            sent = to.send(frame) => Some(sent.is_ok()),
        };
        if is_taken.is_none() {
            self.link.broken().await;
        }
        is_taken.unwrap_or(false)
    }

    /// Waits while the route is cut; false once the stream has no patience left.
    async fn wait_for_route(&self) -> bool {
        let (from, to) = self.route;
        if self.network.route(from, to).is_held && !self.wait_while_held().await {
            return false;
        }
        if !self.network.route(from, to).is_cut {
            return true;
        }
        let patience = self.network.draw(|chance| chance.millis(300, 6000));
        let mut changed = self.network.0.changed.subscribe();
        let healed = async {
            while self.network.route(from, to).is_cut {
                if changed.changed().await.is_err() {
                    return;
                }
            }
            // TCP tries again only now and then.
            let pause = self.network.draw(|chance| chance.millis(1, 300));
            tokio::time::sleep(pause).await;
        };
        tokio::select! {
            biased;
            () = self.link.broken() => false,
            healed = tokio::time::timeout(patience, healed) => healed.is_ok(),
        }
    }
}

impl Flow {
    /// Waits until neither end stands still, with all patience; false when the stream broke meanwhile.
    async fn wait_while_held(&self) -> bool {
        let (from, to) = self.route;
        let mut changed = self.network.0.changed.subscribe();
        let moves = async {
            while self.network.route(from, to).is_held {
                if changed.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            () = self.link.broken() => false,
            () = moves => true,
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    if let Some(due) = due {
        tokio::time::sleep_until(due).await;
    }
}

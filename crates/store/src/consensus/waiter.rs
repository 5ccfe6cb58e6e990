//! Who waits for the answer to a proposal, as consensus keeps them.

use openraft::raft::responder::Responder;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::consensus::types::Types;
use crate::proposals::Room;

/// Who waits for a proposal's answer and for when it was given, and the room that it holds. The one who waits may have gone.
pub(crate) struct Waiter<T> {
    answer: oneshot::Sender<(T, Instant)>,
    _room: Option<Room>,
}

impl<T> Waiter<T> {
    pub(crate) fn new(room: Room) -> (Self, oneshot::Receiver<(T, Instant)>) {
        let (answer, receiver) = oneshot::channel();
        let waiter = Self {
            answer,
            _room: Some(room),
        };
        (waiter, receiver)
    }
}

impl<T: Send + 'static> Responder<Types, T> for Waiter<T> {
    fn on_complete(self, result: T) {
        let _ = self.answer.send((result, Instant::now()));
    }
}

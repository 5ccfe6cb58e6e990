//! Asking peers what their databases were, to be compared with this node's: one small question, now and then, on control
//! streams of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use tracing::debug;

use crate::consensus::Core;
use crate::consensus::control::Control;
use crate::consensus::wire::{ControlAnswerKind, ControlAskKind, MarkKind, MarkMessage, MarksAnswer, MarksAsk};
use crate::divergence::Report;
use crate::divergence::marks::{Kind, Mark};
use crate::member::{NodeId, Peer};

/// How long a peer may take to answer.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// The calls to all peers.
#[derive(Default)]
pub(crate) struct Callers(BTreeMap<NodeId, Control>);

impl Callers {
    /// What each of `peers` says of its database; those that do not answer are left out.
    pub(crate) async fn ask(&mut self, core: &Core, peers: Vec<Peer>) -> BTreeMap<NodeId, Report> {
        self.0.retain(|id, _| peers.iter().any(|peer| peer.id == *id));
        for peer in peers {
            self.0
                .entry(peer.id)
                .or_insert_with(|| Control::new(core.dialler.clone(), peer));
        }
        let asked = self.0.iter_mut().map(|(id, control)| async move {
            let answer = control.call(ControlAskKind::Marks(MarksAsk {}), ASK_TIMEOUT).await;
            match answer {
                Ok(ControlAnswerKind::Marks(answer)) => Some((*id, Report::from(answer))),
                Ok(_) => None,
                // Down, cut off, or of a release that does not know the question.
                Err(error) => {
                    debug!(peer = %id, %error, "marks not told");
                    None
                }
            }
        });
        join_all(asked).await.into_iter().flatten().collect()
    }
}

impl From<MarksAnswer> for Report {
    fn from(answer: MarksAnswer) -> Self {
        let mark = |message: &MarkMessage| {
            let kind = match message.kind() {
                MarkKind::Unknown => return None,
                MarkKind::Effect => Kind::Effect,
                MarkKind::Content => Kind::Content,
                MarkKind::Memory => Kind::Memory,
                MarkKind::Check => Kind::Check,
            };
            Some(Mark {
                kind,
                index: message.index,
                hash: message.hash,
            })
        };
        Self {
            marks: answer.marks.iter().filter_map(mark).collect(),
            quarantine: Some(answer.quarantine).filter(|reason| !reason.is_empty()),
            quarantines: (answer.quarantines, answer.last_quarantine),
            is_suspect: answer.is_suspect,
        }
    }
}

impl From<&Report> for MarksAnswer {
    fn from(report: &Report) -> Self {
        let mark = |mark: &Mark| {
            let kind = match mark.kind {
                Kind::Effect => MarkKind::Effect,
                Kind::Content => MarkKind::Content,
                Kind::Memory => MarkKind::Memory,
                Kind::Check => MarkKind::Check,
            };
            MarkMessage {
                kind: kind.into(),
                index: mark.index,
                hash: mark.hash,
            }
        };
        Self {
            marks: report.marks.iter().map(mark).collect(),
            quarantine: report.quarantine.clone().unwrap_or_default(),
            is_suspect: report.is_suspect,
            quarantines: report.quarantines.0,
            last_quarantine: report.quarantines.1.clone(),
        }
    }
}

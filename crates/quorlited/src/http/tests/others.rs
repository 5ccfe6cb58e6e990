//! Its peers.

use crate::cluster;
use crate::cluster::forward::Served;
use crate::cluster::message::Description;
use crate::cluster::pool::Usage;
use crate::forwarded::{Answer, Broken, Forwarded, Head};
use crate::http::peers::{Counted, Peers};
use bytes::Bytes;
use command::request::{ForwardKey, Key, KeyOrigin};
use std::io;
use std::sync::Mutex;
use std::time::Duration;
use store::transport::BoxFuture;

/// The other nodes.
#[derive(Default)]
pub struct Others {
    state: Mutex<OthersState>,
}

#[derive(Default)]
struct OthersState {
    forwarded: Vec<Forwarded>,
    answer: Option<(Head, String)>,
    breaks_off: bool,
    keys: u64,
    silent: bool,
}

impl Others {
    pub fn forwarded(&self) -> Vec<Forwarded> {
        self.state.lock().unwrap().forwarded.clone()
    }

    pub fn answer(&self, head: Head, body: &str) {
        self.state.lock().unwrap().answer = Some((head, body.to_owned()));
    }

    /// The answer breaks off behind its first half.
    pub fn break_off(&self) {
        self.state.lock().unwrap().breaks_off = true;
    }

    pub fn refuse(&self) {
        self.state.lock().unwrap().answer = None;
    }

    pub fn silence(&self) {
        self.state.lock().unwrap().silent = true;
    }
}

fn refused(address: &str) -> cluster::Error {
    cluster::Error::Unsent {
        address: address.to_owned(),
        cause: io::Error::from_raw_os_error(111),
    }
}

impl Peers for Others {
    fn forward(&self, forwarded: Forwarded, _timeout: Duration) -> BoxFuture<'_, Result<Served, cluster::Error>> {
        let mut state = self.state.lock().unwrap();
        state.forwarded.push(forwarded);
        let answer = match state.answer.clone() {
            Some((head, body)) => {
                let (tx, rx) = tokio::sync::mpsc::channel(4);
                // Two chunks, so that more than one is seen.
                let (first, second) = body.split_at(body.len() / 2);
                tx.try_send(Ok(Bytes::copy_from_slice(first.as_bytes()))).unwrap();
                tx.try_send(if state.breaks_off {
                    Err(Broken("the connection to the leader broke".to_owned()))
                } else {
                    Ok(Bytes::copy_from_slice(second.as_bytes()))
                })
                .unwrap();
                Ok(Served {
                    answer: Answer { head, body: rx },
                    by: "there:4002".to_owned(),
                })
            }
            None => Err(refused("there:4002")),
        };
        Box::pin(std::future::ready(answer))
    }

    fn forward_again<'a>(
        &'a self,
        forwarded: &'a mut Forwarded,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Served, cluster::Error>> {
        self.forward(forwarded.clone(), timeout)
    }

    fn key(&self) -> Key {
        let mut state = self.state.lock().unwrap();
        state.keys += 1;
        let key = ForwardKey {
            incarnation: 1,
            boot: 1,
            sequence: state.keys,
            issued_at: 0,
        };
        Key {
            origin: Some(KeyOrigin::Forward(key)),
        }
    }

    fn counters(&self) -> Counted {
        Counted {
            cluster: vec![("num_join_req", 3)],
            ..Counted::default()
        }
    }

    fn connections(&self) -> Vec<(String, Usage)> {
        vec![("there:4002".to_owned(), Usage { idle: 1, in_use: 2 })]
    }

    fn describe<'a>(
        &'a self,
        address: &'a str,
        _timeout: Duration,
    ) -> BoxFuture<'a, Result<Description, cluster::Error>> {
        let silent = self.state.lock().unwrap().silent;
        let host = address.split(':').next().unwrap();
        let answer = if silent {
            Err(refused(address))
        } else {
            Ok(Description {
                api_url: format!("http://{host}:4001"),
                version: "v9".to_owned(),
                commit_index: 9,
                is_leader: host == "there",
                ..Description::default()
            })
        };
        Box::pin(std::future::ready(answer))
    }
}

//! The reads that run on this node: who they are, for how long, and how one is ended.
//!
//! Owns their list, and its bound. A read is listed from its admission to the end of its thread.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use command::statement::Statement;
use sqlite::Cancel;

/// The list.
#[derive(Debug)]
pub struct Queries {
    running: Mutex<HashMap<u64, Arc<Running>>>,
    last: AtomicU64,
    /// Reads that may run or wait at a time.
    count_max: usize,
}

/// A read in the list.
#[derive(Debug)]
pub struct Running {
    /// Its number, from 1.
    pub id: u64,
    /// Its texts.
    pub statements: Vec<Statement>,
    /// Whose it is; `None` is another node's client.
    pub client: Option<SocketAddr>,
    /// When its request came.
    pub began: Instant,
    is_ended: AtomicBool,
    cancel: Cancel,
}

/// A read's place in the list, until it is dropped.
#[derive(Debug)]
pub struct Listed {
    queries: Arc<Queries>,
    /// The read.
    pub query: Arc<Running>,
}

impl Queries {
    /// A list of at most `count_max` reads.
    pub fn new(count_max: usize) -> Self {
        Self {
            running: Mutex::default(),
            last: AtomicU64::new(0),
            count_max,
        }
    }

    /// Lists a read that `cancel` ends; `None` when as many as may be are listed already.
    pub fn admit(
        self: &Arc<Self>,
        statements: Vec<Statement>,
        client: Option<SocketAddr>,
        began: Instant,
        cancel: Cancel,
    ) -> Option<Listed> {
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let mut running = self.lock();
        if running.len() >= self.count_max {
            return None;
        }
        let query = Arc::new(Running {
            id,
            statements,
            client,
            began,
            is_ended: AtomicBool::new(false),
            cancel,
        });
        running.insert(id, Arc::clone(&query));
        Some(Listed {
            queries: Arc::clone(self),
            query,
        })
    }

    /// Ends the read of that number; false if there is none.
    pub fn end(&self, id: u64) -> bool {
        let Some(query) = self.lock().get(&id).cloned() else {
            return false;
        };
        query.is_ended.store(true, Ordering::Release);
        query.cancel.cancel();
        true
    }

    /// All of them, the oldest first.
    pub fn all(&self) -> Vec<Arc<Running>> {
        let mut all: Vec<Arc<Running>> = self.lock().values().cloned().collect();
        all.sort_by_key(|query| query.id);
        all
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Running>>> {
        // Nothing panics while it is held.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// It was ended by [`Queries::end`].
    pub fn is_ended(&self) -> bool {
        self.is_ended.load(Ordering::Acquire)
    }

    /// Its texts, one after the other.
    pub fn text(&self) -> String {
        let texts: Vec<&str> = self.statements.iter().map(|statement| statement.sql.as_str()).collect();
        texts.join("; ")
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.queries.lock().remove(&self.query.id);
    }
}

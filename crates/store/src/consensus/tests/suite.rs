//! openraft's own suite for log stores and state machines, on real files.

use std::sync::Arc;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use sqlite::meta::Position;
use tempfile::TempDir;

use crate::apply::Applier;
use crate::config::Config;
use crate::consensus::log_storage::{Durable, LogStorage};
use crate::consensus::state_machine::{Origin, Progress, StateMachine};
use crate::consensus::types::Types;
use crate::databases::Databases;
use crate::divergence::Divergence;
use crate::environment::Runner;
use crate::executor::Executor;
use crate::member::NodeId;
use crate::settings::Flags;
use crate::transport::BoxFuture;

/// The suite purges what it never applied, which the database would rightly refuse.
struct Anything;

impl Durable for Anything {
    fn through(&self, _at: Position) -> BoxFuture<'_, std::io::Result<()>> {
        Box::pin(async { Ok(()) })
    }
}

struct Builder;

impl StoreBuilder<Types, LogStorage, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStorage, StateMachine), StorageError<Types>> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let disk = Arc::new(log::FsDisk::new(dir.path().join("log")).expect("a log directory"));
        let (log, flusher) = log::open(disk, log::Options::default()).expect("a new log");
        flusher.spawn();
        let config = Config::new(dir.path().to_owned(), "a".to_owned(), "a:4002".to_owned());
        let databases = Arc::new(Databases::open(&config).expect("a new database"));
        let applier = Applier::open(&databases.path(), databases.options()).expect("a writer");
        let executor = Executor::start(applier, Runner::Threads).expect("a thread");
        let progress = Arc::new(Progress::new(Divergence::default()));
        let log = LogStorage::new(log, Arc::new(Anything), Arc::default(), 0, Arc::default());
        let origin = Origin {
            id: NodeId(1),
            log: log.clone(),
            runner: Runner::Threads,
        };
        Ok((
            dir,
            log,
            StateMachine::new(executor, databases, progress, Flags::new(&config), origin),
        ))
    }
}

#[tokio::test]
async fn log_and_state_machine_pass_openrafts_suite() {
    Suite::test_all(Builder).await.expect("openraft's storage suite");
}

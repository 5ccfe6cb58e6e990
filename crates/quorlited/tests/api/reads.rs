//! Reads beside writes and beside each other: what was acknowledged is seen, and nobody waits for a long query.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use crate::server::{PATIENCE, Server, folder};

/// Long queries at once: more than a small machine has threads for requests, or than read connections rest.
const LONG_QUERIES: usize = 6;

/// Point reads that must come through beside them.
const POINT_READS: i64 = 20;

/// Counts to its parameter: brief when that is small, and never done when it is large.
fn count_to(limit: u64) -> String {
    format!(
        r#"[["WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<?) SELECT max(i) AS i FROM n",{limit}]]"#
    )
}

fn number(answer: &str) -> i64 {
    let value: serde_json::Value = serde_json::from_str(answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
    value["results"][0]["values"][0][0]
        .as_i64()
        .unwrap_or_else(|| panic!("no number: {answer}"))
}

async fn start() -> (tempfile::TempDir, Arc<Server>) {
    let (held, dir) = folder();
    let server = Arc::new(Server::start(&dir, &[]).await);
    let made = server
        .say(
            "/db/execute",
            r#"["CREATE TABLE n(k INTEGER PRIMARY KEY, v INTEGER)", "INSERT INTO n VALUES(1,0)"]"#,
        )
        .await;
    assert!(!made.contains("error"), "{made}");
    (held, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn point_reads_go_on_while_queries_that_were_brief_run_for_ever() {
    let (_held, server) = start().await;
    for _ in 0..4 {
        assert_eq!(number(&server.say("/db/query", &count_to(5)).await), 5);
        assert_eq!(
            number(&server.say("/db/query", r#"[["SELECT v FROM n WHERE k=?",1]]"#).await),
            0
        );
    }
    let long: Vec<_> = (0..LONG_QUERIES)
        .map(|_| {
            let server = Arc::clone(&server);
            tokio::spawn(async move { server.say("/db/query", &count_to(u64::MAX >> 1)).await })
        })
        .collect();
    let short = async {
        for count in 1..=POINT_READS {
            let read = server
                .say("/db/query?level=none", r#"[["SELECT v FROM n WHERE k=?",1]]"#)
                .await;
            assert_eq!(number(&read), count - 1);
            let written = server.say("/db/execute", r#"["UPDATE n SET v=v+1"]"#).await;
            assert!(written.contains("rows_affected"), "{written}");
        }
    };
    tokio::time::timeout(PATIENCE, short).await.expect("point reads wait");
    for query in long {
        assert!(!query.is_finished(), "a long query ended by itself");
        query.abort();
    }
}

/// Long queries at once that would keep every processor from the writes for seconds.
const CROWD: usize = 200;

/// Ninety-nine of a hundred writes must be answered in this time beside them. It is some tens of milliseconds on a machine
/// with nothing else to do, where they would take seconds without turns.
const WRITE_P99_MAX: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn writes_and_short_reads_go_on_while_a_crowd_of_queries_runs_for_ever() {
    const WRITES: usize = 100;
    let (_held, server) = start().await;
    let crowd: Vec<_> = (0..CROWD)
        .map(|_| {
            let server = Arc::clone(&server);
            tokio::spawn(async move { server.say("/db/query", &count_to(u64::MAX >> 1)).await })
        })
        .collect();
    server
        .until("/quorlite/queries", |answer| {
            answer.body.matches("\"id\"").count() == CROWD
        })
        .await;
    let mut times = Vec::new();
    for count in 1..=WRITES {
        let began = Instant::now();
        let written = server.say("/db/execute", r#"["UPDATE n SET v=v+1"]"#).await;
        times.push(began.elapsed());
        assert!(written.contains("rows_affected"), "{written}");
        if count % 10 == 0 {
            // A text that is new each time: it has to wait for its turn.
            let read = server
                .say("/db/query", &format!(r#"["SELECT v, {count} FROM n"]"#))
                .await;
            assert_eq!(number(&read), i64::try_from(count).unwrap());
        }
    }
    assert!(
        crowd.iter().all(|query| !query.is_finished()),
        "a long query ended by itself"
    );
    crowd.iter().for_each(tokio::task::JoinHandle::abort);
    times.sort();
    println!("writes: median {:?}, p99 {:?}", times[WRITES / 2], times[WRITES - 2]);
    assert!(times[WRITES - 2] < WRITE_P99_MAX, "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_comes_after_an_acknowledgement_sees_the_write() {
    const WRITES: i64 = 100;
    const READERS: usize = 3;
    let (_held, server) = start().await;
    let (acknowledged, is_over) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicBool::new(false)));
    let readers: Vec<_> = ["none", "weak", "linearizable"]
        .into_iter()
        .cycle()
        .take(READERS)
        .map(|level| {
            let (server, acknowledged, is_over) = (server.clone(), acknowledged.clone(), is_over.clone());
            tokio::spawn(async move {
                let mut reads = 0;
                while !is_over.load(Ordering::Acquire) {
                    let least = acknowledged.load(Ordering::Acquire);
                    let target = format!("/db/query?level={level}");
                    let seen = number(&server.say(&target, r#"[["SELECT v FROM n WHERE k=?",1]]"#).await);
                    assert!(
                        seen >= least,
                        "level {level}: {seen} was read after {least} was acknowledged"
                    );
                    reads += 1;
                }
                reads
            })
        })
        .collect();
    for value in 1..=WRITES {
        let written = server
            .say("/db/execute", &format!(r#"[["UPDATE n SET v=?",{value}]]"#))
            .await;
        assert!(written.contains("rows_affected"), "{written}");
        acknowledged.store(value, Ordering::Release);
    }
    is_over.store(true, Ordering::Release);
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
}

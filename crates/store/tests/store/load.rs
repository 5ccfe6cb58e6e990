//! Databases that come in: through the log on every node, and around it into a lone one.
#![expect(clippy::expect_used, reason = "a test's own scaffolding may fail the test")]

use std::ops::ControlFlow;

use bytes::Bytes;
use command::entry::{Chunk, Form};
use command::reply::{OutcomeKind, Reply};
use command::request::{ClientKey, Key, KeyOrigin};
use sqlite::{Cancel, Journal};
use store::load::Loading;
use store::read::Level;
use store::{Error, Node, backup};

use crate::support::{Cluster, PATIENCE, config, execute, open, query, reopen, succeed, until};

const PIECE_BYTES: usize = 4096;

/// A SQLite file of some hundred rows and an FTS index, made by a node of its own.
async fn file(first: u64) -> Vec<u8> {
    let maker = Cluster::form(&["maker"]).await;
    let node = maker.leader().await;
    succeed(
        &node,
        &[
            "CREATE TABLE u(id INTEGER PRIMARY KEY, v TEXT)",
            &format!("WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i+1 FROM n LIMIT 500) INSERT INTO u SELECT i, hex(randomblob(50)) FROM n"),
            "CREATE VIRTUAL TABLE f USING fts5(x)",
            "INSERT INTO f VALUES('some words')",
        ],
    )
    .await;
    backed_up(&node, backup::Form::File(Journal::Wal))
}

fn backed_up(node: &Node, form: backup::Form) -> Vec<u8> {
    let mut bytes = Vec::new();
    node.backup(&form, &Cancel::new(), &mut |piece| {
        bytes.extend_from_slice(piece);
        ControlFlow::Continue(())
    })
    .expect("a backup");
    bytes
}

fn pieces(load: u64, bytes: &[u8]) -> Vec<Chunk> {
    let piece = |(number, piece): (usize, &[u8])| Chunk {
        load,
        offset: (number * PIECE_BYTES) as u64,
        bytes: Bytes::copy_from_slice(piece),
    };
    bytes.chunks(PIECE_BYTES).enumerate().map(piece).collect()
}

async fn gather(node: &Node, pieces: &[Chunk]) {
    for piece in pieces {
        let reply = node.gather(piece.clone(), PATIENCE).await.expect("taken");
        assert_eq!(reply.error, None);
    }
}

async fn finish(node: &Node, load: u64, bytes: &[u8], form: Form) -> Reply {
    let loading = Loading {
        load,
        bytes: bytes.len() as u64,
        form,
        key: None,
    };
    node.load(loading, PATIENCE).await.expect("taken")
}

async fn load(node: &Node, bytes: &[u8], form: Form) -> Reply {
    let load = node.draw_load();
    gather(node, &pieces(load, bytes)).await;
    finish(node, load, bytes, form).await
}

/// Shuts a node down and opens it again.
async fn restart(cluster: &mut Cluster, place: usize) {
    let node = cluster.nodes.remove(place);
    let peer = node.peer().clone();
    cluster.board.unplug(&peer.address);
    node.shutdown().await;
    drop(node);
    let config = config(cluster.dirs[place].path(), &peer.name, peer.name != "d");
    cluster.nodes.insert(place, reopen(config, &cluster.board).await);
}

/// Files of loads in a node's directory.
fn staged(cluster: &Cluster, place: usize) -> Vec<String> {
    let entries = std::fs::read_dir(cluster.dirs[place].path().join("db")).expect("a folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text"));
    names.filter(|name| name.starts_with("load-")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loaded_file_replaces_the_database_of_every_node() {
    let cluster = Cluster::form(&["a", "b", "c"]).await;
    let leader = cluster.leader().await;
    succeed(&leader, &["CREATE TABLE old(id)"]).await;
    let file = file(1).await;
    let reply = load(&leader, &file, Form::File).await;
    assert_eq!((reply.error, reply.outcomes.len()), (None, 0));
    cluster.converged(reply.index).await;
    for node in &cluster.nodes {
        let rows = query(node, "SELECT count(*), max(id) FROM u", Level::Linearizable).await;
        assert_eq!(rows.expect("readable"), ["500|500"]);
    }
    let index = succeed(
        &leader,
        &["INSERT INTO u(v) VALUES('new')", "INSERT INTO f VALUES('more words')"],
    )
    .await
    .index;
    cluster.converged(index).await;
    for (place, node) in cluster.nodes.iter().enumerate() {
        let rows = query(node, "SELECT count(*) FROM f('words')", Level::None).await;
        assert_eq!(rows.expect("readable"), ["2"]);
        assert_eq!(staged(&cluster, place), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loaded_text_runs_on_every_node_as_one_unit() {
    let cluster = Cluster::form(&["a", "b", "c"]).await;
    let leader = cluster.leader().await;
    let maker = Cluster::form(&["maker"]).await;
    let dump = {
        let node = maker.leader().await;
        succeed(&node, &["CREATE TABLE t(id INTEGER PRIMARY KEY, v)"]).await;
        succeed(
            &node,
            &[
                "INSERT INTO t(v) VALUES('it''s; é'), (x'00ff'), (1.5)",
                "CREATE INDEX i ON t(v)",
            ],
        )
        .await;
        backed_up(&node, backup::Form::Text(Vec::new()))
    };
    let reply = load(&leader, &dump, Form::Text).await;
    assert!(
        matches!(reply.outcomes[0].kind, Some(OutcomeKind::Changes(_))),
        "{reply:?}"
    );
    cluster.converged(reply.index).await;
    assert_eq!(
        leader.content_hash().await.expect("hashable").hash,
        maker.leader().await.content_hash().await.expect("hashable").hash
    );
    let failed = load(
        &leader,
        b"INSERT INTO t(v) VALUES(7); INSERT INTO nobody VALUES(1)",
        Form::Text,
    )
    .await;
    let Some(OutcomeKind::Error(message)) = &failed.outcomes[0].kind else {
        panic!("{failed:?}");
    };
    assert_eq!(message, "no such table: nobody");
    cluster.converged(failed.index).await;
    assert_eq!(
        query(&leader, "SELECT count(*) FROM t", Level::None)
            .await
            .expect("readable"),
        ["3"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_sound_database_changes_nothing() {
    let cluster = Cluster::form(&["a"]).await;
    let leader = cluster.leader().await;
    succeed(&leader, &["CREATE TABLE old(id)"]).await;
    let mut damaged = file(1).await;
    damaged[PIECE_BYTES * 8..].fill(0xa5);
    let error = load(&leader, &damaged, Form::File).await.error.expect("refused");
    assert!(error.message.starts_with("invalid SQLite data: "), "{error:?}");
    assert_eq!(
        query(&leader, "SELECT count(*) FROM old", Level::None)
            .await
            .expect("readable"),
        ["0"]
    );
    let short = load(&leader, b"SQLite format 3\0 and no more", Form::File).await;
    assert_eq!(
        short.error.expect("refused").message,
        "invalid SQLite data: not a SQLite database"
    );
    leader.snapshot(Some(0)).await.expect("a snapshot");
    assert_eq!(
        staged(&cluster, 0),
        [""; 0],
        "what is of no use goes once that is durable"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_must_follow_on_each_other_and_may_come_twice() {
    let cluster = Cluster::form(&["a"]).await;
    let leader = cluster.leader().await;
    let file = file(1).await;
    let id = leader.draw_load();
    let pieces = pieces(id, &file);
    gather(&leader, &pieces[..3]).await;
    let gap = leader
        .gather(pieces[4].clone(), PATIENCE)
        .await
        .expect("taken")
        .error
        .expect("refused");
    assert_eq!(gap.code, "load_refused");
    let early = finish(&leader, id, &file, Form::File).await.error.expect("refused");
    assert_eq!(early.code, "load_refused");
    gather(&leader, &pieces[..3]).await;
    gather(&leader, &pieces[1..]).await;
    assert_eq!(finish(&leader, id, &file, Form::File).await.error, None);
    assert_eq!(
        query(&leader, "SELECT count(*) FROM u", Level::None)
            .await
            .expect("readable"),
        ["500"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_load_takes_the_place_of_the_one_used_least_recently() {
    let cluster = Cluster::form(&["a"]).await;
    let leader = cluster.leader().await;
    let file = file(1).await;
    let ids: Vec<u64> = (0..3).map(|_| leader.draw_load()).collect();
    gather(&leader, &pieces(ids[0], &file)[..1]).await;
    gather(&leader, &pieces(ids[1], &file)[..1]).await;
    gather(&leader, &pieces(ids[0], &file)[1..]).await;
    gather(&leader, &pieces(ids[2], &file)[..1]).await;
    let gone = leader
        .gather(pieces(ids[1], &file)[1].clone(), PATIENCE)
        .await
        .expect("taken");
    assert_eq!(gone.error.expect("refused").code, "load_refused");
    assert_eq!(finish(&leader, ids[0], &file, Form::File).await.error, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_survives_restarts_purges_and_joiners_on_its_way() {
    let mut cluster = Cluster::form(&["a", "b", "c"]).await;
    let leader = cluster.leader().await;
    let file = file(1).await;
    let id = leader.draw_load();
    let pieces = pieces(id, &file);
    let third = pieces.len() / 3;
    gather(&leader, &pieces[..third]).await;
    for node in &cluster.nodes {
        node.wait_applied(leader.applied(), PATIENCE).await.expect("applied");
        node.snapshot(Some(0)).await.expect("a snapshot");
    }
    gather(&leader, &pieces[third..2 * third]).await;
    for place in 0..cluster.nodes.len() {
        restart(&mut cluster, place).await;
    }
    let leader = cluster.leader().await;
    // The log from the first pieces on is gone: the joiner is sent the database, and what is gathered beside it.
    leader.snapshot(Some(0)).await.expect("a snapshot");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let joiner = open(config(dir.path(), "d", false), &cluster.board)
        .await
        .expect("a new node");
    leader.add(joiner.peer().clone(), false).await.expect("added");
    cluster.nodes.push(joiner.clone());
    cluster.dirs.push(dir);
    until("a joiner that has caught up", || {
        (joiner.applied() >= leader.applied()).then_some(())
    })
    .await;
    gather(&leader, &pieces[2 * third..]).await;
    let reply = finish(&leader, id, &file, Form::File).await;
    assert_eq!(reply.error, None);
    cluster.converged(reply.index).await;
    for node in &cluster.nodes {
        assert_eq!(
            query(node, "SELECT count(*) FROM u", Level::None)
                .await
                .expect("readable"),
            ["500"]
        );
    }
    let place = cluster
        .nodes
        .iter()
        .position(|node| !node.is_leader())
        .expect("a follower");
    restart(&mut cluster, place).await;
    cluster.converged(reply.index).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_end_of_a_load_has_its_first_answer() {
    let cluster = Cluster::form(&["a"]).await;
    let leader = cluster.leader().await;
    succeed(&leader, &["CREATE TABLE t(id)"]).await;
    let key = Key {
        origin: Some(KeyOrigin::Client(ClientKey {
            key: "once".to_owned(),
            body_hash: 1,
        })),
    };
    let file = file(1).await;
    for form in [Form::File, Form::File, Form::Text] {
        let load = leader.draw_load();
        gather(&leader, &pieces(load, &file)).await;
        let loading = Loading {
            load,
            bytes: file.len() as u64,
            form,
            key: Some(key.clone()),
        };
        let reply = leader.load(loading, PATIENCE).await.expect("taken");
        assert_eq!((reply.error, reply.outcomes.len()), (None, 0));
        succeed(&leader, &["INSERT INTO u(v) VALUES('stays')"]).await;
    }
    assert_eq!(
        query(&leader, "SELECT count(*) FROM u", Level::None)
            .await
            .expect("readable"),
        ["503"]
    );
}

async fn boot(node: &Node, file: &[u8]) {
    let mut boot = node.begin_boot().expect("room");
    for piece in file.chunks(1000) {
        boot.upload.write(piece).expect("room");
    }
    node.boot(boot, PATIENCE).await.expect("booted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booted_node_gives_its_joiners_what_was_booted() {
    let mut cluster = Cluster::form(&["a"]).await;
    let node = cluster.leader().await;
    succeed(&node, &["CREATE TABLE old(id)"]).await;
    let file = file(1).await;
    boot(&node, &file).await;
    let state = node.status();
    assert!(state.purged > 0 && state.purged >= state.snapshot.0, "{state:?}");
    assert_eq!(
        query(&node, "SELECT count(*) FROM u", Level::Weak)
            .await
            .expect("readable"),
        ["500"]
    );
    assert!(
        execute(&node, &["INSERT INTO old VALUES(1)"])
            .await
            .expect("taken")
            .outcomes[0]
            != command::reply::Outcome::default()
    );
    let dir = tempfile::tempdir().expect("a temporary directory");
    let joiner = open(config(dir.path(), "b", true), &cluster.board)
        .await
        .expect("a new node");
    node.add(joiner.peer().clone(), true).await.expect("added");
    cluster.nodes.push(joiner);
    cluster.dirs.push(dir);
    let index = succeed(&node, &["INSERT INTO u(v) VALUES('new')"]).await.index;
    cluster.converged(index).await;
    restart(&mut cluster, 0).await;
    cluster.converged(index).await;
    assert_eq!(staged(&cluster, 0), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_lone_node_is_booted_and_only_with_a_database() {
    let cluster = Cluster::form(&["a", "b", "c"]).await;
    let leader = cluster.leader().await;
    let refused = leader.begin_boot().err().expect("refused");
    assert!(
        matches!(&refused, Error::Membership(why) if why == "not single-node"),
        "{refused}"
    );
    let lone = Cluster::form(&["d"]).await;
    let node = lone.leader().await;
    let mut boot = node.begin_boot().expect("room");
    boot.upload.write(&[7; 8192]).expect("room");
    let refused = node.boot(boot, PATIENCE).await.expect_err("refused");
    assert!(matches!(&refused, Error::Sqlite(sqlite::Error::Unfit(_))), "{refused}");
    assert_eq!([staged(&lone, 0), staged(&cluster, 0)].concat(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_is_ended_twice_at_once_is_loaded_once() {
    let cluster = Cluster::form(&["a"]).await;
    let leader = cluster.leader().await;
    let file = file(1).await;
    for _ in 0..5 {
        let id = leader.draw_load();
        gather(&leader, &pieces(id, &file)).await;
        let ends = (0..4).map(|_| {
            let (node, file) = (leader.clone(), file.clone());
            tokio::spawn(async move { finish(&node, id, &file, Form::File).await.error })
        });
        let mut answers = Vec::new();
        for end in ends.collect::<Vec<_>>() {
            answers.push(end.await.expect("an answer"));
        }
        assert_eq!(answers.iter().filter(|error| error.is_none()).count(), 1, "{answers:?}");
        succeed(&leader, &["INSERT INTO u(v) VALUES('goes on')"]).await;
    }
}

//! rqlite-rs: typed rows, every argument type, batches, transactions, cluster calls, errors, a failover.

use std::error::Error;
use std::io::{Write, stdin, stdout};

use rqlite_rs::batch::BatchResult;
use rqlite_rs::prelude::*;
use rqlite_rs::query;
use rqlite_rs::response::RqliteResult;

type Outcome = Result<(), Box<dyn Error>>;

const TEXT: &str = "it's \"quoted\" ünïcödé 😀 <b>&amp;</b>";

#[derive(FromRow)]
struct Typed {
    id: i64,
    i: i64,
    r: f64,
    t: String,
    n: Option<String>,
}

fn client(hosts: &[&str]) -> Result<RqliteClient, Box<dyn Error>> {
    let mut builder = RqliteClientBuilder::new();
    for host in hosts {
        builder = builder.known_host(host);
    }
    Ok(builder.build()?)
}

async fn values(client: &RqliteClient) -> Outcome {
    client
        .exec(query!(
            "CREATE TABLE v (id INTEGER PRIMARY KEY, i INTEGER, r REAL, t TEXT, b BLOB, n TEXT)"
        ))
        .await?;
    let big = (1i64 << 53) + 1;
    let blob: Vec<u8> = (0..=255).collect();
    let insert = query!(
        "INSERT INTO v(i, r, t, b, n) VALUES(?, ?, ?, ?, ?)",
        big,
        1.5f64,
        TEXT,
        blob.clone(),
        None::<String>
    );
    let inserted = client.exec(insert).await?;
    assert_eq!(
        (inserted.last_insert_id(), inserted.rows_affected()),
        (Some(1), Some(1))
    );
    let rows = client
        .fetch(query!("SELECT id, i, r, t, b, n FROM v WHERE i = ?", big))
        .await?;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].get::<Vec<u8>>("b")?, blob);
    let typed = rows.into_typed::<Typed>()?;
    let Typed { id, i, r, t, n } = &typed[0];
    assert_eq!((*id, *i, *r, t.as_str(), n.as_deref()), (1, big, 1.5, TEXT, None));
    client
        .exec(query!("INSERT INTO v(i, r) VALUES(?, ?)", i64::MIN, 3.25f32))
        .await?;
    let rows = client.fetch("SELECT i, r, t FROM v WHERE id = 2").await?;
    assert_eq!(rows[0].get::<i64>("i")?, i64::MIN);
    assert_eq!(rows[0].get::<Option<String>>("t")?, None);
    assert!(client.fetch("SELECT id FROM v WHERE id = 9").await?.is_empty());
    assert_eq!(client.fetch("PRAGMA table_info(v)").await?.len(), 6);
    Ok(())
}

async fn batches(client: &RqliteClient) -> Outcome {
    client
        .exec("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)")
        .await?;
    let results = client
        .batch(vec![
            query!("INSERT INTO t(name) VALUES(?)", "Ada"),
            query!("SELECT name FROM t WHERE name = ?", "Ada"),
            query!("UPDATE t SET name = ? WHERE id = ?", "Bob", 1i64),
        ])
        .await?;
    assert_eq!(results.len(), 3);
    assert!(matches!(&results[0], RqliteResult::Success(BatchResult::QueryResult(done)) if done.changed()));
    assert!(matches!(
        &results[1],
        RqliteResult::Success(BatchResult::SelectResults(_))
    ));
    let failed = client
        .batch(vec!["INSERT INTO t(id) VALUES(5)", "INSERT INTO nowhere VALUES(1)"])
        .await?;
    assert!(matches!(&failed[1], RqliteResult::Error(error) if error.error == "no such table: nowhere"));
    Ok(())
}

async fn transactions(client: &RqliteClient) -> Outcome {
    let done = client
        .transaction(vec![
            query!("INSERT INTO t(id, name) VALUES(?, ?)", 10i64, "a"),
            query!("INSERT INTO t(id, name) VALUES(?, ?)", 11i64, "b"),
        ])
        .await?;
    assert!(
        done.iter()
            .all(|result| matches!(result, RqliteResult::Success(done) if done.changed()))
    );
    let failed = client
        .transaction(vec!["INSERT INTO t(id) VALUES(12)", "INSERT INTO t(id) VALUES(10)"])
        .await?;
    assert!(
        matches!(failed.last(), Some(RqliteResult::Error(error)) if error.error == "UNIQUE constraint failed: t.id")
    );
    let rows = client.fetch("SELECT id FROM t WHERE id >= 10 ORDER BY id").await?;
    let ids: Vec<i64> = rows.iter().map(|row| row.get("id")).collect::<Result<_, _>>()?;
    assert_eq!(ids, [10, 11]);
    Ok(())
}

async fn cluster(client: &RqliteClient, size: usize) -> Outcome {
    assert!(client.ready().await);
    let nodes = client.nodes().await?;
    assert_eq!(nodes.len(), size);
    assert!(
        nodes
            .iter()
            .all(|node| node.reachable && node.voter && node.api_addr.starts_with("http://"))
    );
    assert!(client.leader().await?.is_some());
    client.remove_node("nobody").await?;
    Ok(())
}

async fn errors(client: &RqliteClient) -> Outcome {
    let Err(error) = client.fetch("SELECT * FROM nowhere").await else {
        panic!("a missing table was read")
    };
    assert!(error.to_string().contains("no such table: nowhere"), "{error}");
    let Err(error) = client.exec("INSERT INTO t(id) VALUES(10)").await else {
        panic!("a row came twice")
    };
    assert!(error.to_string().contains("UNIQUE constraint failed: t.id"), "{error}");
    Ok(())
}

/// Has the leader killed with -9; returns once the other two have a new one.
fn kill_leader() -> Outcome {
    println!("kill leader");
    stdout().flush()?;
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    assert_eq!(answer.trim(), "killed");
    Ok(())
}

async fn failover(hosts: &[&str]) -> Outcome {
    client(hosts)?.exec("INSERT INTO t(id, name) VALUES(20, 'before')").await?;
    kill_leader()?;
    // A client of its own: on a pooled connection that broke, rqlite-rs fails instead of going to the next host.
    let client = client(hosts)?;
    client.exec("INSERT INTO t(id, name) VALUES(21, 'after')").await?;
    let rows = client.fetch("SELECT name FROM t WHERE id >= 20 ORDER BY id").await?;
    let names: Vec<String> = rows.iter().map(|row| row.get("name")).collect::<Result<_, _>>()?;
    assert_eq!(names, ["before", "after"]);
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let lone = std::env::var("QUORLITE_ONE")?;
    let three = std::env::var("QUORLITE_THREE")?;
    let three: Vec<&str> = three.split(',').collect();
    for (host, size) in [(lone.as_str(), 1), (three[1], 3)] {
        let client = client(&[host])?;
        values(&client).await?;
        batches(&client).await?;
        transactions(&client).await?;
        cluster(&client, size).await?;
        errors(&client).await?;
    }
    failover(&three).await
}

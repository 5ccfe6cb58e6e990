//! The same entries under other batches, restarts and connections give the same content, replies and effects.
//!
//! The entries are drawn from a seed: every feature whose result could depend on what came before on the connection
//! rather than in the log. Each seed is applied entry by entry, and then a few times in random batches with restarts.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use command::request::{ClientKey, KeyOrigin, Kind, Write};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use sqlite::{Limits, Options};

use super::{Agreed, Entry, Fixture, entry, keyed, request, timeless};

const SEEDS: RangeInclusive<u64> = 1..=16;
const ENTRIES: usize = 160;

const SCHEMA: &[&str] = &[
    "CREATE TABLE a(id INTEGER PRIMARY KEY AUTOINCREMENT, at DEFAULT CURRENT_TIMESTAMP, r DEFAULT (random()), v)",
    "CREATE TABLE b(k PRIMARY KEY, v, n DEFAULT 0) WITHOUT ROWID",
    "CREATE TABLE p(id INTEGER PRIMARY KEY)",
    "CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p(id) DEFERRABLE INITIALLY DEFERRED)",
    "CREATE TABLE d(p REFERENCES p(id) ON DELETE CASCADE, w)",
    "CREATE TABLE log(what, n, total)",
    "CREATE TRIGGER ta AFTER INSERT ON a BEGIN INSERT INTO log VALUES('a', changes(), total_changes()); END",
    "CREATE TRIGGER tb BEFORE UPDATE ON b WHEN new.v=13 BEGIN SELECT RAISE(ROLLBACK, 'thirteen'); END",
    "CREATE TRIGGER tc BEFORE INSERT ON b WHEN new.v=14 BEGIN SELECT RAISE(FAIL, 'fourteen'); END",
    "CREATE VIRTUAL TABLE f USING fts5(body)",
    "CREATE VIRTUAL TABLE r USING rtree(id, x0, x1)",
    "CREATE INDEX ai ON a(v)",
];

/// `?` stands for a small random number, a new one each time.
const WRITES: &[&str] = &[
    "INSERT INTO a(v) VALUES(?)",
    "INSERT INTO a(v) VALUES(datetime('now','localtime')), (randomblob(3)), (random()%?)",
    "INSERT INTO a(v) SELECT last_insert_rowid() + changes() * 1000 + total_changes()",
    "INSERT INTO b VALUES(?, ?, 1) ON CONFLICT(k) DO UPDATE SET n=n+1, v=excluded.v RETURNING k, v, n",
    "INSERT OR ROLLBACK INTO b(k, v) VALUES(?, 1)",
    "INSERT OR FAIL INTO b(k, v) VALUES(?, 1), (?, 2), (?, 3)",
    "INSERT OR REPLACE INTO b(k, v) VALUES(?, ?)",
    "INSERT INTO b(k, v) VALUES(?, 1), (?, 14), (?, 2)",
    "UPDATE b SET v=? WHERE k=?",
    "DELETE FROM b WHERE k>?",
    "DELETE FROM a WHERE id%7=?",
    "INSERT INTO p VALUES(?)",
    "DELETE FROM p WHERE id=?",
    "INSERT INTO c(p) VALUES(?)",
    "INSERT INTO d VALUES(?, ?)",
    "INSERT INTO f(body) VALUES('word' || ? || ' and ' || ?)",
    "INSERT INTO f(rowid, body) VALUES(?, 'again')",
    "DELETE FROM f WHERE f MATCH 'word?'",
    "UPDATE f SET body='changed ' || hex(randomblob(2)) WHERE rowid=?",
    "INSERT INTO f(f) VALUES('optimize')",
    "INSERT INTO f(f, rank) VALUES('merge', ?)",
    "INSERT INTO r VALUES(?, ?, 99)",
    "INSERT OR REPLACE INTO r VALUES(?, ?, 5)",
    "DELETE FROM r WHERE x0>?",
    "SELECT count(*) FROM f WHERE f MATCH 'word? OR and'",
    "SELECT changes(), total_changes(), last_insert_rowid()",
    "SELECT group_concat(id) FROM r WHERE x1>?",
    "WITH RECURSIVE s(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM s LIMIT ?00) INSERT INTO a(v) SELECT x FROM s",
    "WITH RECURSIVE s(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM s) INSERT INTO a(v) SELECT x FROM s",
    "WITH RECURSIVE s(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM s LIMIT ?0000) SELECT max(x) FROM s",
    "UPDATE a SET v=v+1 WHERE v BETWEEN ? AND ?0",
    "DELETE FROM a",
    "CREATE TABLE IF NOT EXISTS x?(a UNIQUE, b AS (a+1))",
    "INSERT INTO x?(a) VALUES(?)",
    "DROP TABLE IF EXISTS x?",
    "ALTER TABLE x? ADD COLUMN c? DEFAULT ?",
    "CREATE INDEX IF NOT EXISTS i? ON a(v, r)",
    "DROP INDEX IF EXISTS i?",
    "ANALYZE",
    "DELETE FROM sqlite_stat1 WHERE idx='i?'",
    "PRAGMA user_version=?",
    "PRAGMA defer_foreign_keys=ON",
    "VACUUM",
    "REINDEX",
    "INSERT INTO nowhere VALUES(?)",
    "CREATE TEMP TABLE t?(a)",
    "INSERT INTO log SELECT name, rowid, ? FROM sqlite_schema WHERE name NOT LIKE 'sqlite%'",
    "INSERT INTO log SELECT value, key, ? FROM json_each('[1,2,[3]]')",
    "INSERT INTO a(v) VALUES(?); INSERT INTO b(k) VALUES(?); UPDATE b SET n=n+1 WHERE k=?",
    "INSERT INTO f(body) VALUES('unit ?'); INSERT INTO nowhere VALUES(1)",
    "INSERT INTO a(id, v) VALUES(9223372036854775807, 1)",
    "UPDATE b SET v=v || hex(randomblob(?0)) WHERE k>?",
    "INSERT INTO a(v) SELECT instr(x.k, y.v) + length(replace(x.k, '0', '?')) FROM b x, b y LIMIT ?00",
    "INSERT INTO f(body) VALUES('long ' || hex(zeroblob(?00)))",
    "INSERT INTO a(v) SELECT group_concat(hex(randomblob(?00))) FROM b x, b y, b z",
    "INSERT INTO b(k, v) VALUES(hex(zeroblob(?00)), sin(?) + exp(?) + pow(?, 0.3))",
];

fn draw(random: &mut ChaCha8Rng, below: usize) -> usize {
    (random.next_u32() as usize) % below
}

fn text(random: &mut ChaCha8Rng) -> String {
    let template = WRITES[draw(random, WRITES.len())];
    let mut text = String::new();
    for (place, piece) in template.split('?').enumerate() {
        if place > 0 {
            text += &(1 + draw(random, 15)).to_string();
        }
        text += piece;
    }
    text
}

fn write(random: &mut ChaCha8Rng) -> Write {
    let texts: Vec<String> = match draw(random, 4) {
        0 => (0..2 + draw(random, 4)).map(|_| text(random)).collect(),
        _ => vec![text(random)],
    };
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let kind = if draw(random, 2) == 0 {
        Kind::Execute
    } else {
        Kind::Request
    };
    let mut write = request(kind, &texts);
    write.atomic = draw(random, 2) == 0;
    write.seed = random.next_u64();
    write.clock_us += i64::from(random.next_u32());
    if draw(random, 8) == 0 {
        let key = format!("key {}", draw(random, 5));
        write = keyed(write, KeyOrigin::Client(ClientKey { key, body_hash: 1 }));
    }
    write
}

fn script(seed: u64) -> Vec<Entry> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let schema = SCHEMA.iter().map(|sql| request(Kind::Execute, &[sql]));
    let mut writes: Vec<Write> = schema.collect();
    if seed.is_multiple_of(3) {
        // FTS4 does work at commit that depends on the transaction.
        writes.push(request(Kind::Execute, &["CREATE VIRTUAL TABLE g USING fts4(body)"]));
        writes.push(request(Kind::Execute, &["INSERT INTO g(g) VALUES('automerge=2')"]));
        writes.push(request(
            Kind::Execute,
            &["CREATE TRIGGER tg AFTER INSERT ON a BEGIN INSERT INTO g VALUES('g ' || new.id || ' ' || new.v); END"],
        ));
    }
    writes.extend((0..ENTRIES).map(|_| write(&mut random)));
    let entries = writes.into_iter().enumerate();
    entries.map(|(place, write)| entry(place as u64 + 1, write)).collect()
}

fn options(seed: u64) -> Options {
    Options {
        foreign_keys: seed.is_multiple_of(2),
        limits: Limits {
            steps_max: 60_000,
            short_length_max: 1_000,
            long_steps_max: 20_000,
            stored_bytes_max: 200_000,
            ..Limits::default()
        },
        ..Options::default()
    }
}

/// Applies the script in batches of at most `batch_max`, with a restart before a batch now and then.
fn apply(entries: &[Entry], options: Options, plan: u64, batch_max: usize) -> Agreed {
    let mut random = ChaCha8Rng::seed_from_u64(plan);
    let mut it = Fixture::with(options);
    let mut replies = BTreeMap::new();
    let mut effects = BTreeMap::new();
    let mut rest = entries;
    while !rest.is_empty() {
        if batch_max > 1 && draw(&mut random, 4) == 0 {
            it.reopen();
        }
        if batch_max > 1 && draw(&mut random, 8) == 0 {
            it.applier().make_durable().unwrap();
        }
        let (batch, later) = rest.split_at((1 + draw(&mut random, batch_max)).min(rest.len()));
        let answered = it.applier().apply(batch).unwrap();
        assert_eq!(answered.len(), batch.len());
        for (entry, reply) in batch.iter().zip(answered) {
            replies.insert(entry.position.index, timeless(reply));
        }
        let applied = it.applier().applied();
        effects.insert(applied.position.map_or(0, |at| at.index), applied.effect);
        rest = later;
    }
    Agreed {
        content: it.content(),
        effects,
        replies,
    }
}

fn compare(seed: u64, batch_max: usize, plans: u64) {
    let entries = script(seed);
    let one_by_one = apply(&entries, options(seed), 0, 1);
    for plan in 1..=plans {
        let other = apply(&entries, options(seed), seed * 100 + plan, batch_max);
        for (index, reply) in &one_by_one.replies {
            assert_eq!(
                reply,
                &other.replies[index],
                "seed {seed} plan {plan} entry {index}: {:?}",
                entries[*index as usize - 1]
            );
        }
        for (index, effect) in &other.effects {
            assert_eq!(
                one_by_one.effects[index], *effect,
                "seed {seed} plan {plan} entry {index} or before it"
            );
        }
        assert_eq!(one_by_one.content, other.content, "seed {seed} plan {plan}");
    }
}

#[test]
fn batches_and_restarts_do_not_show() {
    for seed in SEEDS {
        compare(seed, 12, 2);
    }
}

#[test]
fn one_large_batch_does_not_show() {
    for seed in SEEDS.filter(|seed| seed.is_multiple_of(4)) {
        compare(seed, ENTRIES, 1);
    }
}

#[test]
fn the_script_does_what_it_is_meant_to() {
    let mut errors = Vec::new();
    for seed in SEEDS {
        let entries = script(seed);
        let replies = apply(&entries, options(seed), 0, 1).replies;
        for (index, reply) in replies.range(..=SCHEMA.len() as u64) {
            assert_eq!(super::error_of(reply), None, "entry {index}");
        }
        for reply in replies.into_values() {
            errors.extend(reply.error.as_ref().map(|failure| failure.message.clone()));
            errors.extend(super::error_of(&reply).map(str::to_owned));
        }
    }
    for expected in [
        "thirteen",
        "fourteen",
        "FOREIGN KEY",
        "virtual-machine steps",
        "UNIQUE",
        "no such table",
        "TEMP objects",
        "rowid 9223372036854775807",
        "cannot VACUUM",
    ] {
        assert!(
            errors.iter().any(|error| error.contains(expected)),
            "no statement fails with {expected}"
        );
    }
}

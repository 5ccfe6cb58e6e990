//! Where each target begins: the specification's examples, and one of each kind of message.

use command::entry::{Action, Chunk, Command, Form, Load, Settings, Skip};
use command::reply::{Cell, Changes, Outcome, OutcomeKind, Row, Rows};
use command::request::{ClientKey, ForwardKey, Key, KeyOrigin, Kind, Write};
use command::statement::{Parameter, Statement, Value};
use prost::Message;
use quorlited::cluster::message::{
    Ask, Attempt, Describe, Description, Join, Notify, Opening, PeerRecord, Release, Reply,
};
use quorlited::cluster::message::{Request, Tell};
use quorlited::flags::TABLE;
use quorlited::forwarded::StepDown;
use quorlited::forwarded::{
    Backup, Credentials, Forwarded, Gather, Head, NotLeader, Operation, Output, Read, Remove, Sql,
};
use quorlited::net::frame;
use store::transport::Channel;

use crate::frames::opening;

/// Pieces of JSON.
pub const JSON: &[&str] = &[
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "\"",
    "true",
    "false",
    "null",
    "x'",
    "X'00ff'",
    "\\u",
    "\\ud83e",
    "\\udd80",
    "\\u0041",
    "1e999",
    "-0",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
    "1e-400",
    "0.1",
    "255",
    "256",
    "{\"a\":",
    "{\"b\":",
    "\u{e9}",
    "[0,255]",
];

/// Pieces of query strings.
pub const QUERY: &[&str] = &[
    "&",
    "=",
    ";",
    "+",
    "%20",
    "%C3%A9",
    "%ff",
    "q=",
    "level=",
    "none",
    "weak",
    "linearizable",
    "strong",
    "auto",
    "timeout=",
    "freshness=",
    "freshness_strict",
    "db_timeout=",
    "linearizable_timeout=",
    "retries=",
    "trailing_logs=",
    "min_index=",
    "index=",
    "atomic=",
    "transaction",
    "pretty",
    "timings",
    "associative",
    "blob_array",
    "qualify_columns",
    "raft_index",
    "1h2m3.5s",
    "100ms",
    "\u{b5}s",
    "-1ns",
    "9223372036854775807ns",
];

/// Pieces of command lines; the names of the flags come from their table.
pub const FLAGS: &[&str] = &[
    "\n",
    "-",
    "--",
    "=",
    "true",
    "false",
    "0x1f",
    "0b1",
    "0o7",
    "1_000",
    "-1",
    "18446744073709551615",
    "1h2m3.5s",
    "localhost:4001",
    "[::1]:4002",
    "0.0.0.0:4001",
    "http://",
    "data",
    "-h",
    "-http-addr=",
    "-raft-addr=",
    "-node-id=",
    "-http-adv-addr=",
    "-raft-adv-addr=",
    "-join=",
    "-bootstrap-expect=",
    "-fk",
    "-raft-heartbeat-timeout=",
    "-raft-commit-timeout=",
    "-write-queue-capacity=",
    "-extensions-path=",
    "-disco-mode=",
    "dns-srv",
    "consul-kv",
    "-raft-non-voter",
    "-otlp-endpoint=",
    "-version",
    "-cdc-config=",
    "-auto-restore=",
];

/// Pieces of frames and messages.
pub const FRAMES: &[&str] = &[
    "QRLT",
    "\\x0a\\x00",
    "\\x12\\x00",
    "\\x1a\\x00",
    "\\x22\\x00",
    "\\x7a\\x00",
];

/// Bytes of the frames that the seeds flip a bit in: three heads of eight, and two payloads.
const FLIPPED_BYTES: u8 = 3 * 8 + 5 + 8;

/// Bodies.
pub fn body() -> Vec<Vec<u8>> {
    texts(&[
        r#"["CREATE TABLE pet (id INTEGER PRIMARY KEY, nick TEXT, weight REAL, pic BLOB)",
 ["INSERT INTO pet(nick, weight) VALUES(?, ?)", "Momo", 4.25],
 ["INSERT INTO pet(nick, weight) VALUES(:n, :w)", {"n": "Rex", "w": null}],
 ["UPDATE pet SET pic=? WHERE nick=?", [137,80,78,71], "Rex"],
 ["SELECT count(*) FROM pet"]]"#,
        r#"[["INSERT INTO pet(id,nick) VALUES(1,'a')"],["INSERT INTO pet(id,nick) VALUES(2,'c')"]]"#,
        r#"[["INSERT INTO pet(nick) VALUES(?)","Kiki"],["SELECT nick FROM pet"],["SELECT * FROM nowhere"]]"#,
        r#"["a\u00e9", ["b", 1.5e3, -7, true, null, {"n": "x'00'", "m": [1, 2]}, [3]]]"#,
        r#"[["s", 0, {"a": 1, "b": 2, "a": 3}, {"a": 4}, {"": 5}]]"#,
        r#"["\ud83e\ud83e\udd80\udd80\b\f\n\r\t\/\\"] behind"#,
        r#"[["s", 9223372036854775808, -9223372036854775808, 1e-400, -0, -0.0, 2E+3]]"#,
        r#"[["s", " \tX'aBCd'\n", "x'0'", "x'0g'", "x'", ["b"]]]"#,
        r#"[["s", [300, -4, 1.5, [1], {}, null, true]]]"#,
        r#"[["s", 1e999]]"#,
        r#"{"a": [1, {"b": [null]}]}"#,
        "[]",
        "[1]",
        "[[]]",
        "12x",
        "null",
        "[\"a\u{2028}<>&\u{7f}\"]",
    ])
}

/// Query strings.
pub fn query() -> Vec<Vec<u8>> {
    texts(&[
        "level=strong&q=SELECT%20*%20FROM+pet&pretty&timings",
        "fmt=sql&tables=a,b&compress",
        "associative&level=none&freshness=1s&freshness_strict",
        "transaction&redirect&timings&timeout=1m0s",
        "queue=true&wait&timeout=10s",
        "db_timeout=1.5s&linearizable_timeout=0&retries=3&level=linearizable",
        "min_index=42&index=7&atomic=false&trailing_logs=100",
        "blob_array&qualify_columns&raft_index&level=auto",
        "atomic&noparse&norwrandom&key=http.bind",
        "q=%C3%A9%ff%E2%82&q=second&=x&a=b=c&&",
        "timeout=1h2m3.5s4ms5\u{b5}s6us7ns&freshness=-1ns",
        "timeout=9223372036854775807ns",
        "q=a;b",
        "q=%4",
        "q=%zz",
        "q=",
        "freshness_strict",
        "timeout=soon",
        "retries=x",
        "atomic=perhaps",
    ])
}

/// A text's number, then items.
pub fn parameters() -> Vec<Vec<u8>> {
    let items = [
        (0, "\"Momo\""),
        (0, "[137,80,78,71]"),
        (1, "4.25,null,true"),
        (1, "\"x'00ff'\",-0.0,9223372036854775808"),
        (2, "{\"a\":\"Rex\"}"),
        (3, "{\"a\":1,\"b\":2},{\"c\":[]}"),
        (3, "{\"c\":1,\"b\":\"a\\u0000b\",\"a\":1e21}"),
        (4, "{\"a\":1},2,{\"\u{e9}\":3},4"),
        (5, "7,{\"a\":1},\"x\",{\"b\":2}"),
        (6, "{\"a\":1e-7}"),
        (0, "{\":a\":1}"),
        (3, "1"),
    ];
    items
        .iter()
        .map(|(which, items)| [&[*which], items.as_bytes()].concat())
        .collect()
}

/// Command lines.
pub fn flags() -> Vec<Vec<u8>> {
    let mut lines = texts(&[
        "data",
        "-http-addr=localhost:4001\n-raft-addr\nlocalhost:4002\ndata",
        "--node-id=n1\n-http-addr\n:4001\n-http-adv-addr=h:4001\n-raft-addr=:4002\n-raft-adv-addr=h:4002\ndata",
        "-join=a:4002,b:4002\n-join-attempts=0x10\n-join-interval=1m0s\ndata",
        "-bootstrap-expect=3\n-join\na:4002, b:4002\n-bootstrap-expect-timeout\n1h2m3.5s\ndata",
        "-raft-heartbeat-timeout=800ms\n-raft-commit-timeout=100ms\n-raft-snap=1_000\n-fk\ndata",
        "-write-queue-capacity=1024\n-write-queue-batch-size=0b101\n-write-queue-timeout=50ms\n-write-queue-tx=T\ndata",
        "-http-max-body=1048576\n-http-max-result=0o17\n-slow-query-threshold=1.5s\n-drain-timeout=0\ndata",
        "-disco-mode=dns\n-bootstrap-expect=3\ndata",
        "-otlp-endpoint=h:4317\n-otlp-insecure\ndata",
        "-raft-non-voter=true\n-extensions-path=a,b\n--\n-data",
        "data\nsurplus",
        "-version",
        "-help",
        "-fk=perhaps",
        "---x",
        "-unknown",
        "-raft-snap",
    ]);
    lines.extend(
        TABLE
            .iter()
            .map(|flag| format!("-{}={}\ndata", flag.name, flag.default).into_bytes()),
    );
    lines
}

/// A reading's number, then bytes.
pub fn frames() -> Vec<Vec<u8>> {
    let mut frames: Vec<Vec<u8>> = Vec::new();
    for channel in [Channel::Control, Channel::Append, Channel::Bulk, Channel::Service] {
        frames.push([&[0], &opening(channel)[..]].concat());
    }
    let header = frame::header(b"frame", 8).unwrap_or_default();
    frames.push([&[1, 3], &header[..], b"frame", &header[..], b"frame", &header[..7]].concat());
    frames.push(b"\x02\x10\xff\xff\x05frame\x00\x03abc".to_vec());
    // A bit of each byte of two frames and an empty one.
    frames.extend((0..FLIPPED_BYTES).map(|byte| {
        let bit = (u16::from(byte) * 8 + u16::from(byte % 8)).to_le_bytes();
        [b"\x02\x02", &bit[..], b"\x05frame\x00\x08abcdefgh"].concat()
    }));
    frames.extend(peers());
    let credentials = Credentials {
        user: "u".to_owned(),
        password: "p".to_owned(),
    };
    frames.extend(asks().map(|ask| [&[13], &Request::new(ask, Some(credentials.clone())).encode_frame()[..]].concat()));
    frames.extend(tells().map(|tell| [&[14], &Reply::frame(tell)[..]].concat()));
    frames.extend(commands().map(|command| [&[15], &command.to_bytes()[..]].concat()));
    frames.extend(commands().map(|command| [&[10, 2], &command.to_bytes()[..]].concat()));
    frames.push([&[15], &reply().encode_to_vec()[..]].concat());
    frames
}

/// The messages of consensus, whose types are its own: their fields by hand.
fn peers() -> Vec<Vec<u8>> {
    let vote = [varint(1, 4), fixed(2, 7), varint(3, 1)].concat();
    let position = [varint(1, 4), varint(2, 300)].concat();
    let asked = [nested(1, &vote), nested(2, &position), varint(3, 1)].concat();
    let node = [fixed(1, 7), nested(2, b"n1"), nested(3, b"h:4002"), varint(4, 1)].concat();
    let voters = nested(1, &7_u64.to_le_bytes());
    let membership = [nested(1, &voters), nested(2, &node), nested(3, &position)].concat();
    let blank = [varint(1, 4), varint(2, 301), nested(3, &[0])].concat();
    let member = [
        varint(1, 4),
        varint(2, 302),
        nested(3, &[&[1], &membership[..]].concat()),
    ]
    .concat();
    let append = [
        nested(1, &vote),
        nested(2, &position),
        nested(3, &position),
        nested(4, &blank),
        nested(4, &member),
    ];
    let append = [&append.concat()[..], &varint(5, 299)].concat();
    let transfer = [nested(1, &vote), fixed(2, 9), nested(3, &position)].concat();
    let answers = [1, 2, 3, 4].map(|kind| [varint(1, kind), nested(2, &position), nested(3, &vote)].concat());
    let head = [
        nested(1, &vote),
        nested(2, &position),
        nested(3, &membership),
        varint(4, 4096),
    ]
    .concat();
    let gathered = [fixed(1, 5), varint(2, 1024), nested(3, b"piece")].concat();
    let sequence = varint(15, 1);
    let mut all = vec![
        (3, [varint(1, 1), fixed(2, 7), fixed(3, 9)].concat()),
        (4, [sequence.clone(), nested(1, &asked)].concat()),
        (4, [sequence.clone(), nested(2, &asked)].concat()),
        (4, [sequence.clone(), nested(3, &append)].concat()),
        (4, [sequence.clone(), nested(4, &transfer)].concat()),
        (4, [sequence.clone(), nested(5, &[])].concat()),
        (5, [sequence.clone(), nested(1, b"failed")].concat()),
        (
            5,
            [
                sequence.clone(),
                nested(2, &[nested(1, &vote), varint(2, 1), nested(3, &position)].concat()),
            ]
            .concat(),
        ),
        (5, [sequence.clone(), nested(4, &nested(1, b"refused"))].concat()),
        (5, [sequence.clone(), varint(5, 300)].concat()),
        (6, append),
        (8, nested(1, &head)),
        (8, nested(2, b"chunk")),
        (8, fixed(3, 11)),
        (8, nested(4, &gathered)),
        (9, [nested(1, b"failed"), nested(2, &vote)].concat()),
        (10, vec![0]),
        (10, [&[1], &membership[..]].concat()),
        (11, vote.clone()),
        (12, membership),
    ];
    for answer in answers {
        all.push((5, [sequence.clone(), nested(3, &answer)].concat()));
        all.push((7, answer));
    }
    all.into_iter()
        .map(|(which, bytes)| [&[which], &bytes[..]].concat())
        .collect()
}

fn asks() -> impl Iterator<Item = Ask> {
    let peer = Some(peer());
    let attempt = Attempt {
        coordinator: 7,
        round: 1,
        voters: peer.clone().into_iter().collect(),
    };
    let plain = [
        Ask::Describe(Describe {}),
        Ask::Join(Join {
            peer: peer.clone(),
            voter: true,
            settings: Some(settings()),
        }),
        Ask::Notify(Notify { peer, expect: 3 }),
        Ask::Promise(attempt),
        Ask::Release(Release {
            coordinator: 7,
            round: 1,
            rival: 9,
        }),
    ];
    plain.into_iter().chain(operations().map(|operation| {
        Ask::Forward(Forwarded {
            operation: Some(operation),
            credentials: None,
            timeout_ms: 30_000,
            is_own: true,
        })
    }))
}

fn operations() -> impl Iterator<Item = Operation> {
    let sql = Sql {
        statements: statements(),
        atomic: true,
        key: Some(key(KeyOrigin::Forward(ForwardKey {
            incarnation: 7,
            boot: 1,
            sequence: 2,
            issued_at: 3,
        }))),
        read: Some(Read {
            level: 2,
            min_index: 5,
            wait_us: 1,
            freshness_us: 2,
            freshness_strict: true,
        }),
        db_timeout_us: 9,
        output: Some(Output::default()),
    };
    let load = quorlited::forwarded::Load {
        load: 5,
        bytes: 9,
        form: 1,
        key: None,
        output: None,
    };
    [
        Operation::Execute(sql.clone()),
        Operation::Query(sql.clone()),
        Operation::Request(sql),
        Operation::Remove(Remove { name: "n2".to_owned() }),
        Operation::StepDown(StepDown {
            name: "n2".to_owned(),
            wait: true,
        }),
        Operation::Backup(Backup {
            form: 3,
            tables: vec!["pet".to_owned()],
            compress: true,
        }),
        Operation::Gather(Gather {
            load: 5,
            offset: 0,
            bytes: "piece".into(),
        }),
        Operation::Load(load),
        Operation::Skip(quorlited::forwarded::Skip { index: 4 }),
    ]
    .into_iter()
}

fn tells() -> impl Iterator<Item = Tell> {
    let head = Head {
        status: 200,
        content_type: "application/json".to_owned(),
        index: 7,
        retry_after_s: 1,
        not_leader: Some(NotLeader {
            id: 7,
            name: "n1".to_owned(),
            address: "h:4002".to_owned(),
        }),
        not_appended: true,
    };
    let description = Description {
        peer: Some(peer()),
        api_url: "http://h:4001".to_owned(),
        version: "v1".to_owned(),
        commit_index: 9,
        is_leader: true,
        leader: Some(peer()),
        initialized: true,
        quarantine: String::new(),
    };
    [
        Tell::refused("no"),
        Tell::Redirect(peer()),
        Tell::Description(description),
        Tell::Opening(Opening {
            head: Some(head),
            body: "{}".into(),
            complete: true,
        }),
        Tell::Chunk("chunk".into()),
        Tell::Broken("broke".to_owned()),
    ]
    .into_iter()
}

fn commands() -> impl Iterator<Item = Command> {
    let write = Write {
        statements: statements(),
        atomic: true,
        kind: Kind::Request.into(),
        clock_us: -1,
        seed: 5,
        steps_max: 100,
        key: Some(key(KeyOrigin::Client(ClientKey {
            key: "k".to_owned(),
            body_hash: 3,
        }))),
    };
    let load = Load {
        load: 5,
        bytes: 9,
        form: Form::Text.into(),
        clock_us: 1,
        seed: 2,
        key: None,
    };
    let actions = [
        None,
        Some(Action::Write(write)),
        Some(Action::Skip(Skip { index: 4 })),
        Some(Action::Settings(settings())),
        Some(Action::Chunk(Chunk {
            load: 5,
            offset: 0,
            bytes: "piece".into(),
        })),
        Some(Action::Load(load)),
    ];
    actions.into_iter().map(Command::new)
}

fn reply() -> command::reply::Reply {
    let cell = |value| Cell { value };
    let row = Row {
        cells: vec![
            cell(Some(Value::Real(f64::NAN))),
            cell(None),
            cell(Some(Value::Integer(-1))),
        ],
    };
    let rows = Rows {
        names: vec!["a".to_owned()],
        types: vec!["text".to_owned()],
        rows: vec![row],
        error: None,
    };
    let mut reply = command::reply::Reply::failed("failed", "key_reused");
    reply.outcomes = vec![
        Outcome::new(OutcomeKind::Changes(Changes {
            last_insert_id: 1,
            rows_affected: -2,
        })),
        Outcome::new(OutcomeKind::Rows(rows)),
        Outcome::new(OutcomeKind::Error("no such table".to_owned())),
    ];
    reply
}

fn statements() -> Vec<Statement> {
    let mut statement = Statement::new("SELECT ?, :a");
    statement.parameters = vec![
        Parameter::positional(Value::Text("t".to_owned())),
        Parameter::named("a", Value::Blob("blob".into())),
        Parameter::positional(None),
    ];
    vec![statement, Statement::new("")]
}

fn key(origin: KeyOrigin) -> Key {
    Key { origin: Some(origin) }
}

fn settings() -> Settings {
    Settings {
        foreign_keys: true,
        extensions: vec!["e".to_owned()],
        sqlite: sqlite::version().to_owned(),
    }
}

fn peer() -> PeerRecord {
    PeerRecord {
        id: 7,
        name: "n1".to_owned(),
        address: "h:4002".to_owned(),
    }
}

/// Fields as protobuf has them.
fn varint(tag: u8, value: u64) -> Vec<u8> {
    let mut bytes = vec![tag << 3];
    prost::encoding::encode_varint(value, &mut bytes);
    bytes
}

fn fixed(tag: u8, value: u64) -> Vec<u8> {
    [&[tag << 3 | 1], &value.to_le_bytes()[..]].concat()
}

fn nested(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![tag << 3 | 2];
    prost::encoding::encode_varint(bytes.len() as u64, &mut field);
    [&field, bytes].concat()
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

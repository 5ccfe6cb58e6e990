//! Tests of requests and of the book of keys.

use super::*;

fn work(line: &str, first_key: u64) -> Work {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    Work::new(&Options::parse(&words).unwrap().unwrap(), first_key)
}

fn next(work: &mut Work) -> (Job, Expected) {
    let mut job = Job::default();
    let expected = work.next(&mut job);
    (job, expected)
}

fn json(job: &Job) -> serde_json::Value {
    serde_json::from_slice(&job.request.body).unwrap()
}

#[test]
fn a_write_is_one_parameterised_row_with_a_fresh_key() {
    let mut work = work("write", 41);
    let (first, expected) = next(&mut work);
    let (second, _) = next(&mut work);
    let value = String::from_utf8(value(41).to_vec()).unwrap();
    assert_eq!(
        json(&first),
        serde_json::json!([["INSERT INTO bench_write(k,v) VALUES(?,?)", 41, value]])
    );
    assert_eq!(
        (first.request.path, expected),
        ("/db/execute", Expected::Written { rows: 1 })
    );
    assert_eq!((first.keys, second.keys), (Some((41, 1)), Some((42, 1))));
}

#[test]
fn bulk_carries_its_rows_in_one_transaction() {
    let mut work = work("bulk -b 1000", 1);
    let (first, expected) = next(&mut work);
    let (second, _) = next(&mut work);
    assert_eq!(
        (first.request.path, expected),
        ("/db/execute?transaction", Expected::Written { rows: 1000 })
    );
    assert_eq!(json(&first).as_array().map(Vec::len), Some(1000));
    assert_eq!(json(&first)[999][1], 1000);
    assert_eq!(json(&second)[0][1], 1001);
}

#[test]
fn reads_ask_for_keys_of_the_table_at_the_level() {
    let mut work = work("read -l linearizable --keys 50", 1);
    for _ in 0..200 {
        let (job, expected) = next(&mut work);
        let Expected::ValueOf { key } = expected else {
            panic!("{expected:?}");
        };
        assert!((1..=50).contains(&key));
        assert_eq!(
            json(&job),
            serde_json::json!([["SELECT v FROM bench_read WHERE k=?", key]])
        );
        assert_eq!((job.request.path, job.keys), ("/db/query?level=linearizable", None));
    }
}

#[test]
fn mixed_keeps_its_share() {
    let mut work = work("mixed --reads 75", 1);
    let reads = (0..4000).filter(|_| next(&mut work).0.keys.is_none()).count();
    assert!((2900..3100).contains(&reads), "{reads} reads of 4000");
}

#[test]
fn queued_and_big_requests_are_what_they_say() {
    let (job, expected) = next(&mut work("queued", 1));
    assert_eq!(
        (job.request.path, expected, job.keys),
        ("/db/execute?queue", Expected::Queued, Some((1, 1)))
    );
    let (job, expected) = next(&mut work("big --rows 9", 1));
    assert_eq!(
        (job.request.path, expected),
        ("/db/query?level=weak", Expected::BigRows { rows: 9 })
    );
    assert!(
        json(&job)[0]
            .as_str()
            .unwrap()
            .starts_with("SELECT id,name,weight,born,note")
    );
}

#[test]
fn rows_of_the_big_table_have_five_columns() {
    let mut body = Vec::new();
    big_insert_body(1, 3, &mut body);
    let rows: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(rows.as_array().map(Vec::len), Some(3));
    assert_eq!(rows[2].as_array().map(Vec::len), Some(6));
    assert_eq!(rows[2][1], 3);
}

#[test]
fn acknowledged_keys_are_ranges_with_holes_for_what_was_not() {
    let mut work = work("write", 10);
    let jobs: Vec<Job> = (0..8).map(|_| next(&mut work).0).collect();
    for job in [&jobs[5], &jobs[0], &jobs[1], &jobs[4], &jobs[7]] {
        work.acknowledge(job);
    }
    assert_eq!(work.acknowledged(), [(10, 11), (14, 15), (17, 17)]);
    assert_eq!(work.sent(), (10, 18));
}

#[test]
#[should_panic(expected = "acknowledged twice")]
fn a_key_is_acknowledged_once() {
    let mut work = work("bulk -b 3", 1);
    let (job, _) = next(&mut work);
    work.acknowledge(&job);
    work.acknowledge(&job);
}

#[test]
fn numbers_are_written_in_full() {
    for sample in [0, 7, 10, 1_234_567_890, u64::MAX] {
        let mut body = Vec::new();
        number(sample, &mut body);
        assert_eq!(String::from_utf8(body).unwrap(), sample.to_string());
    }
}

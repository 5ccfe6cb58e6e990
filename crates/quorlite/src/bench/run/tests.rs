//! Tests of the closed and the open loop on a paused clock, against servers that are functions.

use std::collections::VecDeque;

use super::super::http::Request;
use super::super::values::value;
use super::*;

/// What a server answers: status and body.
type Answers = fn(&Request) -> Result<(u16, Vec<u8>), Failure>;

/// A server that answers one request after the other, each after the next delay of a script (then at once).
struct Scripted {
    delays: VecDeque<Duration>,
    answer: Answers,
    body: Vec<u8>,
}

impl Scripted {
    fn new(delays: &[u64], answer: Answers) -> Scripted {
        let delays = delays.iter().map(|millis| Duration::from_millis(*millis)).collect();
        Scripted {
            delays,
            answer,
            body: Vec::new(),
        }
    }
}

impl Exchange for Scripted {
    async fn call(&mut self, request: &Request) -> Result<Answer<'_>, Failure> {
        tokio::time::sleep(self.delays.pop_front().unwrap_or(Duration::ZERO)).await;
        let (status, body) = (self.answer)(request)?;
        self.body = body;
        Ok(Answer {
            status,
            body: &self.body,
        })
    }

    fn node(&self) -> usize {
        0
    }
}

fn acknowledge(_: &Request) -> Result<(u16, Vec<u8>), Failure> {
    Ok((200, br#"{"results":[{"last_insert_id":1,"rows_affected":1}]}"#.to_vec()))
}

fn refuse(_: &Request) -> Result<(u16, Vec<u8>), Failure> {
    Ok((503, b"leader not found\n".to_vec()))
}

/// The feeder of the tests: the same schedule on tokio's paused clock.
fn feed(schedule: Schedule, start: Instant, gate: Arc<Semaphore>) {
    tokio::spawn(async move {
        let mut released = 0;
        while released < schedule.slots && !gate.is_closed() {
            let due = schedule.due(start.elapsed());
            gate.add_permits((due - released) as usize);
            released = due;
            tokio::time::sleep_until(start + schedule.intended(released)).await;
        }
    });
}

async fn run_line(line: &str, exchanges: Vec<Scripted>) -> (Work, Recorder) {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let options = Options::parse(&words).unwrap().unwrap();
    let local = tokio::task::LocalSet::new();
    local
        .run_until(run(Plan::new(&options), Work::new(&options, 1), exchanges, feed))
        .await
}

#[tokio::test(start_paused = true)]
async fn an_open_loop_counts_a_stall_in_every_request_that_it_held_up() {
    // 100 per second, one client; the 101st request stalls for a second, all others take no time.
    let mut delays = vec![0; 100];
    delays.push(1000);
    let (_, recorder) = run_line("write -r 100 -d 4s -w 0", vec![Scripted::new(&delays, acknowledge)]).await;
    assert_eq!(
        (recorder.requests, recorder.latencies.count(), recorder.unsent),
        (400, 400, 0)
    );
    assert!(recorder.latencies.max() >= Duration::from_millis(1000));
    // A quarter of all requests fell into the stall and waited half a second on average: p87.5 is about 500 ms.
    let half = recorder.latencies.percentile(0.875);
    assert!(
        (Duration::from_millis(480)..Duration::from_millis(520)).contains(&half),
        "{half:?}"
    );
    assert!(recorder.latencies.percentile(0.74) < Duration::from_millis(10));
    // It began in the window at 1.0 s, and the windows after it show what was left of it.
    let begins = recorder.windows[10].latency_max;
    assert!(begins >= Duration::from_millis(1000), "{begins:?}");
    assert!(recorder.windows[15].latency_max < Duration::from_millis(520));
    assert!(recorder.windows[9].latency_max < Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn a_closed_loop_sees_the_same_stall_once() {
    let mut delays = vec![10; 100];
    delays.push(1000);
    delays.extend(vec![10; 400]);
    let (_, recorder) = run_line("write -d 4s -w 0", vec![Scripted::new(&delays, acknowledge)]).await;
    assert!(recorder.latencies.max() >= Duration::from_millis(1000));
    assert!(recorder.latencies.percentile(0.99) < Duration::from_millis(20));
}

#[tokio::test(start_paused = true)]
async fn a_count_of_requests_is_kept_exactly_by_all_clients_together() {
    let exchanges = (0..7)
        .map(|_| Scripted::new(&[3, 1, 4, 1, 5, 9, 2, 6], acknowledge))
        .collect();
    let (work, recorder) = run_line("write -n 100", exchanges).await;
    assert_eq!(recorder.requests, 100);
    assert_eq!(work.acknowledged(), [(1, 100)]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_falls_behind_leaves_requests_unsent() {
    // One request per second is served where ten are meant to leave: 20 s of schedule, then 10 s of grace.
    let exchange = Scripted::new(&[1000; 100], acknowledge);
    let (_, recorder) = run_line("write -r 10 -d 20s -w 0", vec![exchange]).await;
    assert_eq!(recorder.latencies.count() + recorder.unsent, 200);
    assert!((165..=175).contains(&recorder.unsent), "{} unsent", recorder.unsent);
}

#[tokio::test(start_paused = true)]
async fn the_first_failure_ends_a_run_unless_it_is_to_keep_going() {
    let (work, recorder) = run_line("write -n 50", vec![Scripted::new(&[], refuse)]).await;
    assert_eq!((recorder.failures_total(), recorder.requests), (1, 0));
    assert!(work.acknowledged().is_empty());
    let (_, recorder) = run_line("write -n 50 --keep-going", vec![Scripted::new(&[], refuse)]).await;
    assert_eq!(recorder.failures["status 503"].count, 50);
}

#[tokio::test(start_paused = true)]
async fn an_open_loop_slower_than_its_time_sends_one_request_and_ends() {
    let (_, recorder) = run_line("write -r 0.1 -d 2s -w 0", vec![Scripted::new(&[], acknowledge)]).await;
    assert_eq!(recorder.latencies.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_open_loop_ends_at_the_first_failure_too() {
    let exchanges = (0..3).map(|_| Scripted::new(&[], refuse)).collect();
    let (_, recorder) = run_line("write -r 100 -d 5s", exchanges).await;
    assert!((1..=3).contains(&recorder.failures_total()));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_value_is_a_failure_and_a_right_one_is_not() {
    fn right(request: &Request) -> Result<(u16, Vec<u8>), Failure> {
        let text = String::from_utf8(request.body.clone()).unwrap();
        let key: u64 = text.rsplit(',').next().unwrap().trim_end_matches(']').parse().unwrap();
        let value = String::from_utf8(value(key).to_vec()).unwrap();
        Ok((
            200,
            format!(r#"{{"results":[{{"columns":["v"],"types":["text"],"values":[["{value}"]]}}]}}"#).into_bytes(),
        ))
    }
    fn stale(_: &Request) -> Result<(u16, Vec<u8>), Failure> {
        right(&Request {
            path: "/",
            body: b"[[\"\",12345678]]".to_vec(),
        })
    }
    let (_, recorder) = run_line("read -n 20", vec![Scripted::new(&[], right)]).await;
    assert_eq!(
        (recorder.requests, recorder.rows, recorder.failures_total()),
        (20, 20, 0)
    );
    let (_, recorder) = run_line("read -n 20 --keep-going", vec![Scripted::new(&[], stale)]).await;
    assert_eq!((recorder.requests, recorder.failures["wrong answer"].count), (0, 20));
}

//! Waiting for a thread that reads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Limits, NoSeat, Watch};
use crate::forwarded::Style;
use crate::http::errors;
use crate::http::reply::Payload;
use crate::http::stream::Failed;

fn watch(readers_max: usize) -> Watch {
    let limits = Limits {
        body_bytes_max: 1024,
        result_bytes_max: 0,
        reads_max: 16,
        readers_max,
        stall_max: Duration::from_secs(30),
        slow: Duration::ZERO,
    };
    Watch::new(limits, Arc::default())
}

fn told(none: NoSeat) -> (u16, String) {
    let reply = errors::read(Style::default(), &Failed::from(none));
    let status = reply.status().as_u16();
    let Payload::Whole(body) = reply.payload else {
        panic!("it is streamed")
    };
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn a_read_without_a_connection_waits_no_longer_than_its_own_time() {
    let watch = watch(1);
    let seat = watch.seat(None).await.unwrap();
    let soon = Instant::now().checked_add(Duration::from_millis(1));
    let late = watch.seat(soon).await.map(drop).unwrap_err();
    assert_eq!(
        told(late),
        (200, r#"{"results":[],"error":"context deadline exceeded"}"#.to_owned())
    );
    assert_eq!(told(NoSeat::Busy), (503, "too many reads in progress\n".to_owned()));
    drop(seat);
    assert!(watch.seat(soon).await.is_ok());
}

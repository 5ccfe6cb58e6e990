//! What a chunk goes through.

use std::time::Duration;

use checkers::chance::Chance;
use tokio::time::Instant;

use super::Route;

fn late(route: &Route, chunk: &mut [u8]) -> Duration {
    let begin = Instant::now();
    route.pass(chunk, &mut Chance::new(1, "chunk")) - begin
}

#[test]
fn a_sound_route_changes_nothing() {
    let mut chunk = [7; 100];
    assert!(late(&Route::new(), &mut chunk) < Duration::from_secs(1));
    assert_eq!(chunk, [7; 100]);
}

#[test]
fn a_slow_or_lossy_route_is_late() {
    let route = Route::new();
    route.delay(5_000);
    assert!(late(&route, &mut [0]) >= Duration::from_secs(5));
    route.delay(0);
    route.lose(1000);
    assert!(late(&route, &mut [0]) >= Duration::from_millis(200));
}

#[test]
fn one_bit_of_one_chunk_is_garbled() {
    let route = Route::new();
    route.garble();
    let mut chunks = [[0_u8; 64]; 2];
    for chunk in &mut chunks {
        late(&route, chunk);
    }
    let flipped = |chunk: &[u8; 64]| chunk.iter().map(|byte| byte.count_ones()).sum::<u32>();
    assert_eq!((flipped(&chunks[0]), flipped(&chunks[1])), (1, 0));
}

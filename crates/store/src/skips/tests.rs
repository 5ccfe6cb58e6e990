//! Who is held, and for how long.

use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::Skips;

#[tokio::test]
async fn an_entry_is_held_until_it_is_known_what_became_of_its_skip() {
    let skips = Arc::<Skips>::default();
    let (decide, decided) = oneshot::channel::<()>();
    let hold = skips.hold(3).expect("not applied yet");
    let gave_up = hold.until(decided).now_or_never();
    assert!(gave_up.is_none(), "nobody has decided");
    assert!(!skips.seal(3, |_| false), "the skip may still be committed");

    decide.send(()).expect("somebody waits");
    // What was decided is taken note of by a task of its own.
    while !skips.seal(3, |_| false) {
        tokio::task::yield_now().await;
    }
}

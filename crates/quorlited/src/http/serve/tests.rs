//! The end of a listener.

use hyper::Method;

use crate::http::tests::World;

#[tokio::test]
async fn a_request_in_progress_finishes_and_no_new_one_comes_in() {
    let world = World::leading();
    let asked = world.send(Method::GET, "/db/query?q=wait", &[], "");
    let stopped = async {
        world.fake.until_waiting().await;
        world.stop();
        while world.is_listening().await {
            tokio::task::yield_now().await;
        }
        world.fake.release();
        world.until_stopped().await;
    };
    let (answered, ()) = tokio::join!(asked, stopped);
    assert_eq!(answered.status, 200);
    assert!(answered.body.contains("[[0]]"), "{}", answered.body);
}

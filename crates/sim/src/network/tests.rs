//! Streams as TCP's: in order, late, stalled, broken.

use super::*;

fn network() -> Network {
    let addresses = (0..2).map(crate::machine::address).collect();
    Network::new(
        addresses,
        Trace::new(std::path::Path::new("/nowhere"), false),
        Chance::new(1, "network"),
    )
}

/// One direction of a stream, without nodes.
fn stream(
    network: &Network,
) -> (
    Arc<Link>,
    mpsc::Sender<bytes::Bytes>,
    mpsc::Receiver<bytes::Bytes>,
    Arc<Life>,
) {
    let life = Arc::new(Life::new("n1.1".to_owned(), Arc::default()));
    let link = Arc::new(Link::new(0, 1, Channel::Append));
    network.inside().links.push(Arc::downgrade(&link));
    let (tx, out) = mpsc::channel(FRAMES_MAX);
    let (into, rx) = mpsc::channel(FRAMES_MAX);
    let lives = [life.clone(), life.clone()];
    tokio::spawn(Flow::new(network.clone(), link.clone(), (0, 1), lives).run(out, into));
    (link, tx, rx, life)
}

async fn send(tx: &mpsc::Sender<bytes::Bytes>, numbers: std::ops::Range<u8>) {
    for number in numbers {
        tx.send(vec![number].into()).await.unwrap();
    }
}

async fn received(rx: &mut mpsc::Receiver<bytes::Bytes>) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(frame) = rx.recv().await {
        all.extend_from_slice(&frame);
    }
    all
}

#[tokio::test(start_paused = true)]
async fn frames_arrive_in_order_and_the_end_after_them() {
    let network = network();
    let (_link, tx, mut rx, _life) = stream(&network);
    let start = tokio::time::Instant::now();
    send(&tx, 0..150).await;
    drop(tx);
    assert_eq!(received(&mut rx).await, (0..150).collect::<Vec<u8>>());
    assert!(start.elapsed() >= Duration::from_millis(1));
    assert_eq!(network.counts(), (150, 0));
}

#[tokio::test(start_paused = true)]
async fn a_cut_route_stalls_a_stream_and_breaks_it_in_the_end() {
    let network = network();
    let (_link, tx, mut rx, _life) = stream(&network);
    network.change(0, 1, |route| route.is_cut = true);
    send(&tx, 0..3).await;
    let start = tokio::time::Instant::now();
    assert_eq!(received(&mut rx).await, Vec::<u8>::new());
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[tokio::test(start_paused = true)]
async fn a_route_that_heals_in_time_delivers_what_was_under_way() {
    let network = network();
    let (_link, tx, mut rx, _life) = stream(&network);
    network.change(0, 1, |route| route.is_cut = true);
    send(&tx, 0..3).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    network.change(0, 1, |route| route.is_cut = false);
    drop(tx);
    assert_eq!(received(&mut rx).await, vec![0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_machine_without_power_is_silent_before_its_streams_break() {
    let network = network();
    let (_link, tx, mut rx, life) = stream(&network);
    life.die(Death::PowerLoss);
    network.hang_up(0, Death::PowerLoss);
    send(&tx, 0..3).await;
    let start = tokio::time::Instant::now();
    assert_eq!(received(&mut rx).await, Vec::<u8>::new());
    assert!(start.elapsed() >= Duration::from_millis(50));
}

#[tokio::test(start_paused = true)]
async fn the_last_words_of_an_end_that_stopped_listening_arrive() {
    let network = network();
    let (link, tx, mut rx, life) = stream(&network);
    let (back_tx, back) = mpsc::channel(FRAMES_MAX);
    let (into, back_rx) = mpsc::channel(FRAMES_MAX);
    tokio::spawn(Flow::new(network.clone(), link, (1, 0), [life.clone(), life]).run(back, into));
    send(&tx, 0..3).await;
    drop(back_rx);
    tokio::time::sleep(Duration::from_millis(1)).await;
    drop(tx);
    assert_eq!(received(&mut rx).await, vec![0, 1, 2]);
    drop(back_tx);
}

//! What power loss may and may not do to a file.

use super::Image;
use crate::chance::Chance;

/// Every survivor that a few hundred losses of power leave of `image`.
fn survivors(image: &Image) -> Vec<Vec<u8>> {
    let mut chance = Chance::new(1, "image");
    let lose = |_| {
        let mut image = image.clone();
        image.lose_power(&mut chance);
        image.current().to_vec()
    };
    (0..400).map(lose).collect()
}

#[test]
fn flushed_bytes_survive() {
    let mut image = Image::default();
    image.write(0, &[1; 2000]);
    image.flush();
    assert!(survivors(&image).iter().all(|bytes| bytes == &[1; 2000]));
}

#[test]
fn unflushed_bytes_are_dropped_kept_and_torn_between_sectors() {
    let mut image = Image::flushed(vec![1; 1024]);
    image.write(0, &[2; 1024]);
    let survivors = survivors(&image);
    let mixed = [vec![1; 512], vec![2; 512]].concat();
    for expected in [vec![1; 1024], vec![2; 1024], mixed] {
        assert!(survivors.contains(&expected));
    }
    let halves = survivors.iter().flat_map(|bytes| [&bytes[..512], &bytes[512..]]);
    assert!(halves.into_iter().all(|half| half.iter().all(|byte| *byte == half[0])));
}

#[test]
fn a_cut_that_was_not_flushed_may_be_undone_and_what_grew_is_zero_or_written() {
    let mut image = Image::flushed(vec![1; 512]);
    image.resize(0);
    image.write(512, &[3; 512]);
    let survivors = survivors(&image);
    assert!(survivors.contains(&vec![1; 512]));
    assert!(survivors.contains(&vec![]));
    assert!(survivors.contains(&[vec![0; 512], vec![3; 512]].concat()));
    assert!(survivors.contains(&vec![0; 1024]));
}

#[test]
fn what_a_failed_flush_left_is_not_saved_by_the_next() {
    let mut image = Image::flushed(vec![1; 512]);
    image.write(0, &[2; 512]);
    image.abandon();
    image.flush();
    assert!(survivors(&image).contains(&vec![1; 512]));
}

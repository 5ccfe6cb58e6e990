//! Which bits flip.

use log::testing::MemDisk;

use super::{SOUND_BYTES, flip};
use crate::chance::Chance;

#[test]
fn the_end_of_the_log_stays_as_it_is() {
    let mut chance = Chance::new(1, "rot");
    let disk = MemDisk::new();
    disk.put("1.log", vec![1; 2000]);
    assert!(!flip(&disk, &mut chance));
    let mut second = vec![1; SOUND_BYTES];
    second.resize(3 * SOUND_BYTES, 0);
    disk.put("2.log", second.clone());
    let mut flipped = 0;
    for _ in 0..50 {
        assert!(flip(&disk, &mut chance));
        flipped += usize::from(disk.bytes("1.log") != vec![1; 2000]);
        assert_eq!(disk.bytes("2.log"), second);
    }
    assert!(flipped > 25, "{flipped}");
}

//! A disk in memory that crashes on purpose, for this crate's tests and for the simulator.

mod mem_disk;

pub use mem_disk::MemDisk;

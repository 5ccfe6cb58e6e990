//! The built `quorlite` against servers that the tests own: what it counts, and which lies it catches.

mod bench;
mod command;
mod server;

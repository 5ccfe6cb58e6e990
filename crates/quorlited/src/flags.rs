//! The command line, Go style: one table, one parser, one usage text.
//!
//! Knows names, kinds and defaults of flags, and nothing of what they mean together: that is [`crate::config`].
//!
//! ```text
//!  words ──parse──► Parsed (values by name, what was given, positional words) ──► config ──► Config
//!    └────────────► Help, Version, or Misuse with its text and exit code
//! ```

pub mod parse;
pub mod table;
pub mod usage;

#[cfg(test)]
mod tests;

pub use parse::{Misuse, Parsed, Value, parse};
pub use table::{Flag, Kind, Support, TABLE};

//! The consensus room from inside: its bytes, its tail, its settings, and openraft's own storage suite.

mod bytes;
mod kept;
mod members;
mod pipeline;
mod settings;
mod snapshot;
mod suite;
mod tail;
mod waiter;

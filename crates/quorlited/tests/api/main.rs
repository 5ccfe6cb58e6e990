//! The real binary, from outside: its command line, one node, three nodes.

mod cli;
mod cluster;
mod node;
mod server;

//! Tests of the port: frames against every split and damage, connections against garbage.

mod frames;
mod sockets;

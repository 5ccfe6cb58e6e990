//! What clients do, what they are told, and whether that can be true: shared by the simulator and by the siege of real
//! processes.
//!
//! ```text
//!  chance ─► workload, exotic ─► a cluster ─► history ─► checker ─┬─ linearizability: registers
//!                                                                 └─ lists: transactions on lists
//! ```
//!
//! Black box: it knows SQL and answers, and no node.

pub mod chance;
pub mod checker;
pub mod counts;
pub mod exotic;
pub mod history;
pub mod linearizability;
pub mod lists;
pub mod workload;

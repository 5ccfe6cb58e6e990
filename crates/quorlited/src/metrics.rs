//! What is measured, and the text in which it is told.

pub mod process;
pub mod text;

//! A world built for each test: an empty environment, a folder of its own, the binary under test.

pub mod command;
pub mod pipeline;
pub mod plans;
pub mod random;

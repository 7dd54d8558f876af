//! A world built for each test: an empty environment, a folder of its own, the binary under test.

pub mod command;

//! Tests that read files or see the crate from outside; one binary, so that it links once.

mod corpora;
mod plan;

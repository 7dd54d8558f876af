//! Everything that needs no server.

mod corpora;
mod golden;
mod layers;
mod support;

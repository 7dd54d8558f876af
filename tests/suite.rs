//! Everything that needs no server.

mod adversary;
mod answers;
mod automation;
mod corpora;
mod diff;
mod files;
mod golden;
mod hostile;
mod laws;
mod layers;
mod lease;
mod limits;
mod oracle;
mod plan;
mod readme;
mod review;
mod simulation;
mod snapshots;
mod trust;

#[path = "support"]
mod support {
    pub mod command;
    pub mod edits;
    pub mod pairs;
    pub mod pipeline;
    pub mod plans;
    pub mod random;
    pub mod semantics;
    pub mod simulated;
    pub mod worlds;
}

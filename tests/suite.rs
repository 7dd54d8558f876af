//! Everything that needs no server.

mod answers;
mod automation;
mod corpora;
mod diff;
mod files;
mod golden;
mod hostile;
mod laws;
mod layers;
mod limits;
mod oracle;
mod plan;
mod readme;
mod review;
mod snapshots;
mod trust;

#[path = "support"]
mod support {
    pub mod command;
    pub mod pipeline;
    pub mod plans;
    pub mod random;
    pub mod worlds;
}

//! hostguard, as a pipeline.

pub mod apply;
pub mod aws;
pub mod calico;
pub mod changes;
pub mod cli;
pub mod cmd;
pub mod compile;
pub mod diff;
pub mod error;
pub mod escape;
pub mod expect;
pub mod exposure;
pub mod graph;
pub mod history;
pub mod inventory;
pub mod net;
pub mod plan;
pub mod provider;
pub mod render;
pub mod resource;
pub mod selector;
pub mod sequence;
pub mod source;
pub mod standing;
pub mod state;

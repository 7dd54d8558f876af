//! hostguard, as a pipeline.

pub mod calico;
pub mod error;
pub mod net;
pub mod plan;
pub mod resource;
pub mod selector;
pub mod source;

pub mod calico;
pub mod net;
pub mod selector;
pub mod source;

//! The live tier: what only a real API server can tell us.
//!
//! `make test` builds the server and runs these; without it each test says that it did not run.

#[path = "support"]
mod support {
    pub mod aggregated;
    pub mod audit;
    pub mod automatic_host_endpoint;
    pub mod aws;
    pub mod baseline;
    pub mod cluster;
    pub mod command;
    pub mod control_plane;
    pub mod fault_proxy;
    pub mod faulty;
    pub mod forge;
    pub mod host_endpoint_controller;
    pub mod kinds;
    pub mod kubectl;
    pub mod live;
    pub mod metadata;
    pub mod pieces;
    pub mod pipeline;
    pub mod plans;
    pub mod rest;
    pub mod script;
    pub mod semantics;
    pub mod tunnel;
    pub mod world;
}

#[path = "live"]
mod live {
    mod admission;
    mod aws;
    mod canaries;
    mod cloud;
    mod connections;
    mod controller;
    mod crds;
    mod faults;
    mod faults_table;
    mod killed;
    mod looking;
    mod moving;
    mod order;
    mod owners;
    mod permissions;
    mod proxy;
    mod racing;
    mod refusals;
    mod refused;
    mod reports;
    mod requests;
    mod semantics;
    mod server;
    mod serving;
    mod watched;
    mod workshop;
}

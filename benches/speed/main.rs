//! How fast and how large, in one table: beside kubectl or terraform where they do the same work.
//!
//! `make bench` runs all of it, `cargo bench -- engine start` parts of it. Nothing here is a test: figures depend on the
//! machine, and no run fails for being slow.

#[allow(dead_code)] // shared with the tests, which use the rest
#[path = "../../tests/support"]
mod support {
    pub mod aggregated;
    pub mod audit;
    pub mod command;
    pub mod control_plane;
    pub mod fault_proxy;
    pub mod kinds;
    pub mod kubectl;
    pub mod pieces;
    pub mod pipeline;
    pub mod plans;
    pub mod rest;
    pub mod script;
    pub mod world;
}

mod apply;
mod engine;
mod exposure;
mod forms;
mod kubectl;
mod measure;
mod memory;
mod proof;
mod size;
mod start;
mod terraform;

/// Measures, and gives the rows of the table.
type Part = fn() -> Vec<measure::Row>;

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let parts: [(&str, Part); 10] = [
        ("start", start::rows),
        ("engine", engine::rows),
        ("apply", apply::rows),
        ("terraform", terraform::rows),
        ("exposure", exposure::rows),
        ("proof", proof::rows),
        ("forms", forms::rows),
        ("memory", memory::rows),
        ("kubectl", kubectl::rows),
        ("size", size::rows),
    ];
    let mut rows = Vec::new();
    for (name, part) in parts {
        if asked.is_empty() || asked.iter().any(|one| one == name) {
            eprintln!("{name} ...");
            rows.extend(part());
        }
    }
    print!("{}", measure::table(&rows));
}

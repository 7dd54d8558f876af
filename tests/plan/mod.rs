//! The plan language from outside: what people are told, that nothing is told too late, and that no text can hurt.

mod fuzz;
mod law;
mod mistakes;
mod schema;

use std::path::{Path, PathBuf};

use hostguard::error::{Diagnostic, Severity};
use hostguard::plan::{Document, Given, Lookups};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The files of a folder with this ending, sorted by name.
fn files(name: &str, ending: &str) -> Vec<PathBuf> {
    let folder = folder(name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable entry").path()).collect();
    files.retain(|path| path.to_string_lossy().ends_with(ending));
    files.sort();
    files
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Errors and warnings, with nothing given.
fn problems(text: &str) -> Vec<Diagnostic> {
    let document = Document::read("plan.yaml", text.as_bytes());
    match document.the_plan(&Given::default(), &Lookups::Pending) {
        Ok(plan) => plan.warnings().to_vec(),
        Err(problems) => problems,
    }
}

fn errors(text: &str) -> Vec<Diagnostic> {
    problems(text)
        .into_iter()
        .filter(|problem| problem.severity == Severity::Error)
        .collect()
}

//! Answers recorded from Calico's own code, and that ours are the same.
//!
//! The folder in `HOSTGUARD_CORPORA`, when set, may hold more files of the same form: `selectors*.jsonl.gz`,
//! `validation*.jsonl.gz` and `packets*.jsonl.gz`.

mod packets;
mod selectors;
mod validation;

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The cases of every `<prefix>*.jsonl.gz`, the recorded files first.
fn cases(prefix: &str) -> Vec<(String, Value)> {
    let mut files = named(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpora"), prefix);
    if let Some(folder) = std::env::var_os("HOSTGUARD_CORPORA") {
        files.extend(named(Path::new(&folder), prefix));
    }
    files.iter().flat_map(|file| read(file)).collect()
}

fn named(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let named = |p: &PathBuf| {
        let name = p.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with(prefix) && name.ends_with(".jsonl.gz")
    };
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|e| e.expect("a readable entry").path())
        .filter(named)
        .collect();
    files.sort();
    files
}

fn read(file: &Path) -> Vec<(String, Value)> {
    let bytes = std::fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(bytes.as_slice())
        .read_to_string(&mut text)
        .unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let case = |line: &str| {
        let case: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        (format!("{name}#{}", case["id"]), case)
    };
    text.lines().map(case).collect()
}

//! The fence: which module may use which, who may name which crate, how long a file may be.
//!
//! Works on the files' text. It is a fence against accidents; the table changes in the commit that needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Modules in topological order, each with what it may use beside itself.
const LAYERS: &[(&str, &str)] = &[
    ("net", ""),
    ("source", ""),
    ("escape", ""),
    ("expression", ""),
    ("selector", "source"),
    ("calico", "net selector source"),
    ("error", "source calico escape"),
    ("resource", "source"),
    ("aws", "net resource"),
    ("changes", "resource"),
    ("graph", "resource changes error"),
    ("inventory", "resource changes"),
    ("history", "resource changes inventory"),
    ("state", "resource changes inventory net selector calico"),
    ("plan", "source net selector resource calico error expression"),
    (
        "compile",
        "plan resource graph state changes inventory history calico net selector error source aws",
    ),
    (
        "diff",
        "compile resource graph state changes inventory calico net selector error",
    ),
    ("exposure", "net selector resource state changes calico source aws"),
    ("expect", "net plan compile resource source state exposure"),
    ("sequence", "changes resource selector state expect exposure net aws"),
    (
        "gate",
        "net selector plan resource source state exposure changes error expression",
    ),
    ("provider", "resource state changes inventory history net error aws"),
    (
        "apply",
        "resource state changes inventory history sequence provider error",
    ),
    ("standing", "apply changes exposure net resource sequence state"),
    (
        "render",
        "source net escape error changes diff graph history plan resource state exposure expect sequence gate apply",
    ),
    ("cli", ""),
    (
        "cmd",
        "apply calico changes cli compile diff error escape expect exposure gate history inventory net plan provider render resource sequence source standing state",
    ),
    ("main", "cli cmd error"),
    ("lib", ""),
];

/// A word, and the places (path prefixes below src/) that may name it.
const WORDS: &[(&str, &[&str])] = &[
    ("granit_parser", &["plan/yaml.rs"]),
    ("serde_saphyr", &["render/fields.rs"]),
    ("petgraph", &["graph.rs"]),
    ("similar::", &["render/fields.rs"]),
    ("clap::", &["cli.rs", "main.rs"]),
    ("cel::", &["expression/"]),
    ("miette", &["error/", "main.rs"]),
    ("kube::", &["provider/cluster/"]),
    ("k8s_openapi", &["provider/cluster/"]),
    ("tower::", &["provider/cluster/"]),
    ("aws_smithy", &["provider/http/transport.rs"]),
    ("hyper_util", &["provider/http/transport.rs"]),
    ("rustls::", &["provider/http/transport.rs"]),
    ("flate2", &["inventory.rs", "provider/cluster/tests/"]),
    ("aws_config", &["provider/aws/"]),
    ("aws_sigv4", &["provider/aws/sign.rs"]),
    ("quick_xml", &["provider/aws/", "render/junit.rs"]),
    ("tokio::", &["main.rs", "apply/", "provider/", "cmd/carry.rs"]),
    ("std::fs", &["cmd/", "main.rs", "provider/"]),
    ("std::env", &["cmd/", "main.rs", "provider/"]),
    ("std::process", &["cmd/", "main.rs", "provider/"]),
    ("Timestamp::now", &["cmd/"]),
    ("SystemTime", &[]),
    // two providers behind one perform each change through its owner
    (".perform(", &["apply/", "provider/with_cloud.rs"]),
    ("println!", &[]),
    ("eprintln!", &[]),
    ("print!", &[]),
    ("HashMap", &[]),
    ("HashSet", &[]),
    ("todo!", &[]),
    ("unimplemented!", &[]),
    ("dbg!", &[]),
    ("#[ignore", &[]),
];

const MOST_LINES: usize = 600;

fn source_files() -> BTreeMap<String, String> {
    fn walk(at: &Path, root: &Path, files: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(at).expect("src can be read") {
            let path: PathBuf = entry.expect("src can be read").path();
            if path.is_dir() {
                walk(&path, root, files);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path
                    .strip_prefix(root)
                    .expect("below src")
                    .to_string_lossy()
                    .into_owned();
                files.insert(
                    name,
                    production(&std::fs::read_to_string(&path).expect("a source file is text")),
                );
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    walk(&root, &root, &mut files);
    // test modules in files of their own are not production
    files.retain(|name, _| !name.ends_with("/tests.rs"));
    files
}

/// Without the trailing test module and without comments.
fn production(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let without = |line: &str| {
        if line.trim_start().starts_with("//") {
            String::new()
        } else {
            line.to_string()
        }
    };
    text.lines().map(without).collect::<Vec<_>>().join("\n")
}

fn module_of(file: &str) -> &str {
    file.split('/').next().unwrap_or_default().trim_end_matches(".rs")
}

/// Names after `crate::` (after `hostguard::` in main), brace groups included.
fn used(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for prefix in ["crate::", "hostguard::"] {
        for (at, _) in text.match_indices(prefix) {
            let rest = &text[at + prefix.len()..];
            let group = rest
                .strip_prefix('{')
                .map(|inner| inner.split('}').next().unwrap_or_default());
            for part in group.unwrap_or(rest).split(',') {
                let name: String = part
                    .trim()
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                names.insert(name);
                if group.is_none() {
                    break;
                }
            }
        }
    }
    names
}

#[test]
fn modules_use_only_what_their_layer_may() {
    let table: BTreeMap<&str, BTreeSet<&str>> = LAYERS
        .iter()
        .map(|(module, may)| (*module, may.split(' ').collect()))
        .collect();
    let mut wrong = Vec::new();
    for (file, text) in source_files() {
        let module = module_of(&file);
        let Some(may) = table.get(module) else {
            wrong.push(format!("{file}: module {module} is not in the table"));
            continue;
        };
        for name in used(&text).iter().filter(|name| table.contains_key(name.as_str())) {
            if name != module && !may.contains(name.as_str()) {
                wrong.push(format!("{file}: {module} may not use {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_layers_have_no_cycle() {
    for (at, (module, may)) in LAYERS.iter().enumerate() {
        for name in may.split(' ').filter(|name| !name.is_empty()) {
            let below = LAYERS[..at].iter().any(|(earlier, _)| *earlier == name);
            assert!(below, "{module} uses {name}, which is not below it");
        }
    }
}

#[test]
fn words_stand_only_where_they_may() {
    let mut wrong = Vec::new();
    for (file, text) in source_files() {
        for (word, places) in WORDS {
            for (at, _) in text.match_indices(word) {
                let joined = text[..at]
                    .chars()
                    .next_back()
                    .is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
                if !joined && !places.iter().any(|place| file.starts_with(place)) {
                    wrong.push(format!("{file}: names {word}"));
                }
            }
        }
        if file
            .split('/')
            .any(|part| ["util", "common", "helpers", "misc"].contains(&part.trim_end_matches(".rs")))
        {
            wrong.push(format!("{file}: is no name for a concept"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_short_and_say_their_job() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for (file, text) in source_files() {
        let lines = text.lines().count();
        if lines > MOST_LINES {
            wrong.push(format!("{file}: {lines} production lines, at most {MOST_LINES}"));
        }
        let whole = std::fs::read_to_string(root.join(&file)).expect("read above");
        if !whole.starts_with("//!") {
            wrong.push(format!("{file}: does not open with its job"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

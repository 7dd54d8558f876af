//! What the API server was asked: the entries of its audit log, oldest first.
//!
//! The proof that something wrote nothing, or read no Secret, is made from these.

use serde_json::Value;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::rest::Rest;

/// One answered request.
#[derive(Clone, Debug)]
pub struct Entry {
    pub user: String,
    pub agent: String,
    pub verb: String,
    pub uri: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub status: u64,
}

pub struct Audit<'a> {
    pub(super) log: PathBuf,
    pub(super) rest: &'a Rest,
}

impl Audit<'_> {
    /// A place in the log: every request answered before this call lies before it.
    pub fn mark(&self) -> usize {
        static MARKS: AtomicUsize = AtomicUsize::new(0);
        let marker = format!("/version?mark={}", MARKS.fetch_add(1, Ordering::Relaxed));
        self.rest.get(&marker).ok();
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if let Some(at) = self.entries().iter().rposition(|e| e.uri == marker) {
                return at + 1;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the audit log {} does not show the marker request", self.log.display())
    }

    /// The requests since a mark, without the tests' own (they name themselves `tests-of-hostguard`) and the server's.
    pub fn since(&self, mark: usize) -> Vec<Entry> {
        let until = self.mark();
        let mut entries = self.entries();
        entries.truncate(until);
        entries.drain(..mark);
        entries.retain(|e| e.agent != "tests-of-hostguard" && !e.user.starts_with("system:"));
        entries
    }

    fn entries(&self) -> Vec<Entry> {
        let text = std::fs::read_to_string(&self.log).expect("the audit log");
        let whole = text.rfind('\n').map_or("", |end| &text[..end]); // the last line may be half-written
        whole.lines().map(Entry::parse).collect()
    }
}

impl Entry {
    fn parse(line: &str) -> Entry {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("audit log: {e}: {line}"));
        let text = |value: &Value| value.as_str().unwrap_or("").to_string();
        let object = &event["objectRef"];
        Entry {
            user: text(&event["user"]["username"]),
            agent: text(&event["userAgent"]),
            verb: text(&event["verb"]),
            uri: text(&event["requestURI"]),
            resource: text(&object["resource"]),
            subresource: text(&object["subresource"]),
            namespace: text(&object["namespace"]),
            name: text(&object["name"]),
            status: event["responseStatus"]["code"].as_u64().unwrap_or(0),
        }
    }

    /// Whether it could have changed something that is stored: reviews of access are creates that store nothing.
    pub fn writes(&self) -> bool {
        let reads = ["get", "list", "watch"].contains(&self.verb.as_str());
        !reads && !self.resource.ends_with("reviews") && !self.uri.contains("dryRun=All")
    }
}

//! A file as the world: read, and written through `State::after` and `State::settled`.
//!
//! The embedded default. Written whole and atomically (temporary file, fsync, rename), so that a run killed anywhere
//! leaves the file of before or of after a step.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use async_trait::async_trait;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Denied, OwnLock, Provider, Refusal, Why};
use crate::changes::{Change, Op, hex_digest};
use crate::error::{Error, codes};
use crate::resource::{Key, Kind};
use crate::state::{ClusterFacts, Listing, Observed, Played, Reason, Scope, Serving, State, Unreadable};

/// The format this binary writes, and the newest it reads.
pub const FORMAT: u32 = 1;

/// A lock file; it goes with the lock.
struct LockFile {
    path: PathBuf,
    _file: std::fs::File,
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // One that stays is locked by nobody, which is as good.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A file that holds a state. Read again for every call: other processes may write it too.
pub struct Snapshot {
    path: PathBuf,
    /// As the user wrote it.
    shown: PathBuf,
    /// What was read when it was opened, for the first read.
    opened: Mutex<Option<Held>>,
}

struct Held {
    state: State,
    time: String,
    /// It had a digest, which fits.
    sealed: bool,
}

/// The file, as JSON has it. Keys are sorted, so equal states are equal bytes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<Objects> {
    /// Always first for people: this is a hostguard snapshot of that format.
    hostguard_snapshot: u32,
    /// Over the file without this line; see [`seal`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    /// When it was taken, RFC 3339 UTC.
    time: String,
    cluster: Facts,
    /// Every kind that was asked for; one that is missing was not read.
    kinds: BTreeMap<String, Coverage>,
    /// API objects by `Kind/name` or `Kind/namespace/name`.
    objects: Objects,
}

/// The objects of a file, each taken in when it comes: a large file is never held whole as JSON.
#[derive(Default)]
struct Objects {
    listings: BTreeMap<Kind, Listing>,
    /// The first thing that is wrong with them.
    broken: Option<String>,
}

impl Objects {
    fn add(&mut self, text: &str, object: Value) -> Result<(), String> {
        let key = Key::parse(text).ok_or_else(|| format!("`{text}` is not a key"))?;
        if Key::of(key.kind, &object).as_ref() != Some(&key) {
            return Err(format!("the object at `{text}` has another name"));
        }
        let listing = self.listings.entry(key.kind);
        listing.or_insert_with(|| Listing::new(key.kind)).add(object);
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Objects {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Objects, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Objects;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("objects by key")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Objects, M::Error> {
                let mut objects = Objects::default();
                while let Some((key, object)) = map.next_entry::<String, Value>()? {
                    if let Err(why) = objects.add(&key, object) {
                        objects.broken.get_or_insert(why);
                    }
                }
                Ok(objects)
            }
        }
        from.deserialize_map(Each)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    name: String,
    /// `aggregated`, `native`, `v1-only` or `not-installed`.
    serving: String,
    /// Properties of FelixConfiguration's spec in the served schema; null when it could not be read.
    felix_fields: Option<BTreeSet<String>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Coverage {
    /// `listed`, or why it could not be.
    read: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    detail: String,
}

const LISTED: &str = "listed";

impl Snapshot {
    /// Opens a file that must be there, and be one.
    pub fn open(path: &Path) -> Result<Snapshot, Error> {
        // what a link points to is what is written
        let real = std::fs::canonicalize(path).map_err(|e| unreadable(path, &e.to_string()))?;
        if !real.is_file() {
            return Err(unreadable(path, "it is not a regular file"));
        }
        let mut snapshot = Snapshot {
            path: real,
            shown: path.to_path_buf(),
            opened: Mutex::default(),
        };
        snapshot.opened = Mutex::new(Some(snapshot.load()?));
        Ok(snapshot)
    }

    /// When it was taken, as the file has it.
    pub fn time(&self) -> Result<String, Error> {
        match &*self.opened.lock().expect("no panic while held") {
            Some(held) => Ok(held.time.clone()),
            None => Ok(self.load()?.time),
        }
    }

    fn load(&self) -> Result<Held, Error> {
        let bytes = std::fs::read(&self.path).map_err(|e| unreadable(&self.shown, &e.to_string()))?;
        let mut held = decode(&bytes).map_err(|why| why.error(&self.shown.display().to_string()))?;
        // What was done to the cluster is not in a snapshot of it: the history of the file is its own.
        if !held.state.coverage().contains_key(&Kind::Run) {
            held.state.listed(Kind::Run, Vec::new()).expect("nothing is nameless");
        }
        Ok(held)
    }

    /// The file beside it that is locked while a plan is applied to it.
    fn lock_file(&self, plan: &str) -> PathBuf {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        self.path.with_file_name(format!(".{name}.{plan}.lock"))
    }

    fn try_lock(&self, plan: &str, holder: &str) -> std::io::Result<OwnLock> {
        use std::os::unix::fs::MetadataExt;
        let path = self.lock_file(plan);
        loop {
            let mut options = std::fs::File::options();
            let mut file = options
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(std::fs::TryLockError::WouldBlock) => {
                    let mut text = String::new();
                    file.read_to_string(&mut text)?;
                    return Ok(OwnLock::Held(text));
                }
                Err(std::fs::TryLockError::Error(e)) => return Err(e),
            }
            // whoever had it before may have taken the file away meanwhile
            if std::fs::metadata(&path).is_ok_and(|there| there.ino() == file.metadata().map_or(0, |ours| ours.ino())) {
                file.set_len(0)?;
                file.rewind()?;
                file.write_all(holder.as_bytes())?;
                return Ok(OwnLock::Taken(Box::new(LockFile { path, _file: file })));
            }
        }
    }

    /// The file, locked against other writers until the handle is dropped. A writer that renamed another file into
    /// place meanwhile leaves a lock on a file that is no longer there; then the new one is locked.
    fn locked(&self) -> std::io::Result<std::fs::File> {
        use std::os::unix::fs::MetadataExt;
        loop {
            let file = std::fs::File::options().read(true).write(true).open(&self.path)?;
            file.lock()?;
            if file.metadata()?.ino() == std::fs::metadata(&self.path)?.ino() {
                return Ok(file);
            }
        }
    }
}

fn unreadable(path: &Path, why: &str) -> Error {
    Error::failed(
        codes::SNAPSHOT_UNREADABLE,
        format!("snapshot {} cannot be read", path.display()),
    )
    .cause(why.to_string())
    .fix("make one with `hostguard snapshot --out FILE`")
}

/// The bytes of a snapshot: pretty JSON with sorted keys and a newline at the end. Without a digest, for a place where
/// something else vouches for them.
pub fn encode(state: &State, time: &str) -> Vec<u8> {
    let kinds = state.coverage().iter().map(|(kind, why)| {
        let coverage = match why {
            None => Coverage {
                read: LISTED.into(),
                detail: String::new(),
            },
            Some(why) => Coverage {
                read: why.reason.as_str().into(),
                detail: why.detail.clone(),
            },
        };
        (kind.name().to_string(), coverage)
    });
    let file = File {
        hostguard_snapshot: FORMAT,
        digest: None,
        time: time.to_string(),
        cluster: Facts {
            name: state.facts.name.clone(),
            serving: state.facts.serving.as_str().into(),
            felix_fields: state.facts.felix_fields.clone(),
        },
        kinds: kinds.collect(),
        objects: state
            .objects()
            .map(|(key, object)| (key.to_string(), object))
            .collect::<BTreeMap<_, _>>(),
    };
    let mut bytes = serde_json::to_vec_pretty(&file).expect("a snapshot is plain data");
    bytes.push(b'\n');
    bytes
}

/// The same bytes with their digest in a line of its own, so that any tool can ask whether it fits: SHA-256 over all
/// other lines. It tells of slips (a hand edit, a cut file, a formatter); who means to forge can work it out again.
pub fn seal(bytes: Vec<u8>) -> Vec<u8> {
    let head = bytes
        .split_inclusive(|byte| *byte == b'\n')
        .take(2)
        .map(<[u8]>::len)
        .sum();
    let line = digest_line(&sha256(&[&bytes]));
    [&bytes[..head], line.as_bytes(), &bytes[head..]].concat()
}

fn digest_line(digest: &str) -> String {
    format!("  \"digest\": \"{digest}\",\n")
}

fn sha256(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let digits = hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    format!("sha256:{digits}")
}

/// Whether these are the bytes that were sealed with this digest.
fn fits(bytes: &[u8], digest: &str) -> bool {
    let line = digest_line(digest);
    let at = bytes.windows(line.len()).position(|part| part == line.as_bytes());
    at.is_some_and(|at| sha256(&[&bytes[..at], &bytes[at + line.len()..]]) == digest)
}

/// Writes a file whole or not at all. A link is followed; what is there and is no regular file (a device, a pipe) is
/// written to, not replaced.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    if path.exists() {
        let mut there = std::fs::File::options().write(true).open(path)?; // read-only is respected
        if !path.is_file() {
            return there.write_all(bytes);
        }
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}.tmp", std::process::id()));
    let written = (|| {
        let mut file = std::fs::File::create(&temporary)?;
        if let Ok(old) = std::fs::metadata(path) {
            file.set_permissions(old.permissions())?;
        }
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        std::fs::File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary); // the first error is the one to tell
    }
    written
}

enum Unusable {
    Newer(u32),
    /// Its content does not fit its digest.
    Edited,
    Broken(String),
}

impl Unusable {
    fn error(self, path: &str) -> Error {
        match self {
            Unusable::Newer(found) => Error::failed(
                codes::SNAPSHOT_NEWER,
                format!("snapshot {path} has format {found}, this hostguard reads up to {FORMAT}"),
            )
            .fix("use the newer hostguard that wrote it"),
            Unusable::Edited => Error::failed(
                codes::SNAPSHOT_EDITED,
                format!("snapshot {path} does not fit its digest: it was edited or cut after it was taken"),
            )
            .consequence("what was read from it would be shown as what is in the cluster")
            .fix("take a new one with `hostguard snapshot --out FILE`, and keep formatters and line ends away from it"),
            Unusable::Broken(detail) => {
                Error::failed(codes::SNAPSHOT_BROKEN, format!("{path} is not a hostguard snapshot"))
                    .cause(detail)
                    .fix("make one with `hostguard snapshot --out FILE`")
            }
        }
    }
}

/// The state in the bytes of a snapshot.
pub fn decode_state(bytes: &[u8]) -> Result<State, String> {
    match decode(bytes) {
        Ok(held) => Ok(held.state),
        Err(Unusable::Newer(found)) => Err(format!(
            "a snapshot of format {found}, this hostguard reads up to {FORMAT}"
        )),
        Err(Unusable::Edited) => Err("a snapshot that was edited".to_string()),
        Err(Unusable::Broken(why)) => Err(why),
    }
}

fn decode(bytes: &[u8]) -> Result<Held, Unusable> {
    #[derive(Deserialize)]
    struct Head {
        hostguard_snapshot: u32,
    }
    let broken = |e: serde_json::Error| Unusable::Broken(e.to_string());
    let whole: Result<File<Objects>, _> = serde_json::from_slice(bytes);
    let newer = |format: u32| (format > FORMAT).then_some(Unusable::Newer(format));
    let mut file = match whole {
        Ok(file) => match newer(file.hostguard_snapshot) {
            Some(why) => return Err(why),
            None => file,
        },
        // a newer format may have fields that this one has not
        Err(error) => {
            let head: Head = serde_json::from_slice(bytes).map_err(broken)?;
            return Err(newer(head.hostguard_snapshot).unwrap_or(broken(error)));
        }
    };
    if file.digest.as_deref().is_some_and(|digest| !fits(bytes, digest)) {
        return Err(Unusable::Edited);
    }
    let serving = Serving::ALL.into_iter().find(|s| s.as_str() == file.cluster.serving);
    let serving =
        serving.ok_or_else(|| Unusable::Broken(format!("serving `{}` is not known", file.cluster.serving)))?;
    let facts = ClusterFacts {
        snapshot: None,
        name: file.cluster.name,
        serving,
        felix_fields: file.cluster.felix_fields,
    };
    let mut state = State::new(facts);
    if let Some(why) = file.objects.broken.take() {
        return Err(Unusable::Broken(why));
    }
    let mut listings = file.objects.listings;
    for (name, coverage) in file.kinds {
        let kind = Kind::parse(&name).ok_or_else(|| Unusable::Broken(format!("kind `{name}` is not known")))?;
        if coverage.read == LISTED {
            let listing = listings.remove(&kind).unwrap_or_else(|| Listing::new(kind));
            state.take(listing).map_err(Unusable::Broken)?;
            continue;
        }
        let reason = Reason::ALL.into_iter().find(|reason| reason.as_str() == coverage.read);
        let reason = reason.ok_or_else(|| Unusable::Broken(format!("`{}` is no reason", coverage.read)))?;
        state.unreadable(
            kind,
            Unreadable {
                reason,
                detail: coverage.detail,
            },
        );
    }
    match listings.into_keys().next() {
        Some(kind) => Err(Unusable::Broken(format!(
            "there are objects of kind {kind}, which was not listed"
        ))),
        None => Ok(Held {
            state,
            time: file.time,
            sealed: file.digest.is_some(),
        }),
    }
}

#[async_trait]
impl Provider for Snapshot {
    fn owns(&self, _: Kind) -> bool {
        true
    }

    /// Everything the file holds: more than the scope is no harm, less is "not read".
    async fn read(&self, _: &Scope) -> Result<State, Error> {
        let opened = self.opened.lock().expect("no panic while held").take();
        let Held {
            mut state,
            time,
            sealed,
        } = opened.map_or_else(|| self.load(), Ok)?;
        state.facts.snapshot = Some(Played {
            file: self.shown.display().to_string(),
            time,
            sealed,
        });
        Ok(state)
    }

    /// A file has no users.
    async fn may(&self, _: &[&Change]) -> Result<Vec<Denied>, Error> {
        Ok(Vec::new())
    }

    fn lock(&self, plan: &str, holder: &str) -> OwnLock {
        self.try_lock(plan, holder)
            .unwrap_or_else(|e| OwnLock::Failed(format!("{}: {e}", self.lock_file(plan).display())))
    }

    async fn perform(&self, change: &Change) -> Result<Option<Value>, Refusal> {
        let other = |message: String| Refusal {
            why: Why::Other,
            message,
        };
        let failed = |e: std::io::Error| other(format!("{}: {e}", self.path.display()));
        let _lock = self.locked().map_err(failed)?;
        let held = self.load().map_err(|e| other(e.message))?;
        check(&held.state, change)?;
        let state = held.state.after(&newborn(change)).settled();
        let bytes = encode(&state, &held.time);
        // A file that people edit stays one.
        let bytes = if held.sealed { seal(bytes) } else { bytes };
        write_atomically(&self.path, &bytes).map_err(failed)?;
        Ok(state.present(&change.key).map(Cow::into_owned))
    }
}

/// What is created has a uid that goes with what it holds: an object that was replaced by another one of its name is not
/// taken for the one that was seen, although a file has no versions that grow for ever.
fn newborn(change: &Change) -> Change {
    let mut change = change.clone();
    if let Op::Create { object } = &mut change.op
        && !change.key.kind.cloud()
        && object.pointer("/metadata/uid").is_none()
    {
        let digest = hex_digest(object);
        let hex = digest.trim_start_matches("sha256:").get(..12).unwrap_or_default();
        object["metadata"]["uid"] = format!("uid-{}-{hex}", change.key.to_string().replace('/', "-")).into();
    }
    change
}

/// The preconditions a server would check.
fn check(state: &State, change: &Change) -> Result<(), Refusal> {
    let refuse = |why, message: String| Err(Refusal { why, message });
    let identity = |object: &Value| {
        let of = |name: &str| object.pointer(&format!("/metadata/{name}")).cloned();
        (of("uid"), of("resourceVersion"))
    };
    match (&change.op, state.get(&change.key)) {
        (_, Observed::Unreadable(why)) => refuse(Why::Denied, format!("{}: {why}", change.key)),
        (Op::Create { .. }, Observed::Absent) => Ok(()),
        (Op::Create { .. }, Observed::Present(_)) => refuse(Why::Changed, format!("{} already exists", change.key)),
        (Op::Update { .. } | Op::Delete { .. }, Observed::Absent) => {
            refuse(Why::Gone, format!("{} not found", change.key))
        }
        (Op::Update { before, .. } | Op::Delete { before }, Observed::Present(object)) => {
            if identity(before) == identity(&object) {
                Ok(())
            } else {
                refuse(Why::Changed, format!("{} has been modified", change.key))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn state() -> State {
        let facts = ClusterFacts {
            snapshot: None,
            name: "c".into(),
            serving: Serving::Native,
            felix_fields: None,
        };
        let mut state = State::new(facts);
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "resourceVersion": "1"}});
        state.listed(Kind::Node, vec![node]).unwrap();
        state.unreadable(
            Kind::Service,
            Unreadable {
                reason: Reason::Forbidden,
                detail: "no rights".into(),
            },
        );
        state
    }

    #[test]
    fn a_snapshot_reads_back_what_it_wrote_byte_for_byte() {
        let bytes = encode(&state(), "2026-01-01T00:00:00Z");
        let Ok(held) = decode(&bytes) else {
            panic!("own bytes decode")
        };
        assert_eq!(held.state, state());
        assert_eq!(encode(&held.state, &held.time), bytes);
    }

    #[test]
    fn the_digest_is_over_every_other_line_and_any_edit_breaks_it() {
        let sealed = seal(encode(&state(), "2026-01-01T00:00:00Z"));
        let text = String::from_utf8(sealed.clone()).unwrap();
        let (lines, digest): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| !line.contains("\"digest\""));
        let rest = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        assert_eq!(
            digest,
            [digest_line(&sha256(&[rest.as_bytes()])).trim_end_matches('\n')]
        );
        let Ok(held) = decode(&sealed) else {
            panic!("own bytes decode")
        };
        assert!(held.sealed && held.state == state());
        let edits: [String; 5] = [
            text.replace("\"n1\"", "\"n1\" "),
            text.replace("01T00", "02T00"),
            text.replace('\n', "\r\n"),
            text.replace("sha256:", "sha256:0"),
            serde_json::from_str::<Value>(&text).unwrap().to_string(),
        ];
        for edited in edits {
            assert_ne!(edited, text);
            assert!(matches!(decode(edited.as_bytes()), Err(Unusable::Edited)), "{edited}");
        }
        // cut anywhere, it is no snapshot any more
        for cut in 0..sealed.len() - 1 {
            assert!(decode(&sealed[..cut]).is_err());
        }
    }

    #[test]
    fn what_is_not_in_the_file_is_unreadable() {
        let Ok(held) = decode(&encode(&state(), "t")) else {
            panic!("own bytes decode")
        };
        let key = Key::cluster(Kind::Tier, "x");
        assert!(matches!(held.state.get(&key), Observed::Unreadable(why) if why.reason == Reason::NotRead));
    }

    #[test]
    fn a_file_that_contradicts_itself_is_refused() {
        let broken = |edit: fn(&mut Value)| {
            let mut file: Value = serde_json::from_slice(&encode(&state(), "t")).unwrap();
            edit(&mut file);
            match decode(file.to_string().as_bytes()) {
                Err(Unusable::Broken(why)) => why,
                Err(Unusable::Newer(format)) => format!("newer {format}"),
                Err(Unusable::Edited) => "edited".into(),
                Ok(_) => "accepted".into(),
            }
        };
        assert_eq!(broken(|f| f["hostguard_snapshot"] = json!(9)), "newer 9");
        assert_eq!(
            broken(|f| f["kinds"] = json!({})),
            "there are objects of kind Node, which was not listed"
        );
        assert_eq!(
            broken(|f| f["objects"]["Node/n2"] = f["objects"]["Node/n1"].clone()),
            "the object at `Node/n2` has another name"
        );
        assert_eq!(
            broken(|f| f["kinds"]["Secret"] = json!({"read": "listed"})),
            "kind `Secret` is not known"
        );
    }
}

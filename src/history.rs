//! What a run did, kept in the cluster: the journal while it goes on, and history once it is over.
//!
//! One ConfigMap a run, beside the inventory and apart from it: what is to be done and the values found are written
//! once, before the first step; after each batch of steps only a line of outcomes is. Bounded: few runs are kept, and
//! of one that would not fit in an object the values found are left out. Knows nothing of how it is stored beyond that
//! shape.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::changes::{Change, FieldChange, Op};
use crate::inventory::{Entry, Inventory, MAX_BYTES, PLAN_LABEL, Unusable, pack, unpack};
use crate::resource::{Key, Kind};

/// The format this binary writes, and the newest it reads.
pub const FORMAT: u32 = 1;
/// On runs only: their number.
pub const RUN_LABEL: &str = "hostguard.dev/run";
/// So many runs of a plan are kept.
pub const KEPT: usize = 10;
/// Failures are told in this many bytes each, and so many of them.
const TOLD: (usize, usize) = (300, 20);

const RUN_KEY: &str = "run.json";
const PROGRESS_KEY: &str = "progress.json";

/// What a run set out to do; written before its first step, and never changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    pub format: u32,
    pub plan: String,
    /// 1 for the first run of a plan.
    pub number: u64,
    /// `apply`, `destroy` or `revert`.
    pub verb: String,
    /// The change set's id.
    pub id: String,
    pub by: By,
    /// RFC 3339, UTC.
    pub started: String,
    /// The number of the lock under which it ran.
    pub fence: u64,
    /// The run that was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverts: Option<u64>,
    /// What opens and what closes, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exposure: Vec<String>,
    /// The namespace of the records, where it was a step too: it was made before there could be an account, and stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_made: Option<String>,
    pub steps: Vec<Step>,
    /// The values found did not fit, so that this run cannot be taken back by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_values: bool,
}

/// Who, where, and from which commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    pub who: String,
    pub host: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// hostguard's version.
    pub tool: String,
}

/// One step, with what takes it back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub key: String,
    pub verb: String,
    /// Values found, by JSON pointer; `null`: there was none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub found: BTreeMap<String, Value>,
    /// Digests of the values written in their place.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub wrote: BTreeMap<String, String>,
    /// The object that was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Value>,
    /// What the record said of the object before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<Entry>,
}

/// How far a run came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub result: Outcome,
    /// RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// A letter a step: `d`one, `f`ailed, `s`kipped, `r`everted, `.` not known.
    pub steps: String,
    /// By place of the step; the first few.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failures: BTreeMap<usize, String>,
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It goes on, or was killed.
    #[default]
    Begun,
    Done,
    /// Some steps were made and others were not.
    Partial,
    /// None was made.
    Failed,
    Interrupted,
    /// It failed, and took back what it had done.
    Reverted,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Begun => "begun, not ended",
            Outcome::Done => "done",
            Outcome::Partial => "in part",
            Outcome::Failed => "failed",
            Outcome::Interrupted => "interrupted",
            Outcome::Reverted => "failed, reverted",
        }
    }
}

/// A run as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    pub intent: Intent,
    pub progress: Progress,
}

impl Step {
    /// With what takes `change` back; `entry` is what the record said of the object, `digest` that of a value written.
    pub fn of(change: &Change, entry: Option<&Entry>, digest: &dyn Fn(&FieldChange) -> String) -> Step {
        let updated = || change.fields.iter().filter(|_| matches!(change.op, Op::Update { .. }));
        Step {
            key: change.key.to_string(),
            verb: change.op.verb().to_string(),
            found: updated()
                .map(|field| (field.path.pointer(), field.before.clone().unwrap_or(Value::Null)))
                .collect(),
            wrote: updated().map(|field| (field.path.pointer(), digest(field))).collect(),
            object: match &change.op {
                Op::Delete { before } => Some(bare(before)),
                Op::Create { .. } | Op::Update { .. } => None,
            },
            entry: entry.cloned(),
        }
    }
}

/// The object as it would be created again.
fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in crate::resource::SET_BY_SERVER {
            metadata.remove(field);
        }
    }
    if let Some(map) = object.as_object_mut() {
        map.remove("status");
    }
    object
}

impl Progress {
    pub fn new(steps: usize) -> Progress {
        Progress {
            steps: ".".repeat(steps),
            ..Progress::default()
        }
    }

    /// Marks a step by its place.
    pub fn mark(&mut self, place: usize, letter: char) {
        let mut letters: Vec<char> = self.steps.chars().collect();
        if let Some(at) = letters.get_mut(place) {
            *at = letter;
        }
        self.steps = letters.into_iter().collect();
    }

    /// Tells why a step failed, as far as there is room.
    pub fn tell(&mut self, place: usize, why: &str) {
        let (length, count) = TOLD;
        if self.failures.len() < count {
            self.failures.insert(place, why.chars().take(length).collect());
        }
    }

    pub fn count(&self, letter: char) -> usize {
        self.steps.chars().filter(|other| *other == letter).count()
    }

    /// What stands in the object, for a patch of it.
    pub fn data(&self) -> Value {
        let text = serde_json::to_string(self).expect("progress is plain data");
        json!({PROGRESS_KEY: text})
    }
}

impl Past {
    /// The steps that were made, as far as is known: those of a run that was killed may have been.
    pub fn made(&self) -> impl Iterator<Item = &Step> {
        let letters = self.progress.steps.chars();
        let made = self.intent.steps.iter().zip(letters);
        made.filter(|(_, letter)| matches!(letter, 'd' | '.'))
            .map(|(step, _)| step)
    }

    pub fn key(namespace: &str, plan: &str, number: u64) -> Key {
        Key::namespaced(
            Kind::Run,
            namespace,
            format!("{}.run-{number}", Inventory::key(namespace, plan).name),
        )
    }

    /// The ConfigMap that holds it. Where the values found make it too large, they are left out.
    pub fn object(&self, namespace: &str) -> Value {
        let Intent { plan, number, .. } = &self.intent;
        let mut object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": Past::key(namespace, plan, *number).name,
                "namespace": namespace,
                "labels": {PLAN_LABEL: plan, RUN_LABEL: number.to_string()},
            },
            "data": self.progress.data(),
        });
        let text = |intent: &Intent| serde_json::to_string(intent).expect("an intent is plain data");
        let mut packed = pack(RUN_KEY, text(&self.intent));
        if packed.to_string().len() + self.progress.steps.len() > MAX_BYTES {
            packed = pack(RUN_KEY, text(&self.intent.without_values()));
        }
        crate::changes::merge(&mut object, &packed);
        object
    }

    /// The run in a ConfigMap; `None` when it is something else.
    pub fn read(object: &Value) -> Option<Result<Past, Unusable>> {
        object.pointer("/metadata/labels")?.get(RUN_LABEL)?;
        Some(Past::parse(object))
    }

    fn parse(object: &Value) -> Result<Past, Unusable> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let broken = |e: serde_json::Error| Unusable::Broken(e.to_string());
        let text = unpack(object, RUN_KEY)?;
        let head: Head = serde_json::from_str(&text).map_err(broken)?;
        if head.format > FORMAT {
            return Err(Unusable::Newer { found: head.format });
        }
        Ok(Past {
            intent: serde_json::from_str(&text).map_err(broken)?,
            progress: serde_json::from_str(&unpack(object, PROGRESS_KEY)?).map_err(broken)?,
        })
    }
}

impl Intent {
    fn without_values(&self) -> Intent {
        let steps = self.steps.iter().map(|step| Step {
            key: step.key.clone(),
            verb: step.verb.clone(),
            ..Step::default()
        });
        Intent {
            steps: steps.collect(),
            without_values: true,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(steps: usize, value: &str) -> Past {
        let step = |at: usize| Step {
            key: format!("Node/n{at}"),
            verb: "update".into(),
            found: [("/metadata/labels/a".to_string(), json!(format!("{value}{at}")))].into(),
            ..Step::default()
        };
        Past {
            intent: Intent {
                format: FORMAT,
                plan: "shop".into(),
                number: 7,
                steps: (0..steps).map(step).collect(),
                ..Intent::default()
            },
            progress: Progress::new(steps),
        }
    }

    #[test]
    fn a_run_reads_back_what_it_wrote_small_and_large() {
        for steps in [2, 20_000] {
            let mut run = past(steps, "before");
            run.progress.mark(1, 'd');
            let object = run.object("hostguard");
            assert!(object.to_string().len() < MAX_BYTES, "{}", object.to_string().len());
            assert_eq!(Past::read(&object), Some(Ok(run)));
        }
        assert_eq!(Past::read(&json!({"metadata": {"labels": {}}})), None);
    }

    #[test]
    fn a_run_that_does_not_fit_keeps_its_steps_and_says_so() {
        let mut noise = 1u64;
        let mut run = past(60_000, "");
        for step in &mut run.intent.steps {
            for value in step.found.values_mut() {
                noise = noise
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                *value = json!(format!(
                    "{noise:x}{:x}{:x}",
                    noise.rotate_left(17),
                    noise.rotate_left(31)
                ));
            }
        }
        let object = run.object("hostguard");
        assert!(object.to_string().len() < MAX_BYTES + 100_000);
        let read = Past::read(&object).expect("a run").expect("it can be read");
        assert!(read.intent.without_values);
        assert_eq!(read.intent.steps.len(), 60_000);
        assert!(read.intent.steps[0].found.is_empty());
    }

    #[test]
    fn failures_are_told_within_bounds() {
        let mut progress = Progress::new(100);
        for place in 0..100 {
            progress.mark(place, 'f');
            progress.tell(place, &"é".repeat(10_000));
        }
        assert_eq!(progress.count('f'), 100);
        assert!(progress.data().to_string().len() < 20_000);
    }
}

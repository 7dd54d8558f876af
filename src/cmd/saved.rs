//! A saved change set: what was approved, in one file.
//!
//! It holds the plan's text with its inputs, the state it was compared with, the steps with what they rest on, and the
//! whole answer. Everything shown from it is worked out again from the first two, so that no answer can say anything
//! else than what is applied; the rest is for reviewers and machines. The digest covers every byte.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::carry::mention;
use super::plan::{Shown, blocked, print, read_now, show_warnings};
use super::prepare::{Intent, Prepared};
use super::{Console, Failure, files, mistaken, stale, world};
use crate::changes::{Change, Op, hex_digest};
use crate::cli::{Apply, Plan, Proposal};
use crate::compile;
use crate::diff::Options;
use crate::error::{Error, Kind, codes};
use crate::plan::{Given, variable};
use crate::provider::snapshot::{decode_state, encode, write_atomically};
use crate::render::{self, Words};
use crate::sequence::Acceptance;
use crate::state::State;

/// The format this binary writes and reads.
const FORMAT: u32 = 1;

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    hostguard_change_set: u32,
    /// SHA-256 over the rest, in canonical form (keys sorted, no spaces).
    digest: String,
    /// Of the steps, as every answer prints it.
    id: String,
    /// hostguard's version.
    tool: String,
    /// RFC 3339, UTC.
    created: String,
    expires: Option<String>,
    plan: Text,
    given: Given,
    options: Choices,
    /// Values that are no objects, by what was asked.
    looked_up: BTreeMap<String, Result<String, String>>,
    /// For reviewers: each step with what it rests on.
    steps: Vec<Value>,
    /// For machines: what `plan -o json` says.
    answer: Value,
    /// A snapshot: what was there.
    observed: Value,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    name: String,
    file: String,
    text: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Choices {
    inventory_namespace: String,
    force_conflicts: Vec<String>,
    accepted: Vec<(String, String)>,
    with_cloud: bool,
    region: Option<String>,
}

/// A change set as it was saved, worked out again.
pub(super) struct Saved {
    pub intent: Intent,
    pub options: Options,
    pub accepted: Vec<Acceptance>,
    pub state: State,
    pub prepared: Prepared,
    pub created: String,
    pub expires: Option<Timestamp>,
    pub tool: String,
    choices: Choices,
    plan: Text,
}

/// Writes what was just shown.
pub(super) fn write(file: &Path, shown: &Shown, args: &Plan, console: &mut dyn Console) -> Result<(), Failure> {
    let Intent::Plan(loaded) = &shown.intent else {
        unreachable!("only a plan is saved");
    };
    let now = Timestamp::now();
    let time = |time: Timestamp| format!("{time:.0}");
    let expires = match args.expires.map(|life| now.checked_add(life)).transpose() {
        Ok(expires) => expires.map(time),
        Err(e) => {
            let error = Error::new(Kind::Usage, codes::USAGE, format!("--expires: {e}"));
            return Err(Failure::from(error.fix("give it less time, such as --expires 7d")));
        }
    };
    let answer = shown.prepared.answer("plan", &shown.intent, &shown.state);
    let mut given = loaded.given.clone();
    let inputs = shown.prepared.plan.inputs.keys().map(|name| variable(name));
    let inputs: Vec<String> = inputs.collect();
    given.env.retain(|name, _| inputs.contains(name));
    let observed = encode(&shown.state.redacted(), &time(now));
    let mut saved = File {
        hostguard_change_set: FORMAT,
        digest: String::new(),
        id: shown.prepared.difference.set.digest(),
        tool: env!("CARGO_PKG_VERSION").to_string(),
        created: time(now),
        expires,
        plan: Text {
            name: shown.prepared.plan.name().to_string(),
            file: loaded.source.name().to_string(),
            text: loaded.source.text().to_string(),
        },
        given,
        options: Choices {
            inventory_namespace: shown.options.inventory_namespace.clone(),
            force_conflicts: args.proposal.force_conflicts.clone(),
            accepted: args.proposal.risk.accepted.clone(),
            with_cloud: args.proposal.world.with_cloud,
            region: args.proposal.world.region.clone(),
        },
        looked_up: shown.state.looked_up.clone(),
        steps: shown.prepared.difference.set.steps.iter().map(step).collect(),
        answer: serde_json::from_str(&render::json(&answer)).expect("an answer in JSON is JSON"),
        observed: serde_json::from_slice(&observed).expect("a snapshot is JSON"),
    };
    saved.digest = digest(&saved);
    let mut bytes = serde_json::to_vec_pretty(&sorted(&saved)).expect("a change set is plain data");
    bytes.push(b'\n');
    write_atomically(file, &bytes).map_err(|e| files::unwritable(&file.display().to_string(), &e))?;
    console.story(&format!("saved: {} ({})", file.display(), saved.id));
    Ok(())
}

/// A step with what it rests on: which object, in which version, and what it said.
fn step(change: &Change) -> Value {
    let seen = match &change.op {
        Op::Create { .. } => None,
        Op::Update { before, .. } | Op::Delete { before } => Some(before),
    };
    let fields: Vec<Value> = change
        .fields
        .iter()
        .map(|field| json!([field.path.pointer(), field.before]))
        .collect();
    json!({
        "key": change.key.to_string(),
        "verb": change.op.verb(),
        "uid": seen.map(|object| object["metadata"]["uid"].clone()),
        "version": seen.map(|object| object["metadata"]["resourceVersion"].clone()),
        "seen": seen.map(|_| hex_digest(&json!(fields))),
        "write": match &change.op {
            Op::Create { object } => object.clone(),
            Op::Update { patch, .. } => patch.clone(),
            Op::Delete { .. } => Value::Null,
        },
    })
}

fn sorted(file: &File) -> Value {
    serde_json::to_value(file).expect("a change set is plain data")
}

fn digest(file: &File) -> String {
    let mut value = sorted(file);
    value["digest"] = Value::Null;
    hex_digest(&value)
}

fn broken(file: &str, why: impl Into<String>) -> Failure {
    let error = Error::failed(
        codes::SAVED_BROKEN,
        format!("{file} is not a change set as it was saved"),
    );
    Failure::from(error.cause(why).fix("save a new one with `hostguard plan --out FILE`"))
}

/// The change set in a file; `None` when it is something else, such as a plan.
fn read(file: &str, bytes: &[u8]) -> Result<Option<Saved>, Failure> {
    #[derive(Deserialize)]
    struct Head {
        hostguard_change_set: u32,
    }
    let Ok(head) = serde_json::from_slice::<Head>(bytes) else {
        return if mistaken::is_change_set(bytes) {
            Err(broken(file, "it is cut short, or no JSON"))
        } else {
            Ok(None)
        };
    };
    let other = |what: String| {
        let error = Error::failed(codes::SAVED_NEWER, format!("{file} was saved by {what}"));
        Failure::from(error.fix("use that version, or save a new one with `hostguard plan --out FILE`"))
    };
    if head.hostguard_change_set != FORMAT {
        return Err(other(format!(
            "a hostguard that writes format {}",
            head.hostguard_change_set
        )));
    }
    let saved: File = serde_json::from_slice(bytes).map_err(|e| broken(file, e.to_string()))?;
    if digest(&saved) != saved.digest {
        return Err(broken(file, "its content does not fit its digest"));
    }
    if saved.tool != env!("CARGO_PKG_VERSION") {
        return Err(other(format!(
            "hostguard {}, this is {}",
            saved.tool,
            env!("CARGO_PKG_VERSION")
        )));
    }
    let expires = saved.expires.as_deref().map(str::parse::<Timestamp>).transpose();
    let expires = expires.map_err(|e| broken(file, e.to_string()))?;
    let observed = serde_json::to_vec(&saved.observed).expect("read from JSON");
    let mut state = decode_state(&observed).map_err(|why| broken(file, why))?;
    state.looked_up = saved.looked_up;
    let options = Options {
        inventory_namespace: saved.options.inventory_namespace.clone(),
        force_conflicts: saved.options.force_conflicts.iter().cloned().collect(),
    };
    let accepted = saved.options.accepted.iter().cloned();
    let accepted: Vec<Acceptance> = accepted.map(|(step, packet)| Acceptance { step, packet }).collect();
    let intent = Intent::Plan(Box::new(files::saved(&saved.plan.file, &saved.plan.text, saved.given)));
    let mut prepared = intent.prepare(&state, &options)?;
    prepared.look(&intent, &state, &accepted);
    if prepared.difference.set.digest() != saved.id {
        return Err(broken(
            file,
            "its steps are not those that its plan and its state lead to",
        ));
    }
    Ok(Some(Saved {
        intent,
        options,
        accepted,
        state,
        prepared,
        created: saved.created,
        expires,
        tool: saved.tool,
        choices: saved.options,
        plan: saved.plan,
    }))
}

/// A change set that must be one.
pub(super) fn of_file(file: &Path) -> Result<Saved, Failure> {
    let name = file.display().to_string();
    let bytes = files::bytes(&name)?;
    read(&name, &bytes)?.ok_or_else(|| {
        let other = mistaken::for_change_set(&name, &bytes).map(Failure::from);
        other.unwrap_or_else(|| broken(&name, "it has no `hostguard_change_set`"))
    })
}

/// The change set that is to be applied; `None`: it is a plan.
pub(super) fn open(proposal: &Proposal) -> Result<Option<Saved>, Failure> {
    if proposal.plan == "-" {
        return Ok(None);
    }
    let Some(saved) = read(&proposal.plan, &files::bytes(&proposal.plan)?)? else {
        return Ok(None);
    };
    let chosen = [
        ("--set", !proposal.inputs.set.is_empty()),
        ("--inputs", !proposal.inputs.files.is_empty()),
        ("--force-conflicts", !proposal.force_conflicts.is_empty()),
        ("--accept", !proposal.risk.accepted.is_empty()),
    ];
    if let Some((option, _)) = chosen.into_iter().find(|(_, chosen)| *chosen) {
        let message = format!("{} is a saved change set: {option} cannot change it", proposal.plan);
        let error = Error::new(Kind::Usage, codes::SAVED_FIXED, message);
        return Err(Failure::from(error.fix(format!(
            "leave {option} out, or save a new one with `hostguard plan {option} ... --out FILE`"
        ))));
    }
    Ok(Some(saved))
}

/// Compares a saved change set with what is there now: what is applied is exactly it, or nothing.
pub(super) async fn shown(saved: Saved, args: &Apply, console: &mut dyn Console) -> Result<Shown, Failure> {
    let file = &args.proposal.plan;
    if let Some(expires) = saved.expires
        && Timestamp::now() > expires
    {
        let error = Error::new(
            Kind::Stale,
            codes::SAVED_EXPIRED,
            format!("{file} expired {expires:.0}"),
        );
        return Err(Failure::from(
            error.fix("save a new one with `hostguard plan --out FILE`"),
        ));
    }
    if std::fs::read_to_string(&saved.plan.file).is_ok_and(|text| text != saved.plan.text) {
        let message = format!("{} was edited after {file} was saved", saved.plan.file);
        let error = Error::new(Kind::Stale, codes::PLAN_EDITED, message);
        return Err(Failure::from(
            error.fix("save a new one with `hostguard plan --out FILE`"),
        ));
    }
    let mut world = args.proposal.world.clone();
    world.with_cloud |= saved.choices.with_cloud;
    world.region = world.region.or_else(|| saved.choices.region.clone());
    let offline = saved.intent.offline()?;
    let provider = world::open(&world, offline.name()).await?;
    let scope = world::scope(&world, compile::scope(&offline, &saved.options.inventory_namespace));
    let mut state = provider.read(&scope).await?;
    state.looked_up = saved.state.looked_up.clone();
    let scope = scope.after(&state);
    let mut warned = std::collections::BTreeSet::new();
    show_warnings(provider.as_ref(), &mut warned, console);
    same_cluster(file, &saved.state, &state)?;
    let mut prepared = saved.intent.prepare(&state, &saved.options)?;
    prepared.look(&saved.intent, &state, &saved.accepted);
    prepared.read = read_now(&state);
    prepared.words = Some(Words {
        file: file.clone(),
        saved: true,
        ..Words::default()
    });
    print(
        &prepared.answer("apply", &saved.intent, &state),
        args.proposal.output.format,
        console,
    );
    stale::compare(&saved.prepared, &prepared, None)?;
    mention(&saved.state.moved(&state.redacted()), console);
    let blocked = blocked(&prepared, &state, console);
    Ok(Shown {
        intent: saved.intent,
        provider,
        scope,
        options: saved.options,
        accepted: saved.accepted,
        state,
        prepared,
        blocked,
        warned,
    })
}

/// Refuses another cluster than the one that was looked at. Where its uid could not be read then, its name decides.
fn same_cluster(file: &str, saved: &State, now: &State) -> Result<(), Failure> {
    let name = |state: &State| match state.cluster_uid() {
        Some(uid) => format!("{} (uid {uid})", state.facts.name),
        None => format!("{} (uid not readable)", state.facts.name),
    };
    let same = match (saved.cluster_uid(), now.cluster_uid()) {
        (Some(then), Some(now)) => then == now,
        (None, None) => saved.facts.name == now.facts.name,
        _ => false,
    };
    if same {
        return Ok(());
    }
    let message = format!("{file} is for cluster {}, this is {}", name(saved), name(now));
    let error = Error::failed(codes::WRONG_CLUSTER, message);
    Err(Failure::from(
        error.fix("choose the cluster with --context or --kubeconfig"),
    ))
}

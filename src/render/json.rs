//! The answer for machines: versioned, byte-stable, with places.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::json_exposure::RowJson;
use super::{Answer, Checked, exposure, json_exposure, order};
use crate::apply::{Outcome, Report};
use crate::changes::{Change, FieldChange, Need};
use crate::error::{Diagnostic, Error, Severity};
use crate::expect::{Answered, Counterexample, Fails, Kept, Unkept};
use crate::gate::Finding;
use crate::plan::{InputValue, Provenance};
use crate::source::Source;
use crate::state::Played;

/// The published schema of [`json`]'s answer.
pub const ANSWER_SCHEMA: &str = include_str!("answer.schema.json");
pub const ANSWER_VERSION: &str = "hostguard.dev/answer/v1";

/// The published schema of [`checked_json`]'s answer.
pub const CHECK_SCHEMA: &str = include_str!("check.schema.json");
pub const CHECK_VERSION: &str = "hostguard.dev/check/v1";

/// Pretty JSON with sorted keys; ends with a newline.
pub fn json(answer: &Answer) -> String {
    pretty(&document(answer))
}

/// The document; fields in the order of their names. Those of which there may be thousands are written as they are, the
/// others by way of a [`Value`].
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    assumed: String,
    change_set: &'a str,
    cluster: Value,
    conflicts: Vec<Value>,
    expectations: Vec<Value>,
    exposure: Vec<RowJson<'a>>,
    findings: Vec<Value>,
    gates: Vec<GateJson<'a>>,
    groups: &'a BTreeMap<String, Vec<String>>,
    inputs: Vec<Value>,
    inside: bool,
    kept: Vec<Value>,
    lowered: Vec<Value>,
    notes: Vec<Value>,
    order: &'static str,
    plan: &'a str,
    record: Option<&'a str>,
    refused: Vec<Value>,
    report: Option<Value>,
    schema: &'static str,
    steps: Vec<StepJson<'a>>,
    summary: Value,
    unreadable: Vec<Value>,
    verb: &'a str,
    warnings: Vec<Value>,
}

/// The document as a value.
pub fn json_value(answer: &Answer) -> Value {
    serde_json::to_value(document(answer)).expect("a document is plain data")
}

fn document<'a>(answer: &'a Answer) -> Document<'a> {
    let counts = answer.set.counts();
    let place = |span| answer.source.map(|source: &Source| source.locate(span));
    let inputs = answer.inputs.iter().map(|(name, input)| {
        let value = match &input.value {
            InputValue::Known(value) => Some(value.clone()),
            InputValue::Lookup(_) => answer.lookups.get(name).cloned(),
        };
        json!({"name": name, "value": value, "from": provenance(&input.provenance)})
    });
    let unreadable = answer
        .set
        .unreadable
        .iter()
        .map(|(key, why)| json!({"key": key.to_string(), "reason": why}));
    let notes = answer
        .set
        .notes
        .iter()
        .map(|note| json!({"about": note.about, "code": note.code, "text": note.text}));
    let findings = answer.set.findings.iter().map(|f| {
        json!({"key": f.key.to_string(), "code": f.code, "path": f.path, "message": f.message, "consequence": f.consequence})
    });
    let rows = answer.exposure.iter().chain(answer.inside.unwrap_or_default());
    Document {
        assumed: exposure::assumptions_text(answer.assumptions),
        change_set: &answer.id,
        cluster: json!({
            "name": answer.facts.name,
            "uid": answer.cluster_uid,
            "snapshot": answer.facts.snapshot.as_ref().map(played),
            "serving": answer.facts.serving.as_str(),
            "release": answer.release,
            "platform": answer.platform.map(|platform| platform.facts().name),
        }),
        conflicts: answer
            .conflicts
            .iter()
            .map(|error| error_value(error, &place))
            .collect(),
        expectations: answer
            .expectations
            .iter()
            .map(|outcome| expectation(outcome, &place))
            .collect(),
        exposure: rows.map(|row| json_exposure::row(row, answer.names)).collect(),
        findings: findings.collect(),
        gates: answer.findings.iter().map(|finding| gate(finding, &place)).collect(),
        groups: answer.groups,
        inputs: inputs.collect(),
        inside: answer.inside.is_some(),
        kept: answer.kept.iter().map(|line| kept(line, &place)).collect(),
        lowered: answer
            .lowered
            .iter()
            .map(|(code, level)| json!({"code": code.as_str(), "level": level.as_str()}))
            .collect(),
        notes: notes.collect(),
        order: order::claim(answer),
        plan: answer.plan,
        record: answer.record.as_deref(),
        refused: answer.refused.iter().map(|error| error_value(error, &place)).collect(),
        report: answer.report.map(|made| report(made, answer.ended)),
        schema: ANSWER_VERSION,
        steps: answer
            .set
            .steps
            .iter()
            .enumerate()
            .map(|(place, step)| self::step(place, step, answer))
            .collect(),
        summary: json!({"create": counts.create, "update": counts.update, "delete": counts.delete}),
        unreadable: unreadable.collect(),
        verb: answer.verb,
        warnings: answer
            .warnings
            .iter()
            .map(|warning| diagnostic(warning, &place))
            .collect(),
    }
}

pub(super) fn pretty(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("a value is printable");
    text.push('\n');
    text
}

/// The snapshot in the cluster's place.
pub(super) fn played(played: &Played) -> Value {
    json!({"file": played.file, "time": played.time, "digest": played.sealed})
}

fn provenance(provenance: &Provenance) -> String {
    match provenance {
        Provenance::Set => "set".into(),
        Provenance::File(file) => format!("file:{file}"),
        Provenance::Environment(variable) => format!("environment:{variable}"),
        Provenance::Lookup(_) => "lookup".into(),
        Provenance::Default => "default".into(),
    }
}

/// What a gate found.
#[derive(Serialize)]
pub(super) struct GateJson<'a> {
    causes: &'a [String],
    code: &'static str,
    consequence: Option<&'a str>,
    fix: Option<&'a str>,
    level: &'static str,
    message: &'a str,
    place: Option<String>,
    refuses: bool,
    subject: &'a str,
    waiver: Option<WaiverJson<'a>>,
}

#[derive(Serialize)]
struct WaiverJson<'a> {
    expires: String,
    owner: &'a str,
    place: Option<String>,
    reason: &'a str,
}

pub(super) fn gate<'a>(finding: &'a Finding, place: &dyn Fn(crate::source::Span) -> Option<String>) -> GateJson<'a> {
    GateJson {
        causes: &finding.causes,
        code: finding.code.as_str(),
        consequence: finding.consequence.as_deref(),
        fix: finding.fix.as_deref(),
        level: finding.level.as_str(),
        message: &finding.message,
        place: finding.span.and_then(place),
        refuses: finding.refuses(),
        subject: &finding.subject,
        waiver: finding.waived.as_ref().map(|waived| WaiverJson {
            expires: waived.expires.to_string(),
            owner: &waived.owner,
            place: place(waived.span),
            reason: &waived.reason,
        }),
    }
}

pub(super) fn expectation(outcome: &Answered, place: &dyn Fn(crate::source::Span) -> Option<String>) -> Value {
    let counterexample = match &outcome.fails {
        Some(Fails::Packet(found)) => Some(self::counterexample(found)),
        Some(Fails::NoAddress | Fails::Nobody(_)) | None => None,
    };
    json!({
        "from": outcome.from,
        "to": outcome.to,
        "at": outcome.at,
        "is": if outcome.open { "open" } else { "blocked" },
        "place": place(outcome.span),
        "holds": outcome.fails.is_none(),
        "counterexample": counterexample,
    })
}

pub(super) fn kept(line: &Kept, place: &dyn Fn(crate::source::Span) -> Option<String>) -> Value {
    let counterexample = match &line.fails {
        Some(Unkept::Moves(found)) => Some(self::counterexample(&found.packet)),
        Some(Unkept::Nobody(_)) | None => None,
    };
    json!({
        "never": if line.never_open { "opens" } else { "closes" },
        "from": line.from,
        "to": line.to,
        "at": line.at,
        "place": place(line.span),
        "holds": line.fails.is_none(),
        "counterexample": counterexample,
    })
}

fn counterexample(found: &Counterexample) -> Value {
    json!({
        "node": found.node,
        "protocol": found.packet.protocol.to_string(),
        "source": found.packet.source.to_string(),
        "destination": found.packet.destination.to_string(),
        "port": found.packet.port,
        "verdict": exposure::verdict(found.verdict),
        "by": found.decision.as_ref().map(|decision| exposure::decided(&decision.by)),
    })
}

/// A step; fields in the order of their names, as in all of the document.
#[derive(Serialize)]
struct StepJson<'a> {
    fields: Vec<FieldJson<'a>>,
    key: String,
    needs: Vec<NeedJson<'a>>,
    place: Option<String>,
    remarks: Vec<String>,
    section: &'a str,
    together: bool,
    verb: &'static str,
    wait: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FieldJson<'a> {
    after: Option<&'a Value>,
    before: Option<&'a Value>,
    path: String,
    taken_from: Option<&'a str>,
}

#[derive(Serialize)]
struct NeedJson<'a> {
    key: String,
    reason: &'a str,
}

fn step<'a>(nth: usize, step: &'a Change, answer: &'a Answer) -> StepJson<'a> {
    let placed = order::step(answer, nth);
    let place = step
        .origin
        .span
        .and_then(|span| answer.source.map(|source| source.locate(span)));
    let field = |field: &'a FieldChange| FieldJson {
        after: field.after.as_ref(),
        before: field.before.as_ref(),
        path: field.path.pointer(),
        taken_from: field.taken_from.as_deref(),
    };
    let need = |need: &'a Need| NeedJson {
        key: need.key.to_string(),
        reason: &need.reason,
    };
    StepJson {
        fields: step.fields.iter().map(field).collect(),
        key: step.key.to_string(),
        needs: step.needs.iter().map(need).collect(),
        place,
        remarks: placed.map(order::remarks).unwrap_or_default(),
        section: &step.origin.section,
        together: placed.is_some_and(|placed| placed.together),
        verb: step.op.verb(),
        wait: placed.is_some_and(|placed| placed.wait),
    }
}

pub(super) fn error_value(error: &Error, place: &dyn Fn(crate::source::Span) -> Option<String>) -> Value {
    json!({
        "code": error.code.as_str(),
        "message": error.message,
        "causes": error.causes,
        "place": error.span.and_then(place),
        "consequence": error.consequence,
        "fix": error.fix,
    })
}

/// Errors that leave no answer, in the form of the schema with that name.
pub fn error_json(errors: &[Error], source: Option<&Source>, schema: &str) -> String {
    let place = |span| source.map(|source| source.locate(span));
    let errors: Vec<Value> = errors.iter().map(|error| error_value(error, &place)).collect();
    pretty(&json!({"schema": schema, "errors": errors}))
}

fn diagnostic(diagnostic: &Diagnostic, place: &dyn Fn(crate::source::Span) -> Option<String>) -> Value {
    json!({
        "code": diagnostic.code.as_str(),
        "message": diagnostic.message,
        "causes": [],
        "place": place(diagnostic.span()),
        "consequence": diagnostic.consequence,
        "fix": diagnostic.fix,
    })
}

/// What is wrong with plans alone.
pub fn checked_json(checked: &[Checked<'_>]) -> String {
    let files = checked.iter().map(|file| {
        let place = |span| Some(file.source.locate(span));
        let with = |mut value: Value, severity: &str| {
            value["severity"] = json!(severity);
            value
        };
        let problems = file.problems.iter().map(|problem| match problem.severity {
            Severity::Error => with(diagnostic(problem, &place), "error"),
            Severity::Warning => with(diagnostic(problem, &place), "warning"),
        });
        let errors = file
            .errors
            .iter()
            .map(|error| with(error_value(error, &place), "error"));
        json!({
            "file": file.source.name(),
            "plans": file.plans,
            "problems": errors.chain(problems).collect::<Vec<_>>(),
        })
    });
    pretty(&json!({"schema": CHECK_VERSION, "files": files.collect::<Vec<_>>()}))
}

/// Mistakes in a plan, in the same form.
pub fn diagnostics_json(diagnostics: &[Diagnostic], source: &Source, schema: &str) -> String {
    let mut sorted: Vec<&Diagnostic> = diagnostics.iter().filter(|d| d.severity == Severity::Error).collect();
    sorted.sort_by_key(|diagnostic| (diagnostic.span(), diagnostic.code));
    let place = |span| Some(source.locate(span));
    let errors = sorted.into_iter().map(|problem| diagnostic(problem, &place));
    pretty(&json!({"schema": schema, "errors": errors.collect::<Vec<_>>()}))
}

fn report(report: &Report, ended: &[Error]) -> Value {
    let steps = report.steps.iter().map(|(key, verb, outcome)| {
        let (outcome, detail) = match outcome {
            Outcome::Done => ("done", None),
            Outcome::Failed(refusal) => ("failed", Some(refusal.message.clone())),
            Outcome::Skipped(why) => ("skipped", Some(why.clone())),
        };
        json!({"key": key.to_string(), "verb": verb, "outcome": outcome, "detail": detail})
    });
    json!({
        "steps": steps.collect::<Vec<_>>(),
        "done": report.done(),
        "failed": report.failed(),
        "skipped": report.skipped(),
        "unsettled": report.unsettled,
        "interrupted": report.interrupted,
        "ended": ended.iter().map(|error| error_value(error, &|_| None)).collect::<Vec<_>>(),
    })
}

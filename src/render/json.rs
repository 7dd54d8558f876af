//! The answer for machines: versioned, byte-stable, with places.

use serde_json::{Value, json};

use super::{Answer, Checked, exposure, json_exposure, order};
use crate::apply::{Outcome, Report};
use crate::changes::Change;
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
    pretty(&json_value(answer))
}

/// The document itself.
pub fn json_value(answer: &Answer) -> Value {
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
    json!({
        "schema": ANSWER_VERSION,
        "verb": answer.verb,
        "plan": answer.plan,
        "cluster": {
            "name": answer.facts.name,
            "uid": answer.cluster_uid,
            "snapshot": answer.facts.snapshot.as_ref().map(played),
            "serving": answer.facts.serving.as_str(),
            "release": answer.release,
            "platform": answer.platform.map(|platform| platform.facts().name),
        },
        "order": order::claim(answer),
        "inputs": inputs.collect::<Vec<_>>(),
        "groups": answer.groups,
        "steps": answer.set.steps.iter().enumerate().map(|(place, step)| self::step(place, step, answer)).collect::<Vec<_>>(),
        "unreadable": unreadable.collect::<Vec<_>>(),
        "conflicts": answer.conflicts.iter().map(|error| error_value(error, &place)).collect::<Vec<_>>(),
        "expectations": answer.expectations.iter().map(|outcome| expectation(outcome, &place)).collect::<Vec<_>>(),
        "refused": answer.refused.iter().map(|error| error_value(error, &place)).collect::<Vec<_>>(),
        "assumed": exposure::assumptions_text(answer.assumptions),
        "exposure": answer.exposure.iter().chain(answer.inside.unwrap_or_default()).map(|row| json_exposure::row(row, answer.names)).collect::<Vec<_>>(),
        "inside": answer.inside.is_some(),
        "findings": findings.collect::<Vec<_>>(),
        "gates": answer.findings.iter().map(|finding| gate(finding, &place)).collect::<Vec<_>>(),
        "lowered": answer.lowered.iter().map(|(code, level)| json!({"code": code.as_str(), "level": level.as_str()})).collect::<Vec<_>>(),
        "warnings": answer.warnings.iter().map(|warning| diagnostic(warning, &place)).collect::<Vec<_>>(),
        "kept": answer.kept.iter().map(|line| kept(line, &place)).collect::<Vec<_>>(),
        "notes": notes.collect::<Vec<_>>(),
        "summary": {"create": counts.create, "update": counts.update, "delete": counts.delete},
        "changeSet": answer.set.digest(),
        "record": answer.record,
        "report": answer.report.map(|made| report(made, answer.ended)),
    })
}

pub(super) fn pretty(value: &Value) -> String {
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

pub(super) fn gate(finding: &Finding, place: &dyn Fn(crate::source::Span) -> Option<String>) -> Value {
    let waiver = finding.waived.as_ref().map(|waived| {
        json!({
            "reason": waived.reason,
            "owner": waived.owner,
            "expires": waived.expires.to_string(),
            "place": place(waived.span),
        })
    });
    json!({
        "code": finding.code.as_str(),
        "level": finding.level.as_str(),
        "subject": finding.subject,
        "message": finding.message,
        "causes": finding.causes,
        "place": finding.span.and_then(place),
        "consequence": finding.consequence,
        "fix": finding.fix,
        "refuses": finding.refuses(),
        "waiver": waiver,
    })
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

fn step(nth: usize, step: &Change, answer: &Answer) -> Value {
    let placed = order::step(answer, nth);
    let place = step
        .origin
        .span
        .and_then(|span| answer.source.map(|source| source.locate(span)));
    let fields = step.fields.iter().map(|field| {
        json!({
            "path": field.path.pointer(), "before": field.before, "after": field.after, "takenFrom": field.taken_from,
        })
    });
    let needs = step
        .needs
        .iter()
        .map(|need| json!({"key": need.key.to_string(), "reason": need.reason}));
    json!({
        "key": step.key.to_string(),
        "verb": step.op.verb(),
        "section": step.origin.section,
        "place": place,
        "fields": fields.collect::<Vec<_>>(),
        "needs": needs.collect::<Vec<_>>(),
        "together": placed.is_some_and(|placed| placed.together),
        "wait": placed.is_some_and(|placed| placed.wait),
        "remarks": placed.map(order::remarks).unwrap_or_default(),
    })
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

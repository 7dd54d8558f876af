//! The runs of a plan, for people and for machines.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use super::numbered;
use super::text::wrap;
use crate::escape::escape;
use crate::history::{Outcome, Past};

/// The published schema of [`json`]'s answer.
pub const HISTORY_SCHEMA: &str = include_str!("history.schema.json");
pub const HISTORY_VERSION: &str = "hostguard.dev/history/v1";

/// Newest first; ends with a newline.
pub fn text(plan: &str, runs: &[Past]) -> String {
    if runs.is_empty() {
        return format!("No run of plan {plan} is kept here.\n");
    }
    let mut out = format!("runs of plan {plan}, newest first\n");
    for (at, run) in runs.iter().enumerate().rev() {
        let intent = &run.intent;
        let by = format!("{} on {}", escape(&intent.by.who), escape(&intent.by.host));
        let reverts = intent.reverts.map(|run| format!(" of run {run}")).unwrap_or_default();
        let _ = writeln!(
            out,
            "\n{:>4}  {}{reverts}: {}",
            intent.number,
            escape(&intent.verb),
            result(runs, at)
        );
        let ended = run
            .progress
            .ended
            .as_deref()
            .map(|end| format!(" to {}", escape(end)))
            .unwrap_or_default();
        let mut lines = vec![format!("{}{ended}", escape(&intent.started)), format!("by {by}")];
        if let Some(commit) = &intent.by.commit {
            lines.push(format!("commit {}", escape(commit)));
        }
        lines.push(format!("change set {}", escape(&intent.id)));
        lines.push(counts(run));
        lines.extend(intent.exposure.iter().map(|line| escape(line)));
        let failures = run.progress.failures.iter();
        lines.extend(failures.map(|(place, why)| format!("step {}: {}", first(run) + place + 1, escape(why))));
        for line in &lines {
            for (i, part) in wrap(line, 72).iter().enumerate() {
                let _ = writeln!(out, "      {}{part}", if i > 0 { "  " } else { "" });
            }
        }
    }
    out
}

/// A run that was never closed was killed, as soon as another one began after it.
fn result(runs: &[Past], at: usize) -> &'static str {
    match runs[at].progress.result {
        Outcome::Begun if at + 1 < runs.len() => "killed on the way; a later run went on",
        result => result.as_str(),
    }
}

/// Steps, as they were shown, that were made before the first of the account.
fn first(run: &Past) -> usize {
    usize::from(run.intent.namespace_made.is_some())
}

fn counts(run: &Past) -> String {
    let of = |letter: char| run.progress.count(letter);
    let (done, all) = (first(run) + of('d'), first(run) + run.intent.steps.len());
    let mut parts = vec![format!("{done} of {} done", numbered(all, "step"))];
    let others = [
        ('f', "failed"),
        ('s', "skipped"),
        ('r', "taken back"),
        ('.', "not known"),
    ];
    for (letter, word) in others.into_iter().filter(|(letter, _)| of(*letter) > 0) {
        parts.push(format!("{} {word}", of(letter)));
    }
    parts.join(", ")
}

/// Oldest first; pretty JSON with sorted keys.
pub fn json(plan: &str, runs: &[Past]) -> String {
    let run = |(at, run): (usize, &Past)| {
        let intent = &run.intent;
        let letters = run.progress.steps.chars();
        let steps = intent.steps.iter().zip(letters).map(|(step, letter)| {
            let outcome = match letter {
                'd' => "done",
                'f' => "failed",
                's' => "skipped",
                'r' => "taken-back",
                _ => "not-known",
            };
            json!({"key": step.key, "verb": step.verb, "outcome": outcome})
        });
        let namespace = intent.namespace_made.iter();
        let namespace = namespace.map(|key| json!({"key": key, "verb": "create", "outcome": "done"}));
        let failures = run.progress.failures.iter();
        let failures: BTreeMap<usize, &String> = failures.map(|(place, why)| (first(run) + place, why)).collect();
        json!({
            "number": intent.number, "verb": intent.verb, "id": intent.id,
            "who": intent.by.who, "host": intent.by.host, "commit": intent.by.commit, "tool": intent.by.tool,
            "started": intent.started, "ended": run.progress.ended,
            "result": run.progress.result, "says": result(runs, at),
            "reverts": intent.reverts, "exposure": intent.exposure,
            "steps": namespace.chain(steps).collect::<Vec<_>>(), "failures": failures,
            "revertible": !intent.without_values,
        })
    };
    let runs: Vec<Value> = runs.iter().enumerate().map(run).collect();
    let answer = json!({"schema": HISTORY_VERSION, "plan": plan, "runs": runs});
    serde_json::to_string_pretty(&answer).expect("history is plain data") + "\n"
}

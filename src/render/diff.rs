//! What the change of a plan does, for people and for machines.
//!
//! Compares what was found of the two plans; what they lead to is compared in `diff/between.rs`.

use std::fmt::Write;

use serde_json::{Value, json};

use super::exposure;
use super::json::pretty;
use super::sources::Names;
use super::steps::mark;
use super::text::{section, wrap};
use super::{fields, gates, json as answers, json_exposure};
use crate::changes::Op;
use crate::diff::{Altered, Between};
use crate::error::{Code, Error, Style, show_error};
use crate::escape::escape;
use crate::expect::{Answered, Kept};
use crate::exposure::{Assumption, Movement, Row};
use crate::gate::Finding;
use crate::plan::Level;
use crate::resource::Key;
use crate::source::Source;
use crate::state::ClusterFacts;

pub use super::markdown::diff as markdown;

/// The published schema of [`json`]'s answer.
pub const DIFF_SCHEMA: &str = include_str!("diff.schema.json");
pub const DIFF_VERSION: &str = "hostguard.dev/diff/v1";

/// One of the two plans, and what was found of it.
pub struct Side<'a> {
    pub file: &'a str,
    /// Of the other one, where this is none.
    pub plan: &'a str,
    /// Whether there is a plan: its file is not empty.
    pub wanted: bool,
    pub source: Option<&'a Source>,
    pub findings: &'a [Finding],
    /// Codes whose level the plan has lowered.
    pub lowered: Vec<(Code, Level)>,
    pub refused: &'a [Error],
    pub conflicts: &'a [Error],
    pub unreadable: &'a [(Key, String)],
    pub expectations: &'a [Answered],
    pub kept: &'a [Kept],
}

/// Everything there is to say of two plans and a cluster.
pub struct Diff<'a> {
    pub facts: &'a ClusterFacts,
    pub cluster_uid: Option<String>,
    pub base: Side<'a>,
    pub head: Side<'a>,
    pub between: &'a Between,
    /// From what base leads to, to what head does.
    pub exposure: &'a [Row],
    /// The same for clients of the cluster; `None` where there are too many sorts of them.
    pub inside: Option<&'a [Row]>,
    pub names: &'a Names,
    pub assumptions: &'a [Assumption],
}

/// What only head has, and what only base has.
pub(super) struct Moved<T> {
    pub new: Vec<T>,
    pub gone: Vec<T>,
}

impl<T> Moved<T> {
    fn is_empty(&self) -> bool {
        self.new.is_empty() && self.gone.is_empty()
    }
}

fn moved<'a, T>(base: &[&'a T], head: &[&'a T], same: impl Fn(&T, &T) -> bool) -> Moved<&'a T> {
    let only = |these: &[&'a T], others: &[&'a T]| {
        let mut only = these.to_vec();
        only.retain(|one| !others.iter().any(|other| same(one, other)));
        only
    };
    Moved {
        new: only(head, base),
        gone: only(base, head),
    }
}

/// How many objects are new, changed and gone.
pub(super) struct Counts {
    pub new: usize,
    pub changed: usize,
    pub gone: usize,
}

impl<'a> Diff<'a> {
    /// Whether head leads to anything else than base, or says anything else of it.
    pub fn differs(&self) -> bool {
        let rows = self.exposure.iter().chain(self.inside.unwrap_or_default());
        let found = [
            self.gates().is_empty(),
            self.lowered().is_empty(),
            self.refused().is_empty(),
            self.expectations().is_empty(),
            self.kept().is_empty(),
            self.notes().is_empty(),
            self.between.altered.is_empty(),
        ];
        found.contains(&false) || rows.into_iter().any(|row| row.movement != Movement::Stays)
    }

    pub(super) fn counts(&self) -> Counts {
        let of = |wanted: fn(&Op) -> bool| self.between.altered.iter().filter(|one| wanted(&one.change.op)).count();
        Counts {
            new: of(|op| matches!(op, Op::Create { .. })),
            changed: of(|op| matches!(op, Op::Update { .. })),
            gone: of(|op| matches!(op, Op::Delete { .. })),
        }
    }

    /// A finding is the same with the same level and the same waiver, wherever its plan says so.
    pub(super) fn gates(&self) -> Moved<&'a Finding> {
        let waiver = |finding: &Finding| {
            let waived = finding.waived.as_ref();
            waived.map(|waived| (waived.reason.clone(), waived.owner.clone(), waived.expires))
        };
        let about = |finding: &Finding| (finding.code, finding.level, finding.subject.clone(), waiver(finding));
        let of = |side: &Side<'a>| side.findings.iter().collect::<Vec<_>>();
        moved(&of(&self.base), &of(&self.head), |a, b| about(a) == about(b))
    }

    pub(super) fn lowered(&self) -> Moved<(Code, Level)> {
        let (base, head) = (&self.base.lowered, &self.head.lowered);
        let moved = moved(
            &base.iter().collect::<Vec<_>>(),
            &head.iter().collect::<Vec<_>>(),
            |a, b| a == b,
        );
        Moved {
            new: moved.new.into_iter().copied().collect(),
            gone: moved.gone.into_iter().copied().collect(),
        }
    }

    /// Why a plan is not applied, but for its findings, which are listed as such.
    pub(super) fn refused(&self) -> Moved<&'a Error> {
        let of = |side: &Side<'a>| -> Vec<&'a Error> {
            let listed = |error: &Error| {
                let mut findings = side.findings.iter();
                findings.any(|found| found.refuses() && found.code == error.code && found.message == error.message)
            };
            let errors = side.conflicts.iter().chain(side.refused);
            errors.filter(|error| !listed(error)).collect()
        };
        moved(&of(&self.base), &of(&self.head), |a, b| {
            (a.code, &a.message) == (b.code, &b.message)
        })
    }

    /// Whether head is refused for something that base is not.
    pub(super) fn newly_refused(&self) -> bool {
        !self.refused().new.is_empty() || self.gates().new.iter().any(|finding| finding.refuses())
    }

    /// That head is refused, where the change of the plan is not the reason.
    pub(super) fn refused_as_before(&self) -> Option<&'static str> {
        let refused = !(self.head.refused.is_empty() && self.head.conflicts.is_empty());
        (refused && !self.newly_refused())
            .then_some("Head is refused, for reasons that base has too: `hostguard plan` names them.")
    }

    pub(super) fn expectations(&self) -> Moved<&'a Answered> {
        let of = |side: &Side<'a>| side.expectations.iter().collect::<Vec<_>>();
        moved(&of(&self.base), &of(&self.head), |a, b| {
            (&a.from, &a.to, &a.at, a.open) == (&b.from, &b.to, &b.at, b.open)
        })
    }

    pub(super) fn kept(&self) -> Moved<&'a Kept> {
        let of = |side: &Side<'a>| side.kept.iter().collect::<Vec<_>>();
        moved(&of(&self.base), &of(&self.head), |a, b| {
            (&a.from, &a.to, &a.at, a.never_open) == (&b.from, &b.to, &b.at, b.never_open)
        })
    }

    /// What is promised by one of the two only.
    pub(super) fn promises(&self) -> Moved<String> {
        let from = |from: &str| {
            let parts: Vec<String> = from.split(", ").map(|part| self.names.named(part)).collect();
            parts.join(", ")
        };
        let fails = |fails: bool| if fails { ", which FAILS" } else { "" };
        let expected = |line: &&Answered| {
            let is = if line.open { "open" } else { "blocked" };
            let (to, at) = (escape(&line.to), escape(&line.at));
            format!(
                "{} -> {to}, {at}: {is}{}",
                from(&line.from),
                fails(line.fails.is_some())
            )
        };
        let kept = |line: &&Kept| {
            let never = if line.never_open { "opens" } else { "closes" };
            let (to, at) = (escape(&line.to), escape(&line.at));
            format!(
                "{} -> {to}, {at}: never {never}{}",
                from(&line.from),
                fails(line.fails.is_some())
            )
        };
        let (expectations, lines) = (self.expectations(), self.kept());
        let both = |expected_: &[&Answered], kept_: &[&Kept]| {
            let first = expected_.iter().map(expected);
            first.chain(kept_.iter().map(kept)).collect::<Vec<_>>()
        };
        Moved {
            new: both(&expectations.new, &lines.new),
            gone: both(&expectations.gone, &lines.gone),
        }
    }

    /// Findings and levels of one of the two only, a line each.
    pub(super) fn gate_lines(&self) -> Moved<String> {
        let (gates, lowered) = (self.gates(), self.lowered());
        let lines = |gates: &[&Finding], lowered: &[(Code, Level)]| {
            let lowered = lowered
                .iter()
                .map(|(code, level)| format!("lowers {code} to {}", level.as_str()));
            gates
                .iter()
                .map(|finding| gates::line(finding))
                .chain(lowered)
                .collect::<Vec<_>>()
        };
        Moved {
            new: lines(&gates.new, &lowered.new),
            gone: lines(&gates.gone, &lowered.gone),
        }
    }

    /// What the two names and files say.
    pub(super) fn notes(&self) -> Vec<String> {
        let (base, head) = (&self.base, &self.head);
        if !head.wanted {
            return vec![format!(
                "there is no plan any more: shown is what `hostguard destroy --name {}` takes back, which to delete the \
                 file does not",
                base.plan
            )];
        }
        if base.wanted && base.plan != head.plan {
            return vec![format!(
                "plan {} is called {} now, which is another plan with a record of its own: what {} made stays until \
                 `hostguard destroy --name {}`",
                base.plan, head.plan, base.plan, base.plan
            )];
        }
        Vec::new()
    }

    /// Targets that could not be read, each once.
    pub(super) fn unreadable(&self) -> Vec<(String, &'a str)> {
        let both = self.base.unreadable.iter().chain(self.head.unreadable);
        let mut all: Vec<(String, &str)> = both.map(|(key, why)| (key.to_string(), why.as_str())).collect();
        all.sort();
        all.dedup();
        all
    }

    /// `tiers.security at plan.yaml:42:5`
    fn asked_by(&self, altered: &Altered) -> String {
        match self.place(altered) {
            Some(place) => format!("{} at {place}", altered.change.origin.section),
            None if altered.change.origin.section == "inventory" => match altered.change.op {
                Op::Create { .. } => "for the record of what hostguard changes".to_string(),
                Op::Update { .. } => "what was found before goes back".to_string(),
                Op::Delete { .. } => "the plan created it".to_string(),
            },
            None => altered.change.origin.section.clone(),
        }
    }

    fn place(&self, altered: &Altered) -> Option<String> {
        let side = if altered.named_by_head { &self.head } else { &self.base };
        Some(side.source?.locate(altered.change.origin.span?))
    }

    /// How many steps are none of the change's making, in words.
    pub(super) fn drift(&self) -> String {
        match self.between.drift {
            0 => String::new(),
            1 => "1 step is drift that was there already: both plans make it.".to_string(),
            n => format!("{n} steps are drift that was there already: both plans make them."),
        }
    }

    pub(super) fn steps_text(&self) -> String {
        let mut out = String::new();
        for altered in &self.between.altered {
            let change = &altered.change;
            let _ = writeln!(out, "  {} {}", mark(&change.op), escape(&change.key.to_string()));
            if !matches!(change.op, Op::Delete { .. }) {
                for line in change.fields.iter().flat_map(fields::lines) {
                    let _ = writeln!(out, "        {line}");
                }
            }
            let _ = writeln!(out, "        # {}", escape(&self.asked_by(altered)));
        }
        out
    }
}

/// The whole answer; ends with a newline.
pub fn text(diff: &Diff) -> String {
    let mut out = String::new();
    header(&mut out, diff);
    let notes: Vec<String> = diff.notes().iter().map(|note| escape(note)).collect();
    section(&mut out, "Notes", &notes);
    exposure_changes(&mut out, diff);
    let promises = diff.promises();
    section(&mut out, "Promised by head only", &promises.new);
    section(&mut out, "Promised by base only", &promises.gone);
    let steps = diff.steps_text();
    if !steps.is_empty() {
        let _ = writeln!(
            out,
            "What is there, after base -> after head (+ new, ~ changed, - gone)\n{steps}"
        );
    }
    let gates = diff.gate_lines();
    section(&mut out, "Gates, found of head only", &gates.new);
    section(&mut out, "Gates, found of base only", &gates.gone);
    let unreadable = diff.unreadable();
    let unreadable = unreadable
        .iter()
        .map(|(key, why)| format!("{}: {}", escape(key), escape(why)));
    section(&mut out, "Could not be read", &unreadable.collect::<Vec<_>>());
    let refused = diff.refused();
    for error in &refused.new {
        let _ = writeln!(
            out,
            "{}\n",
            show_error(diff.head.source, error, Style::default()).trim_end()
        );
    }
    let gone = refused
        .gone
        .iter()
        .map(|error| format!("[{}] {}", error.code, escape(&error.message)));
    section(&mut out, "Refused of base, and not of head", &gone.collect::<Vec<_>>());
    let drift = diff.drift();
    if diff.differs() {
        let Counts { new, changed, gone } = diff.counts();
        let _ = writeln!(out, "{new} new, {changed} changed, {gone} gone.");
    } else {
        let _ = writeln!(out, "The change of the plan does nothing.");
    }
    for line in [drift.as_str(), diff.refused_as_before().unwrap_or_default()] {
        if !line.is_empty() {
            let _ = writeln!(out, "{line}");
        }
    }
    out
}

fn header(out: &mut String, diff: &Diff) {
    let (base, head) = (&diff.base, &diff.head);
    let side = |side: &Side| match side.wanted {
        true => escape(side.file),
        false => format!("no plan ({})", escape(side.file)),
    };
    let named = if head.wanted { head.plan } else { base.plan };
    let _ = writeln!(out, "diff {named} on cluster {}", escape(&diff.facts.name));
    for (word, of) in [("base", base), ("head", head)] {
        let _ = writeln!(out, "  {word} {}", side(of));
    }
    if let Some(played) = &diff.facts.snapshot {
        let _ = writeln!(out, "  played by a snapshot: {}", escape(&played.to_string()));
    }
    let uid = diff.cluster_uid.as_ref();
    let uid = uid.map_or("uid not readable".to_string(), |uid| format!("uid {}", escape(uid)));
    let _ = writeln!(out, "  {uid}\n");
}

fn exposure_changes(out: &mut String, diff: &Diff) {
    let moves = diff.exposure.iter().any(|row| row.movement != Movement::Stays);
    let inside = diff.inside.map(|rows| exposure::difference_inside(rows, diff.names));
    let inside = inside.unwrap_or_else(|| format!("  {}\n", exposure::TOO_MANY));
    if !moves && inside.is_empty() {
        let _ = writeln!(out, "Exposure, after base -> after head\n  nothing opens or closes\n");
        return;
    }
    let _ = writeln!(out, "Exposure, after base -> after head");
    let rows = exposure::difference(diff.exposure, diff.names);
    let nothing = "  nothing opens or closes for sources outside the cluster\n";
    out.push_str(if moves { &rows } else { nothing });
    out.push_str(&inside);
    for (i, line) in wrap(&exposure::assumed(diff.assumptions), 74).iter().enumerate() {
        let _ = writeln!(out, "  {}{line}", if i > 0 { "  " } else { "" });
    }
    out.push('\n');
}

/// Pretty JSON with sorted keys; ends with a newline.
pub fn json(diff: &Diff) -> String {
    let locate = |side: &Side, span| side.source.map(|source| source.locate(span));
    let of_head = |span| locate(&diff.head, span);
    let of_base = |span| locate(&diff.base, span);
    let side = |side: &Side| json!({"file": side.file, "plan": side.wanted.then_some(side.plan)});
    let (gates, lowered, refused) = (diff.gates(), diff.lowered(), diff.refused());
    let (expectations, kept) = (diff.expectations(), diff.kept());
    let levels = |all: &[(Code, Level)]| -> Vec<Value> {
        let level = |(code, level): &(Code, Level)| json!({"code": code.as_str(), "level": level.as_str()});
        all.iter().map(level).collect()
    };
    fn pair<T>(moved: &Moved<T>, new: impl Fn(&T) -> Value, gone: impl Fn(&T) -> Value) -> Value {
        json!({
            "new": moved.new.iter().map(new).collect::<Vec<_>>(),
            "gone": moved.gone.iter().map(gone).collect::<Vec<_>>(),
        })
    }
    let unreadable = diff.unreadable();
    let unreadable = unreadable.iter().map(|(key, why)| json!({"key": key, "reason": why}));
    pretty(&json!({
        "schema": DIFF_VERSION,
        "cluster": {
            "name": diff.facts.name,
            "uid": diff.cluster_uid,
            "snapshot": diff.facts.snapshot.as_ref().map(answers::played),
        },
        "base": side(&diff.base),
        "head": side(&diff.head),
        "steps": diff.between.altered.iter().map(|altered| step(diff, altered)).collect::<Vec<_>>(),
        "drift": diff.between.drift,
        "assumed": exposure::assumptions_text(diff.assumptions),
        "exposure": diff.exposure.iter().chain(diff.inside.unwrap_or_default()).map(|row| json_exposure::row(row, diff.names)).collect::<Vec<_>>(),
        "inside": diff.inside.is_some(),
        "gates": pair(&gates, |one| json!(answers::gate(one, &of_head)), |one| json!(answers::gate(one, &of_base))),
        "lowered": {"new": levels(&lowered.new), "gone": levels(&lowered.gone)},
        "refused": pair(&refused, |one| answers::error_value(one, &of_head), |one| answers::error_value(one, &of_base)),
        "expectations": pair(&expectations, |one| answers::expectation(one, &of_head), |one| answers::expectation(one, &of_base)),
        "kept": pair(&kept, |one| answers::kept(one, &of_head), |one| answers::kept(one, &of_base)),
        "unreadable": unreadable.collect::<Vec<_>>(),
        "notes": diff.notes(),
    }))
}

fn step(diff: &Diff, altered: &Altered) -> Value {
    let change = &altered.change;
    let fields = change
        .fields
        .iter()
        .map(|field| json!({"path": field.path.pointer(), "before": field.before, "after": field.after}));
    json!({
        "key": change.key.to_string(),
        "change": match change.op {
            Op::Create { .. } => "new",
            Op::Update { .. } => "changed",
            Op::Delete { .. } => "gone",
        },
        "base": altered.base,
        "head": altered.head,
        "section": change.origin.section,
        "place": diff.place(altered),
        "fields": fields.collect::<Vec<_>>(),
    })
}

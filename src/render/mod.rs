//! Answers, for people and for machines. Can cause nothing: takes every stage's output and returns text.

pub mod diff;
pub mod exposure;
mod fields;
mod gates;
pub mod graph;
pub mod history;
pub mod html;
mod json;
mod json_exposure;
mod junit;
pub mod markdown;
mod order;
mod rows;
mod sarif;
mod sources;
mod steps;
pub mod svg;
mod text;
pub mod walk;
mod words;

use std::collections::BTreeMap;

use crate::apply::Report;
use crate::changes::ChangeSet;
use crate::error::{Code, Diagnostic, Error};
use crate::gate::Finding;
use crate::graph::Graph;
use crate::plan::{Input, Level, Platform};
use crate::resource::Resource;
use crate::sequence::Sequence;
use crate::source::{Source, Span};
use crate::state::ClusterFacts;

pub use json::{
    ANSWER_SCHEMA, ANSWER_VERSION, CHECK_SCHEMA, CHECK_VERSION, checked_json, diagnostics_json, error_json, json,
    json_value,
};
pub use json_exposure::{EXPOSURE_SCHEMA, EXPOSURE_VERSION, Looked, WHY_SCHEMA, WHY_VERSION, exposure_json, walk_json};
pub use junit::{checked_junit, error_junit, junit};
pub use order::breaches;
pub use sarif::{checked_sarif, error_sarif, sarif};
pub use sources::Names;
pub use text::{event, report, text, wrap};
pub use words::Words;

/// The published schema of a saved change set.
pub const CHANGE_SET_SCHEMA: &str = include_str!("changeset.schema.json");

/// `1 step`, `2 steps`
fn numbered(many: usize, what: &str) -> String {
    format!("{many} {what}{}", if many == 1 { "" } else { "s" })
}

/// A file that was checked.
pub struct Checked<'a> {
    pub source: &'a Source,
    /// Its plans by name; none where something is wrong.
    pub plans: Vec<&'a str>,
    /// What is wrong or worth saying.
    pub problems: &'a [Diagnostic],
    /// Why it could not be read.
    pub errors: &'a [Error],
}

impl Answer<'_> {
    /// Resources of the plan that no step is about.
    fn unchanged(&self) -> impl Iterator<Item = &Resource> {
        self.graph.without(self.set.steps.iter().map(|step| &step.key))
    }
}

/// Everything there is to say about a plan and a cluster.
pub struct Answer<'a> {
    pub verb: &'static str,
    pub plan: &'a str,
    /// The plan's text, for places; `destroy --name` has none.
    pub source: Option<&'a Source>,
    pub platform: Option<Platform>,
    pub facts: &'a ClusterFacts,
    pub cluster_uid: Option<String>,
    /// Calico's version and the rules that go with it.
    pub release: Option<&'a str>,
    pub inputs: &'a BTreeMap<String, Input>,
    /// Values of the inputs that were looked up.
    pub lookups: &'a BTreeMap<String, String>,
    pub groups: &'a BTreeMap<String, Vec<String>>,
    pub set: &'a ChangeSet,
    /// The id of the set.
    pub id: String,
    /// What changes of who can reach what, and names for addresses in it.
    pub exposure: &'a [crate::exposure::Row],
    /// The same for clients of the cluster; `None` where there are too many sorts of them.
    pub inside: Option<&'a [crate::exposure::Row]>,
    pub names: &'a Names,
    pub assumptions: &'a [crate::exposure::Assumption],
    pub conflicts: &'a [Error],
    /// What is wrong with the end of all steps, so that none is made.
    pub refused: &'a [Error],
    /// What was found of the plan, with levels and waivers; those that refuse it are in `refused` too.
    pub findings: &'a [Finding],
    /// What `check` found worth saying of the plan.
    pub warnings: &'a [Diagnostic],
    /// Names of the plan's own rules, and its guards, each with its place.
    pub rules: Vec<&'a str>,
    pub guards: Vec<(&'a str, Span)>,
    /// Codes whose level the plan has lowered.
    pub lowered: Vec<(Code, Level)>,
    /// What the plan expects, each with its answer.
    pub expectations: &'a [crate::expect::Answered],
    /// What may never open and never close, each with what becomes of it in the end.
    pub kept: &'a [crate::expect::Kept],
    /// The order, where it is proven.
    pub sequence: Option<&'a Sequence>,
    /// The inventory's key, when it has to be written.
    pub record: Option<String>,
    pub report: Option<&'a Report>,
    /// What went wrong with the steps, or after them.
    pub ended: &'a [Error],
    /// Every resource that the plan names, with what it needs.
    pub graph: &'a Graph,
    /// When what is there was read, in words; a snapshot says it itself.
    pub read: Option<&'a str>,
    /// What it was asked with, where that can be said again.
    pub words: Option<&'a Words>,
}

//! Answers, for people and for machines. Can cause nothing: takes every stage's output and returns text.

pub mod exposure;
mod fields;
mod json;
mod text;

use std::collections::BTreeMap;

use crate::apply::Report;
use crate::changes::ChangeSet;
use crate::error::Error;
use crate::plan::{Input, Platform};
use crate::source::Source;
use crate::state::ClusterFacts;

pub use json::{ANSWER_SCHEMA, diagnostics_json, error_json, json};
pub use text::{event, report, text, wrap};

/// Everything there is to say about a plan and a cluster.
pub struct Answer<'a> {
    pub verb: &'static str,
    pub plan: &'a str,
    /// The plan's text, for places; `destroy --name` has none.
    pub source: Option<&'a Source>,
    pub platform: Option<Platform>,
    pub facts: &'a ClusterFacts,
    pub cluster_uid: Option<&'a str>,
    /// Calico's version and the rules that go with it.
    pub release: Option<&'a str>,
    pub inputs: &'a BTreeMap<String, Input>,
    /// Values of the inputs that were looked up.
    pub lookups: &'a BTreeMap<String, String>,
    pub groups: &'a BTreeMap<String, Vec<String>>,
    pub set: &'a ChangeSet,
    /// What changes of who can reach what, and names for addresses in it.
    pub exposure: &'a [crate::exposure::Row],
    pub names: &'a exposure::Names,
    pub assumptions: &'a [crate::exposure::Assumption],
    pub conflicts: &'a [Error],
    /// What the plan expects, each with its answer, and the promises that do not hold.
    pub expectations: &'a [crate::expect::Answered],
    pub unmet: &'a [Error],
    /// The inventory's key, when it has to be written.
    pub record: Option<String>,
    pub report: Option<&'a Report>,
}

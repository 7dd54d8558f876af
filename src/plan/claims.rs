//! Claims: fields of objects that others own, only those whose validity is known.
//!
//! Keys may be nested or joined by dots; both come out as one dotted path per value.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::calico::{self, schema};
use crate::error::{Diagnostic, codes};
use crate::plan::Claim;
use crate::plan::language::nearest;
use crate::plan::node::{Entry, Kind, Node, Style};
use crate::plan::raw::{Object, to_json};
use crate::resource;
use crate::source::{Source, Span, Spanned};

const FELIX: &[&str] = &[
    "defaultEndpointToHostAction",
    "failsafeInboundHostPorts",
    "failsafeOutboundHostPorts",
    "flowLogsCollectorDebugTrace",
    "flowLogsFlushInterval",
    "flowLogsGoldmaneServer",
    "flowLogsLocalReporter",
    "flowLogsPolicyEvaluationMode",
    "logSeverityScreen",
];

const CONTROLLERS: &[&str] = &[
    "controllers.node.hostEndpoint.createDefaultHostEndpoint",
    "controllers.node.hostEndpoint.templates",
    "logSeverityScreen",
];

/// Fields that another part of the language sets.
const ELSEWHERE: &[(&str, &str)] = &[
    ("controllers.node.hostEndpoint.autoCreate", "hostEndpoints.autoCreate"),
    ("flowLogsEnableHostEndpoint", "hostEndpoints.flowLogs"),
];

/// Where each claimed field was claimed first.
pub(super) type Claimed = BTreeMap<(resource::Kind, String, String), Span>;

/// One claim; mistakes go to `problems`.
pub(super) fn check(
    node: &Node,
    claimed: &mut Claimed,
    source: &Source,
    problems: &mut Vec<Diagnostic>,
) -> Option<Claim> {
    let kind = resource::Kind::parse(node.get("kind")?.text()?)?;
    let name = node.get("name")?;
    let set = node.entry("set")?;
    let mut fields = Fields {
        kind,
        found: Vec::new(),
        problems,
    };
    match &set.value.kind {
        Kind::Map(entries) if entries.is_empty() => {
            let problem = Diagnostic::error(codes::EMPTY, set.key.span, "a claim sets no field", "nothing to claim");
            problems.push(problem.fix("remove the claim"));
            return None;
        }
        Kind::Map(entries) => fields.walk(entries, ""),
        Kind::Bad => return None,
        _ => {
            let problem = Diagnostic::error(
                codes::WRONG_TYPE,
                set.value.span,
                "`set` must be a mapping",
                "expected fields",
            );
            problems.push(problem.fix("write the fields and their values: `set: { FIELD: VALUE }`"));
            return None;
        }
    }
    let found = fields.found;
    let name_text = name.text()?;
    for (path, entry) in &found {
        let key = (kind, name_text.to_string(), path.clone());
        if let Some(first) = claimed.insert(key, entry.key.span) {
            let message = format!("`{path}` of {kind}/{name_text} is claimed twice");
            let problem = Diagnostic::error(codes::SAME_NAME, entry.key.span, message, "claimed again");
            problems.push(problem.and(first, "claimed first").fix("remove one of the two"));
        }
        if path.starts_with("failsafe") && matches!(&entry.value.kind, Kind::Seq(items) if items.is_empty()) {
            let message = format!("`{path}: []` leaves no port exempt from policy");
            let problem = Diagnostic::error(
                codes::NO_FAILSAFES,
                entry.key.span,
                message,
                "not the default, but none",
            );
            let problem = problem
                .consequence("one policy too many then cuts SSH, the API server and Calico itself on every node");
            problems.push(problem.fix("list the ports that must stay open, or leave the claim out"));
        }
    }
    let object = Object {
        kind: kind.name(),
        name: name_text,
        name_span: name.span,
        labels: None,
        spec: nest(&found, set.value.span),
        derived: Vec::new(),
    };
    let known = object.check(source);
    // A claim is a part of an object: what the whole would need may be there already.
    problems.extend(
        known
            .into_iter()
            .filter(|p| p.code.as_str() != "HG0403" || found.iter().any(|(_, e)| within(p, e))),
    );
    let set: BTreeMap<String, Value> = found
        .iter()
        .map(|(path, entry)| (path.clone(), to_json(&entry.value)))
        .collect();
    Some(Claim {
        kind,
        name: name_text.to_string(),
        set,
        span: node.span,
    })
}

fn within(problem: &Diagnostic, entry: &Entry) -> bool {
    let span = problem.span();
    entry.value.span.start <= span.start && span.end <= entry.value.span.end
}

struct Fields<'a> {
    kind: resource::Kind,
    found: Vec<(String, Entry)>,
    problems: &'a mut Vec<Diagnostic>,
}

impl Fields<'_> {
    fn walk(&mut self, entries: &[Entry], prefix: &str) {
        let allowed = if self.kind == resource::Kind::FelixConfiguration {
            FELIX
        } else {
            CONTROLLERS
        };
        for entry in entries.iter().filter(|entry| entry.key_style != Style::Refused) {
            let path = if prefix.is_empty() {
                entry.key.value.clone()
            } else {
                format!("{prefix}.{}", entry.key.value)
            };
            let above = allowed.iter().any(|field| field.starts_with(&format!("{path}.")));
            let above = above
                || ELSEWHERE
                    .iter()
                    .any(|(field, _)| field.starts_with(&format!("{path}.")));
            match &entry.value.kind {
                _ if allowed.contains(&path.as_str()) => self.found.push((path, entry.clone())),
                Kind::Map(below) if above => self.walk(below, &path),
                _ => self.refuse(&path, entry, allowed),
            }
        }
    }

    fn refuse(&mut self, path: &str, entry: &Entry, allowed: &[&str]) {
        let kind = self.kind;
        if let Some((_, place)) = ELSEWHERE.iter().find(|(field, _)| *field == path) {
            let message = format!("`{path}` is set by `spec.{place}`, not by a claim");
            let problem = Diagnostic::error(codes::CHOICE, entry.key.span, message, "has a place of its own");
            self.problems
                .push(problem.fix(format!("write it under `spec.{place}`")));
        } else if is_field(kind.name(), path) {
            let message = format!("claims on `{path}` of {kind} come in a later version of hostguard");
            let problem = Diagnostic::error(codes::LATER, entry.key.span, message, "its meaning is not checked yet");
            let problem = problem.consequence("a wrong value here can stop Felix on every node");
            self.problems
                .push(problem.fix(format!("claims take {}", crate::plan::language::one_of(allowed))));
        } else {
            let meant = nearest(path, allowed.iter().copied());
            let label = meant.map_or("no such field".to_string(), |meant| format!("did you mean `{meant}`?"));
            let message = format!("unknown field `{path}` in the spec of {kind}");
            let problem = Diagnostic::error(codes::UNKNOWN_FIELD, entry.key.span, message, label);
            match meant {
                Some(meant) => {
                    self.problems.push(problem.fix(format!("write `{meant}`")));
                    let key = Spanned {
                        value: meant.to_string(),
                        span: entry.key.span,
                    };
                    self.found.push((meant.to_string(), Entry { key, ..entry.clone() }));
                }
                None => self
                    .problems
                    .push(problem.fix(format!("claims take {}", crate::plan::language::one_of(allowed)))),
            }
        }
    }
}

/// Whether Calico's own types have the field.
fn is_field(kind: &str, path: &str) -> bool {
    let below = |field: &'static schema::Field, name: &str| match &field.ty {
        schema::Type::Object(fields) => fields.iter().find(|field| field.name == name),
        _ => None,
    };
    let root = calico::schema(kind).and_then(|root| below(root, "spec"));
    path.split('.')
        .try_fold(root, |at, key| {
            at.map(|field| below(field, key)).filter(Option::is_some)
        })
        .flatten()
        .is_some()
}

/// Dotted paths as one tree.
fn nest(found: &[(String, Entry)], span: Span) -> Node {
    let mut root = Node {
        span,
        kind: Kind::Map(Vec::new()),
        via_alias: None,
    };
    for (path, entry) in found {
        let keys: Vec<&str> = path.split('.').collect();
        insert(&mut root, &keys, entry);
    }
    root
}

fn insert(at: &mut Node, keys: &[&str], entry: &Entry) {
    let [key, below @ ..] = keys else {
        // A field that is claimed twice was reported; the first claim is looked at.
        if at.entries().is_empty() && at.items().is_empty() && at.text().is_none() {
            *at = entry.value.clone();
        }
        return;
    };
    let Kind::Map(entries) = &mut at.kind else { return };
    if let Some(known) = entries.iter_mut().find(|entry| entry.key.value == *key) {
        return insert(&mut known.value, below, entry);
    }
    let mut value = Node {
        span: entry.value.span,
        kind: Kind::Map(Vec::new()),
        via_alias: None,
    };
    insert(&mut value, below, entry);
    let key = Spanned {
        value: key.to_string(),
        span: entry.key.span,
    };
    entries.push(Entry {
        key,
        key_style: entry.key_style,
        value,
    });
}

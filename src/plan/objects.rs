//! The sections that become Calico objects: tiers, network sets, policies.

use serde_json::{Value, json};

use crate::error::{Diagnostic, codes};
use crate::net::Cidr;
use crate::plan::check::{Builder, labels_of};
use crate::plan::node::{Entry, Kind, Node};
use crate::plan::raw::{Object, to_json};
use crate::plan::scalar::json_number;
use crate::plan::{NetworkSet, Policy, Tier};

impl<'a> Builder<'a> {
    pub(super) fn tier(&mut self, entry: &'a Entry) -> Option<Tier> {
        self.object("Tier", entry, entry.value.clone(), None, Vec::new());
        let order = entry
            .value
            .get("order")
            .and_then(|order| json_number(order.text()?)?.as_f64());
        let default_action = entry
            .value
            .get("defaultAction")
            .and_then(Node::text)
            .map(str::to_string);
        Some(Tier {
            order,
            default_action,
            span: entry.key.span,
        })
    }

    pub(super) fn network_set(&mut self, entry: &'a Entry) -> Option<NetworkSet> {
        let nets = entry.value.entry("nets")?;
        let labels = entry.value.get("labels");
        let spec = Node {
            kind: Kind::Map(vec![nets.clone()]),
            ..entry.value.clone()
        };
        self.object("GlobalNetworkSet", entry, spec, labels, Vec::new());
        let mut canonical: Vec<String> = Vec::new();
        for node in nets.value.items() {
            let Some(cidr) = node.text().and_then(|text| Cidr::parse(text).ok()) else {
                continue;
            };
            let text = cidr.to_string();
            if canonical.contains(&text) {
                let message = format!("network {text} stands twice in `{}`", entry.key.value);
                let problem = Diagnostic::error(codes::REPEATED, node.span, message, "again here").warning();
                self.problems.push(problem.fix("remove one of them"));
            } else {
                canonical.push(text);
            }
        }
        Some(NetworkSet {
            labels: labels.map(labels_of).unwrap_or_default(),
            nets: canonical,
            span: entry.key.span,
        })
    }

    pub(super) fn policy(&mut self, entry: &'a Entry) -> Option<Policy> {
        let name = &entry.key.value;
        let spec = entry.value.entry("spec")?;
        if !matches!(spec.value.kind, Kind::Map(_)) {
            if !spec.value.is_bad() {
                let message = "`spec` must be the spec of a GlobalNetworkPolicy, a mapping";
                let problem = Diagnostic::error(codes::WRONG_TYPE, spec.value.span, message, "expected a mapping");
                self.problems
                    .push(problem.fix("write it as Calico has it: `spec: { selector: ..., ingress: [...] }`"));
            }
            return None;
        }
        let tier = name.split_once('.').map_or("default", |(tier, _)| tier);
        self.bare_in_default(entry);
        if let Some(written) = spec.value.get("tier")
            && let Some(text) = written.text().filter(|text| *text != tier)
        {
            let message = format!("policy `{name}` is in tier `{tier}` by its name, in `{text}` by `spec.tier`");
            let problem = Diagnostic::error(codes::TIER_MISMATCH, written.span, message, "another tier");
            let bare = name.split_once('.').map_or(name.as_str(), |(_, bare)| bare);
            let rename = if text == "default" {
                bare.to_string()
            } else {
                format!("{text}.{bare}")
            };
            let problem = problem.and(entry.key.span, "named here");
            self.problems
                .push(problem.fix(format!("leave `tier` out, or name the policy `{rename}`")));
        }
        let mut derived: Vec<(&'static str, Value)> = vec![("tier", json!(tier))];
        if spec.value.get("types").is_none() {
            derived.push(("types", default_types(&spec.value)));
        }
        let mut json = to_json(&spec.value);
        for (key, value) in &derived {
            json[*key] = value.clone();
        }
        self.object("GlobalNetworkPolicy", entry, spec.value.clone(), None, derived);
        let rules = |list: &str| {
            let rules = spec.value.get(list).map_or(&[][..], Node::items);
            rules.iter().map(|rule| rule.span).collect()
        };
        Some(Policy {
            spec: json,
            span: entry.key.span,
            ingress: rules("ingress"),
            egress: rules("egress"),
        })
    }

    /// Names of tier `default` are bare.
    pub(super) fn bare_in_default(&mut self, entry: &Entry) {
        let name = &entry.key.value;
        if let Some(bare) = name.strip_prefix("default.") {
            let message = format!("policy `{name}` is in tier `default`, where names are bare");
            let problem = Diagnostic::error(codes::POLICY_NAME, entry.key.span, message, "prefix of tier `default`");
            let problem =
                problem.consequence("Calico releases differ on whether this is the same policy as the bare name");
            self.problems.push(problem.fix(format!("write `{bare}`")));
        }
    }

    fn object(
        &mut self,
        kind: &'static str,
        entry: &Entry,
        spec: Node,
        labels: Option<&Node>,
        derived: Vec<(&'static str, Value)>,
    ) {
        let object = Object {
            kind,
            name: &entry.key.value,
            name_span: entry.key.span,
            labels,
            spec,
            derived,
        };
        let found = object.check(self.source);
        // The plan's own rules have said the same of names and labels, in its own words.
        let said = |p: &Diagnostic| {
            let covers = |own: &Diagnostic| own.span() == p.span() && own.code.as_str() < "HG0400";
            ["HG0410", "HG0411"].contains(&p.code.as_str()) && self.problems.iter().any(covers)
        };
        let found: Vec<Diagnostic> = found.into_iter().filter(|p| !said(p)).collect();
        self.problems.extend(found);
    }
}

/// Calico's own default, written out (`api/pkg/defaults/networkpolicy.go`).
fn default_types(spec: &Node) -> Value {
    let given = |key| spec.get(key).is_some_and(|rules| !rules.items().is_empty());
    match (given("ingress"), given("egress")) {
        (_, false) => json!(["Ingress"]),
        (false, true) => json!(["Egress"]),
        (true, true) => json!(["Ingress", "Egress"]),
    }
}

//! From what was typed to what is meant: inputs filled in, references followed, Calico's rules asked, a [`Plan`] built.
//!
//! Returns all problems or one plan. Parts that a mistake was reported in are left out quietly; as there is then no
//! plan, nothing is lost.

use std::collections::BTreeMap;

use crate::error::{Diagnostic, Severity, codes};
use crate::plan::decode::decode;
use crate::plan::draft::Draft;
use crate::plan::given::{self, Given};
use crate::plan::inputs::{self, Lookups};
use crate::plan::language::{PLAN, Section, Type, nearest};
use crate::plan::node::{Entry, Kind, Node};
use crate::plan::*;
use crate::source::{Source, Spanned};

impl Draft {
    /// The plan, or everything that is wrong with it.
    pub fn check(&self, source: &Source, given: &Given, lookups: &Lookups) -> Result<Plan, Vec<Diagnostic>> {
        let mut problems = given::unknown_given(given, &self.input_names().collect(), self.inputs_span());
        problems.extend(self.problems.iter().cloned());
        match self.build(source, given, lookups, &mut problems) {
            Some(plan) if !problems.iter().any(|problem| problem.severity == Severity::Error) => Ok(Plan {
                warnings: tidy(problems),
                ..plan
            }),
            _ => Err(tidy(problems)),
        }
    }

    pub(super) fn input_names(&self) -> impl Iterator<Item = &str> {
        self.declared_inputs().iter().map(|entry| entry.key.value.as_str())
    }

    /// Where inputs are declared, or could be.
    pub(super) fn inputs_span(&self) -> Span {
        let spec = self.root.entry("spec");
        let inputs = spec.and_then(|spec| spec.value.entry("inputs"));
        inputs
            .or(spec)
            .map_or(Span::new(self.root.span.start, self.root.span.start), |entry| {
                entry.key.span
            })
    }

    fn declared_inputs(&self) -> &[Entry] {
        self.root
            .get("spec")
            .and_then(|spec| spec.get("inputs"))
            .map_or(&[], Node::entries)
    }

    /// Everything but the declarations of inputs given and unknown; `None` only where problems say why.
    pub(super) fn build(
        &self,
        source: &Source,
        given: &Given,
        lookups: &Lookups,
        problems: &mut Vec<Diagnostic>,
    ) -> Option<Plan> {
        let groups = self.root.get("spec").and_then(|spec| spec.get("nodes"));
        let (values, found) = inputs::resolve(self.declared_inputs(), groups, given, lookups);
        problems.extend(found);
        let filled = fill_spec(&self.root, &values, problems);
        let (root, found) = decode(&filled, true);
        problems.extend(found);
        let spec = root.get("spec")?;
        let mut builder = Builder { source, spec, problems };
        builder.references(&root, &Type::Object(&PLAN));
        let inputs = values
            .into_iter()
            .filter_map(|(name, resolved)| Some((name, resolved?.input)))
            .collect();
        let plan = Plan {
            name: String::new(),
            cluster: Cluster {
                platform: Platform::Generic,
                name: None,
                uid: None,
            },
            inputs,
            host_endpoints: builder.host_endpoints(),
            nodes: builder.section("nodes", Builder::node_group),
            services: builder.services(),
            tiers: builder.section("tiers", Builder::tier),
            network_sets: builder.section("networkSets", Builder::network_set),
            policies: builder.section("policies", Builder::policy),
            guards: builder.section("policies", Builder::guard),
            claims: builder.claims(),
            cloud: builder.cloud(),
            expect: builder.expectations(),
            never_open: builder.flows("neverOpen"),
            never_close: builder.flows("neverClose"),
            gates: builder.gates(),
            waivers: builder.waivers(),
            warnings: Vec::new(),
        };
        builder.contradictions(&plan);
        let cluster = builder.cluster()?;
        let name = root.get("metadata")?.get("name")?.text()?.to_string();
        Some(Plan { name, cluster, ..plan })
    }
}

/// Each problem once, by place.
pub(super) fn tidy(mut problems: Vec<Diagnostic>) -> Vec<Diagnostic> {
    problems.sort_by(|a, b| (a.span(), a.code, &a.message).cmp(&(b.span(), b.code, &b.message)));
    problems.dedup_by(|a, b| (a.code, a.span(), &a.message) == (b.code, b.span(), &b.message));
    problems
}

/// Fills in everything below `spec` but the declarations of inputs.
fn fill_spec(root: &Node, values: &BTreeMap<String, Option<inputs::Resolved>>, problems: &mut Vec<Diagnostic>) -> Node {
    let mut root = root.clone();
    if let Kind::Map(entries) = &mut root.kind
        && let Some(spec) = entries.iter_mut().find(|entry| entry.key.value == "spec")
        && let Kind::Map(sections) = &mut spec.value.kind
    {
        for section in sections.iter_mut().filter(|section| section.key.value != "inputs") {
            section.value = fill::tree(&section.value, &section.key.value, values, problems);
        }
    }
    root
}

pub(super) struct Builder<'a> {
    pub source: &'a Source,
    pub spec: &'a Node,
    pub problems: &'a mut Vec<Diagnostic>,
}

impl<'a> Builder<'a> {
    fn entries(&self, section: &str) -> &'a [Entry] {
        self.spec.get(section).map_or(&[], Node::entries)
    }

    fn section<T>(&mut self, name: &str, read: fn(&mut Self, &'a Entry) -> Option<T>) -> BTreeMap<String, T> {
        let entries = self.entries(name);
        entries
            .iter()
            .filter_map(|entry| Some((entry.key.value.clone(), read(self, entry)?)))
            .collect()
    }

    /// Every name of something in this plan, wherever the table says that one stands.
    fn references(&mut self, node: &Node, ty: &Type) {
        match ty {
            Type::Object(object) => {
                for entry in node.entries() {
                    if let Some(field) = object.field(&entry.key.value) {
                        self.references(&entry.value, &field.ty);
                    }
                }
            }
            Type::List(item, _) => node.items().iter().for_each(|node| self.references(node, item)),
            Type::Map(_, value) => node
                .entries()
                .iter()
                .for_each(|entry| self.references(&entry.value, value)),
            Type::Either(_, object) if matches!(node.kind, Kind::Map(_)) => {
                for entry in node.entries() {
                    if let Some(field) = object.field(&entry.key.value) {
                        self.references(&entry.value, &field.ty);
                    }
                }
            }
            Type::Ref(section) => self.reference(node, *section),
            _ => {}
        }
    }

    fn reference(&mut self, node: &Node, section: Section) {
        let Some(name) = node.text() else { return };
        let names: Vec<&Entry> = self.entries(section.key()).iter().collect();
        if names.iter().any(|entry| entry.key.value == name) {
            return;
        }
        let meant = nearest(name, names.iter().map(|entry| entry.key.value.as_str()));
        let label = meant.map_or(format!("not declared under `{}`", section.key()), |meant| {
            format!("did you mean `{meant}`?")
        });
        let message = format!("no {} named `{name}` in this plan", section.noun());
        let mut problem = Diagnostic::error(codes::UNKNOWN_REFERENCE, node.span, message, label);
        if let Some(entry) = names.iter().find(|entry| Some(entry.key.value.as_str()) == meant) {
            problem = problem.and(entry.key.span, format!("`{}` is declared here", entry.key.value));
        }
        let known: Vec<&str> = names.iter().map(|entry| entry.key.value.as_str()).take(5).collect();
        problem.fix = Some(match meant {
            Some(meant) => format!("write `{meant}`"),
            None if known.is_empty() => format!("declare it under `spec.{}`", section.key()),
            None => format!("declare it, or use {}", crate::plan::language::one_of(&known)),
        });
        self.problems.push(problem);
    }

    fn cluster(&self) -> Option<Cluster> {
        let cluster = self.spec.get("cluster")?;
        let platform = match cluster.get("platform")?.text()? {
            "eks" => Platform::Eks,
            "aks" => Platform::Aks,
            "gke" => Platform::Gke,
            "kubeadm" => Platform::Kubeadm,
            "rke2" => Platform::Rke2,
            "generic" => Platform::Generic,
            _ => return None,
        };
        let text = |key| cluster.get(key).and_then(Node::text);
        let uid = cluster.get("uid").and_then(|uid| {
            Some(Spanned {
                value: uid.text()?.to_string(),
                span: uid.span,
            })
        });
        Some(Cluster {
            platform,
            name: text("name").map(str::to_string),
            uid,
        })
    }

    fn host_endpoints(&self) -> Option<HostEndpoints> {
        let entry = self.spec.entry("hostEndpoints")?;
        let text = |key| entry.value.get(key).and_then(Node::text);
        let flow_logs = match text("flowLogs") {
            Some("Enabled") => Some(FlowLogs::Enabled),
            Some("Disabled") => Some(FlowLogs::Disabled),
            Some("IfSupported") => Some(FlowLogs::IfSupported),
            _ => None,
        };
        let auto_create = text("autoCreate").map(|word| word == "Enabled");
        Some(HostEndpoints {
            auto_create,
            flow_logs,
            span: entry.key.span,
        })
    }

    fn node_group(&mut self, entry: &'a Entry) -> Option<NodeGroup> {
        let node = &entry.value;
        let select = if let Some(pick) = node.get("pick") {
            let address = pick.get("address").and_then(Node::text).map(address_type);
            Select::Pick {
                address,
                count: pick.get("count")?.text()?.parse().ok()?,
            }
        } else if let Some(labels) = node.get("matchLabels") {
            Select::MatchLabels(labels_of(labels))
        } else if let Some(names) = node.get("names") {
            let names: Vec<Spanned<String>> = names
                .items()
                .iter()
                .filter_map(|name| {
                    Some(Spanned {
                        value: name.text()?.to_string(),
                        span: name.span,
                    })
                })
                .collect();
            self.distinct(&names, "node");
            Select::Names(names)
        } else {
            node.get("all")?;
            Select::All
        };
        let labels = node.get("labels").map(labels_of).unwrap_or_default();
        Some(NodeGroup {
            select,
            labels,
            span: entry.key.span,
        })
    }

    /// Reports names that stand twice.
    pub fn distinct(&mut self, names: &[Spanned<String>], noun: &str) {
        let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
        for name in names {
            match seen.get(name.value.as_str()) {
                Some(first) => {
                    let message = format!("{noun} `{}` stands twice", name.value);
                    let problem = Diagnostic::error(codes::SAME_NAME, name.span, message, "again here");
                    self.problems
                        .push(problem.and(*first, "first here").fix("remove or rename one of the two"));
                }
                None => drop(seen.insert(&name.value, name.span)),
            }
        }
    }

    fn claims(&mut self) -> Vec<Claim> {
        let mut claimed = claims::Claimed::new();
        let items = self.spec.get("claims").map_or(&[][..], Node::items);
        items
            .iter()
            .filter_map(|node| claims::check(node, &mut claimed, self.source, self.problems))
            .collect()
    }
}

pub(super) fn labels_of(node: &Node) -> BTreeMap<String, String> {
    let pairs = node.entries().iter();
    pairs
        .filter_map(|entry| Some((entry.key.value.clone(), entry.value.text()?.to_string())))
        .collect()
}

fn address_type(word: &str) -> AddressType {
    if word == "ExternalIP" {
        AddressType::ExternalIP
    } else {
        AddressType::InternalIP
    }
}

//! The inputs of a plan: which value each has, and where it came from.
//!
//! Reads no file, no environment and no cluster: given values and looked-up addresses are passed in. A mistake in a
//! given value is placed at the input's declaration and names its origin, because only the plan's text can be shown.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::error::{Diagnostic, codes};
use crate::net::{Cidr, CidrError, Family};
use crate::plan::language::{InputType, NODE_ADDRESS, nearest};
use crate::plan::scalar::{bad_cidr, parse_port};
use crate::plan::yaml::{self, Entry, Kind, Node};
use crate::plan::{AddressType, Input, InputValue, Lookup, LookupNode, Provenance, fill};
use crate::source::{Source, Span};

/// Values from outside the plan; the first that has a name wins, files in reverse.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// `--set NAME=VALUE`
    pub set: BTreeMap<String, String>,
    /// `--inputs FILE`, as [`read_inputs`] gives them.
    pub files: Vec<(String, BTreeMap<String, GivenValue>)>,
    /// Environment variables that begin with `HOSTGUARD_INPUT_`, by their full name.
    pub env: BTreeMap<String, String>,
}

/// A value from a file of inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenValue {
    /// Several only for a list.
    pub values: Vec<String>,
    /// `inputs.yaml:3:10`
    pub place: String,
}

/// Addresses that were looked up in live state.
#[derive(Clone, Debug)]
pub enum Lookups {
    /// Not yet: a documentation address of the right family stands in, so that the rest can be checked.
    Pending,
    /// By name of the input.
    Known(BTreeMap<String, String>),
}

/// An input with its value.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    pub ty: InputType,
    /// Canonical; several only for `cidrs`, never none.
    pub values: Vec<String>,
    pub input: Input,
}

/// Reads a file given by `--inputs`: one mapping from names to a value or a list of values.
pub fn read_inputs(name: &str, bytes: &[u8]) -> Result<BTreeMap<String, GivenValue>, (Source, Vec<Diagnostic>)> {
    let text = yaml::read(name, bytes);
    let mut problems = text.problems;
    let mut values = BTreeMap::new();
    let mut refuse = |span: Span, message: &str, label: &str| {
        problems.push(Diagnostic::error(codes::INPUTS_FILE, span, message, label));
    };
    for (i, document) in text.documents.iter().enumerate() {
        if i > 0 || !matches!(document.kind, Kind::Map(_)) {
            refuse(
                document.span,
                "an inputs file is one mapping from names to values",
                "not expected here",
            );
        }
        for entry in document.entries() {
            let (value, span) = (&entry.value, entry.value.span);
            let items = if let Kind::Seq(items) = &value.kind {
                items.as_slice()
            } else {
                std::slice::from_ref(value)
            };
            let texts: Vec<String> = items
                .iter()
                .filter_map(|item| item.text().map(str::to_string))
                .collect();
            if value.is_null() || texts.len() != items.len() {
                refuse(
                    if span.is_empty() { entry.key.span } else { span },
                    "the value of an input is a text or a list of texts",
                    "expected a value",
                );
            }
            let place = text.source.locate(span);
            values.insert(entry.key.value.clone(), GivenValue { values: texts, place });
        }
    }
    if problems.is_empty() {
        Ok(values)
    } else {
        Err((text.source, problems))
    }
}

/// The name of the environment variable of an input.
pub fn variable(name: &str) -> String {
    format!("HOSTGUARD_INPUT_{}", name.to_ascii_uppercase().replace('-', "_"))
}

/// Gives every declared input its value; `None` where that was a mistake, which is reported.
pub(super) fn resolve(
    inputs: &[Entry],
    groups: Option<&Node>,
    given: &Given,
    lookups: &Lookups,
) -> (BTreeMap<String, Option<Resolved>>, Vec<Diagnostic>) {
    let mut resolver = Resolver {
        declared: inputs.iter().map(|entry| (entry.key.value.as_str(), entry)).collect(),
        groups,
        given,
        lookups,
        done: BTreeMap::new(),
        walk: Vec::new(),
        problems: Vec::new(),
    };
    let mut variables: BTreeMap<String, &Entry> = BTreeMap::new();
    for entry in inputs {
        if let Some(first) = variables.insert(variable(&entry.key.value), entry)
            && first.key.value != entry.key.value
        {
            let message = format!(
                "inputs `{}` and `{}` read one variable",
                first.key.value, entry.key.value
            );
            let label = format!("also {}", variable(&entry.key.value));
            let problem = Diagnostic::error(codes::SAME_NAME, entry.key.span, message, label);
            resolver
                .problems
                .push(problem.and(first.key.span, "the first").fix("rename one of the two"));
        }
        resolver.resolve(&entry.key.value);
    }
    (resolver.done, resolver.problems)
}

/// Values given for names that no plan declares.
pub(super) fn unknown_given(given: &Given, declared: &BTreeSet<&str>, place: Span) -> Vec<Diagnostic> {
    let set = given.set.keys().map(|name| (name, format!("--set {name}=…")));
    let files = given
        .files
        .iter()
        .flat_map(|(_, values)| values.iter().map(|(name, v)| (name, v.place.clone())));
    set.chain(files)
        .filter(|(name, _)| !declared.contains(name.as_str()))
        .map(|(name, origin)| {
            let message = format!("{origin}: the plan has no input `{name}`");
            let problem = Diagnostic::error(codes::INPUT_UNKNOWN, place, message, "inputs are declared here");
            match nearest(name, declared.iter().copied()) {
                Some(meant) => problem.fix(format!("did you mean `{meant}`?")),
                None => problem.fix(format!("declare `{name}` under `inputs`, or do not give it")),
            }
        })
        .collect()
}

struct Resolver<'a> {
    declared: BTreeMap<&'a str, &'a Entry>,
    groups: Option<&'a Node>,
    given: &'a Given,
    lookups: &'a Lookups,
    done: BTreeMap<String, Option<Resolved>>,
    /// The defaults being followed.
    walk: Vec<String>,
    problems: Vec<Diagnostic>,
}

/// A value on its way: its texts, who gave it, and where a mistake in it is shown.
struct Candidate {
    values: Vec<String>,
    provenance: Provenance,
    origin: String,
    span: Span,
}

impl Resolver<'_> {
    fn resolve(&mut self, name: &str) {
        if self.done.contains_key(name) {
            return;
        }
        let Some(entry) = self.declared.get(name).copied() else {
            return;
        };
        self.walk.push(name.to_string());
        let resolved = self.value_of(entry);
        self.walk.pop();
        self.done.insert(name.to_string(), resolved);
    }

    fn value_of(&mut self, entry: &Entry) -> Option<Resolved> {
        let declaration = &entry.value;
        let ty = InputType::parse(declaration.get("type")?.text()?)?;
        let lookup = declaration
            .entry("lookup")
            .map(|lookup| (lookup, self.lookup(lookup, ty)));
        let default = declaration.entry("default");
        if let (Some((lookup, _)), Some(default)) = (&lookup, default) {
            let message = format!("input `{}` has a lookup and a default", entry.key.value);
            let problem = Diagnostic::error(codes::CHOICE, default.key.span, message, "would never be used");
            let problem = problem.and(lookup.key.span, "always gives the value, or fails");
            self.problems.push(problem.fix("remove one of the two"));
        }
        // Read even when another value wins: a mistake in it would come out in another run.
        let default = default.and_then(|default| self.default(ty, &default.value));
        if let Some(candidate) = self.given(entry, ty) {
            return self.typed(entry, ty, candidate);
        }
        match (lookup, default) {
            (Some((_, lookup)), _) => self.looked_up(entry, ty, lookup?),
            (None, Some(candidate)) => self.typed(entry, ty, candidate),
            (None, None) if declaration.get("default").is_some() => None,
            (None, None) => {
                let name = &entry.key.value;
                let message = format!("input `{name}` has no value");
                let problem =
                    Diagnostic::error(codes::INPUT_MISSING, entry.key.span, message, "none given, no default");
                let ways = format!("give --set {name}=VALUE, a file with --inputs, or {}", variable(name));
                self.problems.push(problem.fix(ways));
                None
            }
        }
    }

    fn given(&self, entry: &Entry, ty: InputType) -> Option<Candidate> {
        let name = &entry.key.value;
        let listed = |text: &str| match ty {
            InputType::Cidrs => text.split(',').map(|item| item.trim().to_string()).collect(),
            _ => vec![text.to_string()],
        };
        let span = entry.key.span;
        if let Some(text) = self.given.set.get(name) {
            let origin = format!("--set {name}={text}");
            return Some(Candidate {
                values: listed(text),
                provenance: Provenance::Set,
                origin,
                span,
            });
        }
        if let Some((file, value)) = self
            .given
            .files
            .iter()
            .rev()
            .find_map(|(file, values)| Some((file, values.get(name)?)))
        {
            let provenance = Provenance::File(file.clone());
            return Some(Candidate {
                values: value.values.clone(),
                provenance,
                origin: value.place.clone(),
                span,
            });
        }
        let variable = variable(name);
        let text = self.given.env.get(&variable)?;
        let origin = format!("{variable}={text}");
        Some(Candidate {
            values: listed(text),
            provenance: Provenance::Environment(variable),
            origin,
            span,
        })
    }

    /// The default with other inputs filled in.
    fn default(&mut self, ty: InputType, node: &Node) -> Option<Candidate> {
        let items = if let Kind::Seq(items) = &node.kind {
            items.as_slice()
        } else {
            std::slice::from_ref(node)
        };
        if let (Kind::Seq(_), false) = (&node.kind, ty == InputType::Cidrs) {
            let message = format!("a list as default of an input of type {}", ty.word());
            self.problems.push(Diagnostic::error(
                codes::WRONG_TYPE,
                node.span,
                message,
                "expected one value",
            ));
            return None;
        }
        let mut values = Vec::new();
        let mut whole = true;
        for item in items {
            match self.default_item(ty, item) {
                Some(texts) => values.extend(texts),
                None => whole = false,
            }
        }
        let candidate = Candidate {
            values,
            provenance: Provenance::Default,
            origin: String::new(),
            span: node.span,
        };
        whole.then_some(candidate)
    }

    fn default_item(&mut self, ty: InputType, item: &Node) -> Option<Vec<String>> {
        let text = item.text()?;
        for name in fill::names(text) {
            if self.walk.iter().any(|walked| walked == name) {
                let start = self.walk.iter().position(|walked| walked == name).unwrap_or(0);
                let mut walk: Vec<&str> = self.walk[start..].iter().map(String::as_str).collect();
                walk.push(name);
                let message = format!("inputs use each other: {}", walk.join(" -> "));
                let problem =
                    Diagnostic::error(codes::CIRCULAR, item.span, message, "leads back to where it came from");
                self.problems
                    .push(problem.fix("give one of them a default without `${...}`"));
                return None;
            }
            self.resolve(name);
        }
        if !text.contains("${") {
            let one = || vec![text.to_string()];
            let listed = || text.split(',').map(|item| item.trim().to_string()).collect();
            return Some(if ty == InputType::Cidrs { listed() } else { one() });
        }
        match fill::scalar(text, item.span, &self.done, ty == InputType::String) {
            Ok(filled) => Some(match (filled.ty, ty) {
                (InputType::Ip, InputType::Cidr | InputType::Cidrs) => {
                    filled.values.iter().map(|ip| host(ip)).collect()
                }
                _ => filled.values,
            }),
            Err(problem) => {
                self.problems.extend(problem.map(|problem| *problem));
                None
            }
        }
    }

    /// The value as its type says, in canonical form.
    fn typed(&mut self, entry: &Entry, ty: InputType, candidate: Candidate) -> Option<Resolved> {
        let mut values: Vec<String> = Vec::new();
        let mut problems = Vec::new();
        if candidate.values.iter().all(String::is_empty) && ty != InputType::String {
            problems.push(refused(&candidate, "has no value".to_string(), None));
        } else if candidate.values.len() > 1 && ty != InputType::Cidrs {
            problems.push(refused(
                &candidate,
                format!("is a list, expected one {}", ty.word()),
                None,
            ));
        } else {
            for text in &candidate.values {
                match canonical(ty, text, &candidate) {
                    Ok(value) if values.contains(&value) => {}
                    Ok(value) => values.push(value),
                    Err(problem) => problems.push(*problem),
                }
            }
        }
        if !problems.is_empty() {
            self.problems.extend(problems);
            return None;
        }
        let value = InputValue::Known(values.join(", "));
        let input = Input {
            value,
            provenance: candidate.provenance,
            span: entry.key.span,
        };
        Some(Resolved { ty, values, input })
    }

    /// What to look up; `None` where that was a mistake.
    fn lookup(&mut self, entry: &Entry, ty: InputType) -> Option<Lookup> {
        let node = &entry.value;
        let fits = !matches!(ty, InputType::Port | InputType::String);
        if !fits {
            let message = format!("a lookup gives an address, the input is of type {}", ty.word());
            let problem = Diagnostic::error(codes::INPUT_MISFIT, entry.key.span, message, "for ip, cidr and cidrs");
            self.problems.push(problem.fix("write `type: ip`"));
        }
        let from = node.get("from")?;
        let family = node.get("family").and_then(Node::text);
        let family = if family == Some("IPv6") { Family::V6 } else { Family::V4 };
        let address = match node.get("address").and_then(Node::text) {
            Some("ExternalIP") => AddressType::ExternalIP,
            _ => AddressType::InternalIP,
        };
        if from.text()? != NODE_ADDRESS {
            let message = format!("lookup `{}` comes in a later version of hostguard", from.text()?);
            let problem = Diagnostic::error(codes::LATER, from.span, message, "understood, not supported yet");
            self.problems
                .push(problem.fix("give the value with --set, or take a node's address"));
            return Some(Lookup {
                node: LookupNode::Name(String::new()),
                address,
                family,
            });
        }
        for key in ["instance", "vm"] {
            if let Some(other) = node.entry(key) {
                let message = format!("a lookup from {NODE_ADDRESS} takes no `{key}`");
                self.problems.push(Diagnostic::error(
                    codes::CHOICE,
                    other.key.span,
                    message,
                    "belongs to a cloud's lookup",
                ));
                return None;
            }
        }
        let target = match (node.get("node"), node.get("group")) {
            (Some(name), _) => LookupNode::Name(name.text()?.to_string()),
            (None, Some(group)) => {
                self.one_node(group);
                LookupNode::Group(group.text()?.to_string())
            }
            (None, None) => {
                let message = format!("a lookup from {NODE_ADDRESS} needs `node` or `group`");
                let problem = Diagnostic::error(codes::MISSING, from.span, message, "of which node?");
                self.problems.push(problem.fix("add `group: guarded`"));
                return None;
            }
        };
        fits.then_some(Lookup {
            node: target,
            address,
            family,
        })
    }

    fn one_node(&mut self, group: &Node) {
        let declared = group.text().and_then(|name| self.groups?.entry(name));
        let Some(declared) = declared else { return };
        let names = declared.value.get("names").map(|names| names.items().len());
        let count = declared
            .value
            .get("pick")
            .and_then(|pick| pick.get("count")?.text()?.parse().ok());
        if let Some(count) = count.or(names).filter(|count| *count > 1) {
            let message = format!("group `{}` holds {count} nodes, a lookup reads one", declared.key.value);
            let problem = Diagnostic::error(codes::NOT_ONE_NODE, group.span, message, "of which of them?");
            let problem = problem.and(declared.key.span, "declared here");
            self.problems
                .push(problem.fix("make a group of one node, `pick` with count 1 or one name"));
        }
    }

    fn looked_up(&mut self, entry: &Entry, ty: InputType, lookup: Lookup) -> Option<Resolved> {
        let address = match self.lookups {
            Lookups::Pending => match lookup.family {
                Family::V4 => "192.0.2.1",
                Family::V6 => "2001:db8::1",
            },
            Lookups::Known(found) => match found.get(&entry.key.value) {
                Some(address) => address,
                None => {
                    let message = format!("input `{}` was not looked up", entry.key.value);
                    self.problems.push(Diagnostic::error(
                        codes::INPUT_MISSING,
                        entry.key.span,
                        message,
                        "no address found",
                    ));
                    return None;
                }
            },
        };
        let text = if ty == InputType::Ip {
            address.to_string()
        } else {
            host(address)
        };
        let origin = format!("lookup of {}", entry.key.value);
        let candidate = Candidate {
            values: vec![text],
            provenance: Provenance::Lookup,
            origin,
            span: entry.key.span,
        };
        let mut resolved = self.typed(entry, ty, candidate)?;
        if matches!(self.lookups, Lookups::Pending) {
            resolved.input.value = InputValue::Lookup(lookup);
        }
        Some(resolved)
    }
}

/// The network of one address; what is no address stays as it is and is refused where it is used.
pub(super) fn host(ip: &str) -> String {
    ip.parse::<IpAddr>()
        .map_or_else(|_| ip.to_string(), |ip| Cidr::host(ip).to_string())
}

fn refused(candidate: &Candidate, what: String, fix: Option<String>) -> Diagnostic {
    let (origin, label) = match &candidate.provenance {
        Provenance::Default => ("the default".to_string(), "of this default"),
        _ => (candidate.origin.clone(), "of this input"),
    };
    let mut problem = Diagnostic::error(codes::INPUT_VALUE, candidate.span, format!("{origin}: {what}"), label);
    problem.fix = fix;
    problem
}

fn canonical(ty: InputType, text: &str, candidate: &Candidate) -> Result<String, Box<Diagnostic>> {
    let refuse = |what: String, fix: Option<String>| Err(Box::new(refused(candidate, what, fix)));
    if text.contains("${") {
        return refuse(format!("`{text}` still holds a placeholder"), None);
    }
    match ty {
        InputType::Cidr | InputType::Cidrs => match Cidr::parse(text) {
            Ok(cidr) => Ok(cidr.to_string()),
            Err(error) if candidate.provenance == Provenance::Default => {
                Err(Box::new(bad_cidr(&error, candidate.span)))
            }
            Err(error) => refuse(error.to_string(), CidrError::fix(&error)),
        },
        InputType::Ip => match text.parse::<IpAddr>() {
            Ok(ip) => Ok(ip.to_canonical().to_string()),
            Err(_) if candidate.provenance == Provenance::Default => {
                let message = format!("`{text}` is not an IP address");
                let problem = Diagnostic::error(codes::NOT_AN_ADDRESS, candidate.span, message, "expected one address");
                Err(Box::new(problem))
            }
            Err(_) => refuse(format!("`{text}` is not an IP address"), None),
        },
        InputType::Port => match parse_port(text) {
            Some(port) => Ok(port.to_string()),
            None => refuse(format!("`{text}` is not a port from 1 to 65535"), None),
        },
        InputType::String if text.chars().any(char::is_control) => {
            refuse("a string holds control characters".to_string(), None)
        }
        InputType::String => Ok(text.to_string()),
    }
}

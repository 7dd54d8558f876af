//! The inputs of a plan: which value each has, and where it came from.
//!
//! Given values and looked-up addresses are passed in. A mistake in a
//! given value is placed at the input's declaration and names its origin, because only the plan's text can be shown.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::error::{Diagnostic, codes};
use crate::net::{Cidr, CidrError};
use crate::plan::given::{Given, variable};
use crate::plan::language::InputType;
use crate::plan::node::{Entry, Kind, Node};
use crate::plan::scalar::{bad_cidr, parse_port};
use crate::plan::{Input, InputValue, Provenance, fill};
use crate::source::Span;

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

pub(super) struct Resolver<'a> {
    declared: BTreeMap<&'a str, &'a Entry>,
    pub groups: Option<&'a Node>,
    given: &'a Given,
    pub lookups: &'a Lookups,
    done: BTreeMap<String, Option<Resolved>>,
    /// The defaults being followed.
    walk: Vec<String>,
    pub problems: Vec<Diagnostic>,
}

/// A value on its way: its texts, who gave it, and where a mistake in it is shown.
pub(super) struct Candidate {
    pub values: Vec<String>,
    pub provenance: Provenance,
    pub origin: String,
    pub span: Span,
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
        let default = default.and_then(|default| self.default(entry, ty, &default.value));
        if let Some(candidate) = self.given(entry, ty) {
            return self.typed(entry, ty, candidate);
        }
        match (lookup, default) {
            (Some((_, lookup)), _) => self.looked_up(entry, ty, lookup?),
            (None, Some(resolved)) => Some(resolved),
            (None, None) if declaration.get("default").is_some() => None,
            (None, None) => self.no_value(entry, ty),
        }
    }

    /// Nothing gives the input a value: a mistake, but where stand-ins are asked for.
    fn no_value(&mut self, entry: &Entry, ty: InputType) -> Option<Resolved> {
        let name = &entry.key.value;
        let ways = format!("give --set {name}=VALUE, a file with --inputs, or {}", variable(name));
        let missing = |message: String, label: &str| {
            Diagnostic::error(codes::INPUT_MISSING, entry.key.span, message, label).fix(ways.clone())
        };
        if !self.given.stand_ins {
            self.problems.push(missing(
                format!("input `{name}` has no value"),
                "none given, no default",
            ));
            return None;
        }
        // addresses for documentation (RFC 5737), which no cluster has
        let value = match ty {
            InputType::Cidr | InputType::Cidrs => "192.0.2.0/24",
            InputType::Ip => "192.0.2.1",
            InputType::Port => "32767",
            InputType::String => "stand-in",
        };
        let message = format!("input `{name}` has no value; the plan is checked with `{value}`");
        self.problems
            .push(missing(message, "a value is needed to plan").warning());
        let candidate = Candidate {
            values: vec![value.to_string()],
            provenance: Provenance::Default,
            origin: "stand-in".to_string(),
            span: entry.key.span,
        };
        self.typed(entry, ty, candidate)
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
    fn default(&mut self, entry: &Entry, ty: InputType, node: &Node) -> Option<Resolved> {
        let items = if let Kind::Seq(items) = &node.kind {
            items.as_slice()
        } else {
            std::slice::from_ref(node)
        };
        if let (Kind::Seq(_), false) = (&node.kind, ty == InputType::Cidrs) {
            let message = format!("a list as default of an input of type {}", ty.word());
            let problem = Diagnostic::error(codes::WRONG_TYPE, node.span, message, "expected one value");
            self.problems
                .push(problem.fix("write one value, or make it `type: cidrs`"));
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
        if values.is_empty() && !whole {
            return None;
        }
        // Those that are left are looked at even when one of them was wrong.
        let candidate = Candidate {
            values,
            provenance: Provenance::Default,
            origin: String::new(),
            span: node.span,
        };
        self.typed(entry, ty, candidate).filter(|_| whole)
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
    pub(super) fn typed(&mut self, entry: &Entry, ty: InputType, candidate: Candidate) -> Option<Resolved> {
        let mut values: Vec<String> = Vec::new();
        let mut problems = Vec::new();
        if candidate.values.iter().all(String::is_empty) && ty != InputType::String {
            let fix = match candidate.provenance {
                Provenance::Default => "write a value, or leave the default out".to_string(),
                _ => format!("give a value, such as --set {}=VALUE", entry.key.value),
            };
            problems.push(refused(&candidate, "has no value".to_string(), Some(fix)));
        } else if candidate.values.len() > 1 && ty != InputType::Cidrs {
            problems.push(refused(
                &candidate,
                format!("is a list, expected one {}", ty.word()),
                Some("give one value, or make the input `type: cidrs`".to_string()),
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

fn one_address(text: &str) -> String {
    let alone = text.split('/').next().filter(|alone| alone.parse::<IpAddr>().is_ok());
    format!(
        "write one address, without prefix length: `{}`",
        alone.unwrap_or("203.0.113.7")
    )
}

fn canonical(ty: InputType, text: &str, candidate: &Candidate) -> Result<String, Box<Diagnostic>> {
    let refuse = |what: String, fix: Option<String>| Err(Box::new(refused(candidate, what, fix)));
    if text.contains("${") {
        let fix = "give the value itself: inputs are filled in within the plan only";
        return refuse(format!("`{text}` still holds a placeholder"), Some(fix.to_string()));
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
                Err(Box::new(problem.fix(one_address(text))))
            }
            Err(_) => refuse(format!("`{text}` is not an IP address"), Some(one_address(text))),
        },
        InputType::Port => match parse_port(text) {
            Some(port) => Ok(port.to_string()),
            None => refuse(
                format!("`{text}` is not a port from 1 to 65535"),
                Some("give its number, such as 8080".to_string()),
            ),
        },
        InputType::String if text.chars().any(char::is_control) => {
            let fix = "write it without control characters, such as line breaks";
            refuse("a string holds control characters".to_string(), Some(fix.to_string()))
        }
        InputType::String => Ok(text.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::plan::{Document, Plan, read_inputs};

    const HEAD: &str = "apiVersion: hostguard.dev/v1alpha1\nkind: HostProtection\nmetadata: { name: p }\nspec:\n  \
                        cluster: { platform: generic }\n";

    fn check(body: &str, given: &Given, lookups: &Lookups) -> Result<Plan, Vec<String>> {
        let document = Document::read("p.yaml", format!("{HEAD}{body}").as_bytes());
        let said = |problems: Vec<Diagnostic>| problems.iter().map(|p| format!("{} {}", p.code, p.message)).collect();
        document.the_plan(given, lookups).map_err(said)
    }

    fn one(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect()
    }

    fn value(plan: &Plan, name: &str) -> (String, Provenance) {
        let input = &plan.inputs[name];
        let InputValue::Known(text) = &input.value else {
            panic!("{input:?}")
        };
        (text.clone(), input.provenance.clone())
    }

    #[test]
    fn the_nearest_origin_wins() {
        let body = "  inputs: { my-port: { type: port, default: 1 } }\n";
        let mut given = Given::default();
        let known = |given: &Given| value(&check(body, given, &Lookups::Pending).expect("a plan"), "my-port");
        assert_eq!(known(&given), ("1".into(), Provenance::Default));
        given.env = one(&[("HOSTGUARD_INPUT_MY_PORT", "2"), ("HOSTGUARD_INPUT_OTHER", "x")]);
        assert_eq!(
            known(&given),
            ("2".into(), Provenance::Environment("HOSTGUARD_INPUT_MY_PORT".into()))
        );
        for (file, port) in [("a.yaml", "3"), ("b.json", "4")] {
            let values = read_inputs(file, format!("{{\"my-port\": {port}}}").as_bytes()).expect("an inputs file");
            given.files.push((file.to_string(), values));
            assert_eq!(known(&given), (port.into(), Provenance::File(file.into())));
        }
        given.set = one(&[("my-port", "5")]);
        assert_eq!(known(&given), ("5".into(), Provenance::Set));
    }

    #[test]
    fn a_lookup_stands_in_until_it_is_known() {
        let body = "  inputs: { vm: { type: ip, lookup: { from: node/address, node: n1, address: InternalIP } } }\n  \
                    networkSets: { s: { nets: [\"${vm}\"] } }\n";
        let plan = check(body, &Given::default(), &Lookups::Pending).expect("a plan");
        assert!(matches!(plan.inputs["vm"].value, InputValue::Lookup(_)));
        let known = Lookups::Known(one(&[("vm", "10.0.0.7")]));
        let plan = check(body, &Given::default(), &known).expect("a plan");
        assert_eq!(
            value(&plan, "vm"),
            ("10.0.0.7".into(), Provenance::Lookup("node/address".into()))
        );
        assert_eq!(plan.network_sets["s"].nets, ["10.0.0.7/32"]);
        let given = Given {
            set: one(&[("vm", "2001:db8::7")]),
            ..Given::default()
        };
        let plan = check(body, &given, &Lookups::Pending).expect("a given value needs no lookup");
        assert_eq!(plan.network_sets["s"].nets, ["2001:db8::7/128"]);
        let missing = check(body, &Given::default(), &Lookups::Known(BTreeMap::new()));
        assert_eq!(missing.expect_err("not found"), ["HG0210 input `vm` was not looked up"]);
    }

    #[test]
    fn a_list_is_spliced_and_a_string_may_be_a_part() {
        let body = "  inputs:\n    nets: { type: cidrs }\n    role: { type: string, default: partner }\n    \
                    url: { type: string, default: \"https://${host}:${port}\" }\n    \
                    host: { type: ip, default: 10.0.0.1 }\n    port: { type: port, default: 443 }\n  \
                    networkSets: { s: { labels: { role: \"the-${role}\" }, nets: [192.0.2.0/24, \"${nets}\"] } }\n";
        let given = Given {
            set: one(&[("nets", "10.0.0.0/8, 10.0.0.0/8,172.16.0.0/12")]),
            ..Given::default()
        };
        let plan = check(body, &given, &Lookups::Pending).expect("a plan");
        let set = &plan.network_sets["s"];
        assert_eq!(set.nets, ["192.0.2.0/24", "10.0.0.0/8", "172.16.0.0/12"]);
        assert_eq!(set.labels["role"], "the-partner");
        assert_eq!(value(&plan, "url").0, "https://10.0.0.1:443");
    }

    #[test]
    fn an_empty_list_of_networks_is_no_value() {
        let body = "  inputs: { nets: { type: cidrs } }\n";
        for text in ["", ",", " "] {
            let given = Given {
                set: one(&[("nets", text)]),
                ..Given::default()
            };
            let said = check(body, &given, &Lookups::Pending).expect_err("no networks");
            assert!(
                said.iter().all(|said| said.starts_with("HG0211 --set nets=")),
                "{text:?}: {said:?}"
            );
        }
    }

    #[test]
    fn a_port_is_a_number_in_a_policy_and_an_address_a_network() {
        let body = "  inputs: { port: { type: port, default: 80 }, vm: { type: ip, default: 10.0.0.1 } }\n  policies: { a: { spec: \
                    { ingress: [{ action: Deny, protocol: TCP, source: { nets: [\"${vm}\"] }, destination: { ports: \
                    [\"${port}\"] } }] } } }\n";
        let plan = check(body, &Given::default(), &Lookups::Pending).expect("a plan");
        let spec = &plan.policies["a"].spec;
        assert_eq!(spec["ingress"][0]["destination"]["ports"][0], 80);
        assert_eq!(spec["ingress"][0]["source"]["nets"][0], "10.0.0.1/32");
        assert_eq!(
            (&spec["tier"], &spec["types"][0]),
            (&"default".into(), &"Ingress".into())
        );
    }
}

//! Inputs that take an address from live state: what to ask, and what stands in until it is known.

use crate::error::{Diagnostic, codes};
use crate::net::Family;
use crate::plan::inputs::{Candidate, Lookups, Resolved, Resolver, host};
use crate::plan::language::{AWS_INSTANCE, InputType, NODE_ADDRESS, OWN_ADDRESS};
use crate::plan::node::{Entry, Node};
use crate::plan::{AddressType, InputValue, Lookup, LookupOf, Provenance};

impl Resolver<'_> {
    /// What to look up; `None` where that was a mistake.
    pub(super) fn lookup(&mut self, entry: &Entry, ty: InputType) -> Option<Lookup> {
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
        let word = from.text()?;
        let address = match node.get("address").and_then(Node::text) {
            Some("ExternalIP") => AddressType::ExternalIP,
            None if word != NODE_ADDRESS => AddressType::ExternalIP,
            _ => AddressType::InternalIP,
        };
        let of = match word {
            NODE_ADDRESS => self.of_node(node, from),
            AWS_INSTANCE => self.of_instance(node, from),
            OWN_ADDRESS => self.of_this_machine(node),
            other => {
                let message = format!("lookup `{other}` comes in a later version of hostguard");
                let problem = Diagnostic::error(codes::LATER, from.span, message, "understood, not supported yet");
                self.problems
                    .push(problem.fix("give the value with --set, or take a node's address"));
                Some(LookupOf::ThisMachine)
            }
        }?;
        fits.then_some(Lookup { of, address, family })
    }

    fn of_node(&mut self, node: &Node, from: &Node) -> Option<LookupOf> {
        self.takes_none_of(node, NODE_ADDRESS, &["instance", "vm"])?;
        match (node.get("node"), node.get("group")) {
            (Some(name), _) => Some(LookupOf::Node(name.text()?.to_string())),
            (None, Some(group)) => {
                self.one_node(group);
                Some(LookupOf::Group(group.text()?.to_string()))
            }
            (None, None) => self.lacks(
                from,
                NODE_ADDRESS,
                "`node` or `group`",
                "of which node?",
                "`group: guarded`",
            ),
        }
    }

    fn of_instance(&mut self, node: &Node, from: &Node) -> Option<LookupOf> {
        self.takes_none_of(node, AWS_INSTANCE, &["node", "group", "vm"])?;
        let Some(instance) = node.get("instance") else {
            let example = "`instance: i-0123456789abcdef0`";
            return self.lacks(from, AWS_INSTANCE, "`instance`", "of which instance?", example);
        };
        Some(LookupOf::Instance(instance.text()?.to_string()))
    }

    /// It has one public address, and it is IPv4.
    fn of_this_machine(&mut self, node: &Node) -> Option<LookupOf> {
        let others = ["node", "group", "instance", "vm", "address", "family"];
        self.takes_none_of(node, OWN_ADDRESS, &others)?;
        Some(LookupOf::ThisMachine)
    }

    fn lacks(&mut self, from: &Node, word: &str, what: &str, label: &str, example: &str) -> Option<LookupOf> {
        let message = format!("a lookup from {word} needs {what}");
        let problem = Diagnostic::error(codes::MISSING, from.span, message, label);
        self.problems.push(problem.fix(format!("add {example}")));
        None
    }

    fn takes_none_of(&mut self, node: &Node, word: &str, keys: &[&str]) -> Option<()> {
        let other = keys.iter().find_map(|key| node.entry(key));
        let Some(other) = other else { return Some(()) };
        let message = format!("a lookup from {word} takes no `{}`", other.key.value);
        let label = "belongs to another lookup";
        let problem = Diagnostic::error(codes::CHOICE, other.key.span, message, label);
        self.problems.push(problem.fix(format!("remove `{}`", other.key.value)));
        None
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

    pub(super) fn looked_up(&mut self, entry: &Entry, ty: InputType, lookup: Lookup) -> Option<Resolved> {
        let address = match self.lookups {
            Lookups::Pending => match lookup.family {
                Family::V4 => "192.0.2.1",
                Family::V6 => "2001:db8::1",
            },
            Lookups::Known(found) => match found.get(&entry.key.value) {
                Some(address) => address,
                None => {
                    let message = format!("input `{}` was not looked up", entry.key.value);
                    let problem = Diagnostic::error(codes::INPUT_MISSING, entry.key.span, message, "no address found");
                    let fix = format!("give it with --set {}=VALUE", entry.key.value);
                    self.problems.push(problem.fix(fix));
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
            provenance: Provenance::Lookup(lookup.source()),
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

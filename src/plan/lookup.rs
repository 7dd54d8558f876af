//! Inputs that take an address from live state: what to ask, and what stands in until it is known.

use crate::error::{Diagnostic, codes};
use crate::net::Family;
use crate::plan::inputs::{Candidate, Lookups, Resolved, Resolver, host};
use crate::plan::language::{InputType, NODE_ADDRESS};
use crate::plan::node::{Entry, Node};
use crate::plan::{AddressType, InputValue, Lookup, LookupNode, Provenance};

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

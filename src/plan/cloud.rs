//! What the cloud's firewall is to let through: read, and refused where no firewall could do it.

use crate::error::{Diagnostic, codes};
use crate::net::{Cidr, Protocol};
use crate::plan::check::Builder;
use crate::plan::node::Node;
use crate::plan::promises::ports;
use crate::plan::*;

impl<'a> Builder<'a> {
    pub(super) fn cloud(&mut self) -> Vec<CloudAllow> {
        let Some(entry) = self.spec.entry("cloud") else {
            return Vec::new();
        };
        let platform = self
            .spec
            .get("cluster")
            .and_then(|cluster| cluster.get("platform")?.text());
        if let Some(platform @ ("aks" | "gke")) = platform {
            let message = format!("`cloud` for platform `{platform}` comes in a later version of hostguard");
            let problem = Diagnostic::error(
                codes::LATER,
                entry.key.span,
                message,
                "AWS is the only cloud it knows yet",
            );
            let problem = problem.consequence("ignoring it would promise a protection that is not there");
            self.problems.push(problem.fix("leave it out until then"));
            return Vec::new();
        }
        let items = entry.value.items().iter();
        items.filter_map(|item| self.allow(item.get("allow")?)).collect()
    }

    fn allow(&mut self, node: &'a Node) -> Option<CloudAllow> {
        let at = ports(node)?;
        self.divides_by_port(node, &at);
        let mut from: Vec<CloudSource> = Vec::new();
        for item in node.get("from")?.items() {
            let source = source(item)?;
            if !from.contains(&source) {
                from.push(source);
            }
        }
        let group = node.get("securityGroup").and_then(|group| {
            Some(Spanned {
                value: group.text()?.to_string(),
                span: group.span,
            })
        });
        Some(CloudAllow {
            to: node.get("to")?.text()?.to_string(),
            at,
            from,
            group,
            span: node.span,
        })
    }

    /// A security group knows ports of TCP and UDP alone; a rule for SCTP is one for all its ports.
    /// Source: Amazon EC2 API reference, AuthorizeSecurityGroupIngress, IpPermission.IpProtocol.
    fn divides_by_port(&mut self, node: &Node, at: &Ports) {
        let Ports::Numbers(numbers) = at else { return };
        if let Some(ports) = node.get("ports")
            && numbers.contains_key(&Protocol::Sctp)
        {
            let message = "a security group opens all ports of SCTP, or none";
            let problem = Diagnostic::error(codes::CLOUD_PROTOCOL, ports.span, message, "tcp or udp only");
            let problem = problem.consequence("more would be open than the plan says");
            self.problems.push(problem.fix("leave SCTP out"));
        }
    }
}

fn source(node: &Node) -> Option<CloudSource> {
    let id = |key: &str| Some(node.get(key)?.text()?.to_string());
    if let Some(list) = id("prefixList") {
        return Some(CloudSource::PrefixList(list));
    }
    match id("securityGroup") {
        Some(group) => Some(CloudSource::Group(group)),
        None => Cidr::parse(node.text()?).ok().map(CloudSource::Net),
    }
}

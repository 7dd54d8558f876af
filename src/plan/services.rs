//! The services of a plan: ports, names, and node ports that no two of them may share.

use std::collections::BTreeMap;

use crate::error::{Diagnostic, codes};
use crate::plan::check::Builder;
use crate::plan::node::{Entry, Node};
use crate::plan::scalar::{namespaced, parse_port, workload};
use crate::plan::{OwnService, Service, ServicePort, TargetPort, TrafficPolicy};
use crate::source::{Span, Spanned};

/// Where Kubernetes takes node ports from unless its API server was told otherwise.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30000..=32767;

impl Builder<'_> {
    pub(super) fn services(&mut self) -> BTreeMap<String, Service> {
        let entries = self.spec.get("services").map_or(&[][..], Node::entries);
        let mut services = Vec::new();
        for entry in entries {
            if let Some(service) = self.service(entry) {
                services.push((entry, service));
            }
        }
        self.same_object(&services);
        self.same_node_port(&services);
        services
            .into_iter()
            .map(|(entry, service)| (entry.key.value.clone(), service))
            .collect()
    }

    fn service(&mut self, entry: &Entry) -> Option<Service> {
        let (node, span) = (&entry.value, entry.key.span);
        if let Some(existing) = node.get("existing") {
            let (namespace, name) = namespaced(existing.text()?)?;
            return Some(Service::Existing {
                namespace: namespace.to_string(),
                name: name.to_string(),
                span,
            });
        }
        // Ports first: they have mistakes of their own, whatever else is missing.
        let ports = self.ports(node.get("ports")?);
        let expose = node.entry("expose")?;
        let (workload, workload_name) = workload(expose.value.text()?)?;
        let external_traffic_policy = match node.get("externalTrafficPolicy").and_then(Node::text) {
            Some("Cluster") => Some(TrafficPolicy::Cluster),
            Some("Local") => Some(TrafficPolicy::Local),
            _ => None,
        };
        Some(Service::Own(OwnService {
            namespace: node.get("namespace")?.text()?.to_string(),
            workload,
            workload_name: workload_name.to_string(),
            ports,
            external_traffic_policy,
            span,
            expose_span: expose.key.span,
        }))
    }

    fn ports(&mut self, list: &Node) -> Vec<ServicePort> {
        let items = list.items();
        let mut names = Vec::new();
        let mut numbers = Vec::new();
        let mut ports = Vec::new();
        for item in items {
            let text = |key: &str| item.get(key).and_then(Node::text);
            let protocol = text("protocol").unwrap_or("TCP").to_string();
            match item.get("name") {
                Some(name) => names.extend(name.text().map(|text| Spanned {
                    value: text.to_string(),
                    span: name.span,
                })),
                None if items.len() > 1 && !item.is_bad() => {
                    let message = "a service with several ports needs a name for each";
                    let problem = Diagnostic::error(codes::MISSING, item.span, message, "`name` is missing");
                    self.problems.push(problem.fix("add `name: http`"));
                }
                None => {}
            }
            if let Some(port) = item.get("port").filter(|port| port.text().is_some()) {
                let value = format!("{}/{}", protocol, port.text().unwrap_or_default());
                numbers.push(Spanned { value, span: port.span });
            }
            self.node_port_range(item);
            ports.extend(port(item, protocol));
        }
        self.distinct(&names, "port");
        self.distinct(&numbers, "port");
        ports
    }

    fn node_port_range(&mut self, item: &Node) {
        let Some(node) = item.get("nodePort") else { return };
        if let Some(number) = node
            .text()
            .and_then(parse_port)
            .filter(|number| !NODE_PORTS.contains(number))
        {
            let message = format!("node port {number} is outside the usual range 30000-32767");
            let problem = Diagnostic::error(codes::NODE_PORT, node.span, message, "refused by most API servers");
            self.problems.push(
                problem
                    .consequence("the Service is refused unless --service-node-port-range of the API server holds it")
                    .fix("take a port from 30000 to 32767")
                    .warning(),
            );
        }
    }

    /// A Service that is made here and one that is said to be there already.
    fn same_object(&mut self, services: &[(&Entry, Service)]) {
        let own: BTreeMap<(&str, &str), Span> = services
            .iter()
            .filter_map(|(entry, service)| match service {
                Service::Own(own) => Some(((own.namespace.as_str(), entry.key.value.as_str()), entry.key.span)),
                Service::Existing { .. } => None,
            })
            .collect();
        for (entry, service) in services {
            if let Service::Existing { namespace, name, .. } = service
                && let Some(made) = own.get(&(namespace.as_str(), name.as_str()))
            {
                let message = format!("Service {namespace}/{name} is made by this plan and said to exist");
                let problem = Diagnostic::error(codes::SAME_NAME, entry.key.span, message, "said to exist");
                self.problems
                    .push(problem.and(*made, "made here").fix("remove one of the two"));
            }
        }
    }

    fn same_node_port(&mut self, services: &[(&Entry, Service)]) {
        let mut seen: BTreeMap<u16, (&str, &str, Span)> = BTreeMap::new();
        for (entry, service) in services {
            let Service::Own(own) = service else { continue };
            for port in &own.ports {
                let here = (entry.key.value.as_str(), port.protocol.as_str(), port.span);
                let Some((service, protocol, first)) = seen.insert(port.node_port, here) else {
                    continue;
                };
                // Within one Service a number may serve two protocols.
                if service == here.0 && protocol != here.1 {
                    continue;
                }
                let message = format!("node port {} is used twice", port.node_port);
                let problem = Diagnostic::error(
                    codes::NODE_PORT_TWICE,
                    port.span,
                    message,
                    format!("again in `{}`", here.0),
                );
                let problem = problem.and(first, format!("first in `{service}`"));
                self.problems.push(problem.fix("give one of the two another node port"));
            }
        }
    }
}

fn port(item: &Node, protocol: String) -> Option<ServicePort> {
    let number = |key: &str| item.get(key).and_then(Node::text).and_then(parse_port);
    let port = number("port")?;
    let target_port = match item.get("targetPort") {
        None => TargetPort::Number(port),
        Some(target) => match parse_port(target.text()?) {
            Some(number) => TargetPort::Number(number),
            None => TargetPort::Name(target.text()?.to_string()),
        },
    };
    Some(ServicePort {
        name: item.get("name").and_then(Node::text).map(str::to_string),
        protocol,
        port,
        target_port,
        node_port: number("nodePort")?,
        span: item.get("nodePort")?.span,
    })
}

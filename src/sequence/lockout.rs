//! Connections that a cluster needs to live, and that whoever repairs it needs to get in.
//!
//! Which they are is read off the state: the platform from `spec.providerID`, control plane nodes from their role, API
//! servers and Typha from their endpoints. A client that is not known counts as any address. Ports: Kubernetes, "Ports
//! and Protocols"; Calico, "System requirements: Network requirements"; health checks: the clouds' load balancer guides.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use crate::exposure::{Flow, From, Outgoing, Senders, ToPod};
use crate::net::{AddressSet, Cidr, PortSet, Protocol};
use crate::resource::Kind;
use crate::state::State;

/// New connections to nodes that must not be cut off.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// What needs it.
    pub what: &'static str,
    pub from: &'static [From],
    /// Of clients outside the cluster; `None` is any address, because it is not known who they are.
    pub sources: Option<AddressSet>,
    pub protocol: Protocol,
    pub ports: PortSet,
    /// `None` is every node.
    pub nodes: Option<BTreeSet<String>>,
    /// Nodes at which somebody else is known to need it.
    pub but: BTreeSet<String>,
}

/// Everything that must stay.
#[derive(Clone, Debug, Default)]
pub struct Needed {
    pub incoming: Vec<Incoming>,
    /// What needs it, and what.
    pub outgoing: Vec<(&'static str, Outgoing)>,
    /// Pods that the API server calls.
    pub to_pods: Vec<(&'static str, ToPod)>,
    /// The API server is not on a node: where it calls from is not known.
    pub managed: bool,
    /// Pods' packets go from node to node in IPIP, or it could not be read whether they do.
    pub ipip: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cloud {
    Aws,
    Azure,
    Gcp,
    None,
}

const INSIDE: &[From] = &[From::ThisNode, From::OtherNodes];
const OTHERS: &[From] = &[From::OtherNodes];
const ANYONE: &[From] = &[From::Outside, From::ThisNode, From::OtherNodes];
const OUTSIDE: &[From] = &[From::Outside];

/// What must stay in a cluster.
pub fn needed(state: &State) -> Needed {
    let (mut control, mut cloud) = (BTreeSet::new(), None);
    for (key, node) in state.list(Kind::Node).into_iter().flatten() {
        if is_control_plane(&node) {
            control.insert(key.name.clone());
        }
        cloud = cloud.or_else(|| cloud_of(&node));
    }
    let cloud = cloud.unwrap_or(Cloud::None);
    let mut needed = Needed {
        managed: control.is_empty(),
        ipip: uses_ipip(state),
        ..Needed::default()
    };
    to_nodes(&mut needed, &control);
    health_checks(&mut needed, state, cloud);
    from_nodes(&mut needed, state, cloud);
    to_pods(&mut needed, state);
    needed
}

fn uses_ipip(state: &State) -> bool {
    let mode = |pool: &Value| {
        pool.pointer("/spec/ipipMode")
            .and_then(Value::as_str)
            .map(str::to_string)
    };
    match state.list(Kind::IPPool) {
        Ok(mut pools) => pools.any(|(_, pool)| mode(&pool).is_some_and(|mode| !mode.is_empty() && mode != "Never")),
        Err(_) => true,
    }
}

fn is_control_plane(node: &Value) -> bool {
    let labels = node.pointer("/metadata/labels").and_then(Value::as_object);
    let roles = [
        "node-role.kubernetes.io/control-plane",
        "node-role.kubernetes.io/master",
    ];
    labels.is_some_and(|labels| roles.iter().any(|role| labels.contains_key(*role)))
}

/// `None` for a node that does not say.
fn cloud_of(node: &Value) -> Option<Cloud> {
    let id = node.pointer("/spec/providerID")?.as_str()?;
    Some(match id.split("://").next() {
        Some("aws") => Cloud::Aws,
        Some("azure") => Cloud::Azure,
        Some("gce") => Cloud::Gcp,
        _ => Cloud::None,
    })
}

fn to_nodes(needed: &mut Needed, control: &BTreeSet<String>) {
    let mut add = |what, from, protocol, ports: &[u16], nodes: Option<&BTreeSet<String>>| {
        needed.incoming.push(Incoming {
            what,
            from,
            sources: None,
            protocol,
            ports: PortSet::from_ranges(ports.iter().map(|port| (*port, *port))),
            nodes: nodes.cloned(),
            but: BTreeSet::new(),
        });
    };
    // Who administrates, and from where a managed API server calls, is not known: any address.
    add("SSH", OUTSIDE, Protocol::Tcp, &[22], None);
    let kubelet = if control.is_empty() { ANYONE } else { INSIDE };
    add(
        "the API server's calls to the kubelet",
        kubelet,
        Protocol::Tcp,
        &[10250],
        None,
    );
    add("BGP between nodes", OTHERS, Protocol::Tcp, &[179], None);
    add("Typha", OTHERS, Protocol::Tcp, &[5473], None);
    add("VXLAN between nodes", OTHERS, Protocol::Udp, &[4789], None);
    add("WireGuard between nodes", OTHERS, Protocol::Udp, &[51820, 51821], None);
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        add(
            "node-local DNS",
            &[From::PodsOfThisNode, From::ThisNode],
            protocol,
            &[53],
            None,
        );
    }
    if !control.is_empty() {
        add(
            "the API server",
            ANYONE,
            Protocol::Tcp,
            &[443, 6443, 9345],
            Some(control),
        );
        add("etcd", INSIDE, Protocol::Tcp, &[2379, 2380], Some(control));
    }
}

/// Load balancers send to nodes whose health check answers.
fn health_checks(needed: &mut Needed, state: &State, cloud: Cloud) {
    let sources = match cloud {
        // learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
        Cloud::Azure => Some(networks(&["168.63.129.16/32"])),
        // cloud.google.com/load-balancing/docs/health-check-concepts, "Probe IP ranges and firewall rules"
        Cloud::Gcp => Some(networks(&[
            "35.191.0.0/16",
            "130.211.0.0/22",
            "209.85.152.0/22",
            "209.85.204.0/22",
        ])),
        Cloud::Aws | Cloud::None => None,
    };
    let mut ports = PortSet::empty();
    for (_, service) in state.list(Kind::Service).into_iter().flatten() {
        let spec = &service["spec"];
        if spec["type"] != "LoadBalancer" {
            continue;
        }
        let mut of_service: Vec<u64> = Vec::new();
        match (
            spec["externalTrafficPolicy"].as_str(),
            spec["healthCheckNodePort"].as_u64(),
        ) {
            (Some("Local"), Some(port)) => of_service.push(port),
            _ => {
                of_service.push(10256); // kube-proxy's health
                let all = spec["ports"].as_array().into_iter().flatten();
                let tcp = all.filter(|port| port["protocol"].as_str().unwrap_or("TCP") == "TCP");
                of_service.extend(tcp.filter_map(|port| port["nodePort"].as_u64()));
            }
        }
        let of_service = of_service.into_iter().filter_map(|port| u16::try_from(port).ok());
        ports = ports.union(&PortSet::from_ranges(of_service.map(|port| (port, port))));
    }
    if !ports.is_empty() {
        needed.incoming.push(Incoming {
            what: "health checks of load balancers",
            from: OUTSIDE,
            sources,
            protocol: Protocol::Tcp,
            ports,
            nodes: None,
            but: BTreeSet::new(),
        });
    }
}

fn from_nodes(needed: &mut Needed, state: &State, cloud: Cloud) {
    let anywhere = AddressSet::all;
    let mut add = |what, destinations, protocol, port| {
        let flow = Outgoing {
            destinations,
            protocol,
            port,
        };
        needed.outgoing.push((what, flow));
    };
    let servers = endpoints(state, "default", "kubernetes");
    if servers.is_empty() {
        for port in [443, 6443] {
            add("the API server, wherever it is", anywhere(), Protocol::Tcp, port);
        }
    }
    for (address, port) in servers {
        add(
            "the API server",
            AddressSet::from_addresses([address]),
            Protocol::Tcp,
            port,
        );
    }
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        add("DNS", anywhere(), protocol, 53);
    }
    add("NTP", anywhere(), Protocol::Udp, 123);
    add("DHCP", anywhere(), Protocol::Udp, 67);
    if cloud != Cloud::None {
        add(
            "the metadata service",
            networks(&["169.254.169.254/32"]),
            Protocol::Tcp,
            80,
        );
    }
    if cloud == Cloud::Azure {
        add(
            "Azure's platform address",
            networks(&["168.63.129.16/32"]),
            Protocol::Tcp,
            80,
        );
    }
}

/// Aggregated API servers whose place is known. Webhooks are not read.
fn to_pods(needed: &mut Needed, state: &State) {
    let called = [
        ("calico-apiserver", "calico-api"),
        ("calico-system", "calico-api"),
        ("kube-system", "metrics-server"),
    ];
    for (namespace, name) in called {
        for (address, port) in endpoints(state, namespace, name) {
            let pod = ToPod {
                address,
                protocol: Protocol::Tcp,
                port,
            };
            needed
                .to_pods
                .push(("the API server's calls to an aggregated API server", pod));
        }
    }
}

/// Addresses and ports behind a Service, from its EndpointSlices.
fn endpoints(state: &State, namespace: &str, service: &str) -> BTreeSet<(IpAddr, u16)> {
    let mut found = BTreeSet::new();
    for (key, slice) in state.list(Kind::EndpointSlice).into_iter().flatten() {
        let of = slice
            .pointer("/metadata/labels/kubernetes.io~1service-name")
            .and_then(Value::as_str);
        if key.namespace != namespace || of.unwrap_or(&key.name) != service {
            continue;
        }
        let ports = slice["ports"].as_array().into_iter().flatten();
        let ports: Vec<u16> = ports
            .filter_map(|port| u16::try_from(port["port"].as_u64()?).ok())
            .collect();
        let addresses = slice["endpoints"].as_array().into_iter().flatten();
        let addresses = addresses.flat_map(|endpoint| endpoint["addresses"].as_array().into_iter().flatten());
        for address in addresses.filter_map(|text| text.as_str()?.parse::<IpAddr>().ok()) {
            found.extend(ports.iter().map(|port| (address, *port)));
        }
    }
    found
}

fn networks(texts: &[&str]) -> AddressSet {
    let cidrs: Vec<Cidr> = texts.iter().filter_map(|text| Cidr::parse(text).ok()).collect();
    AddressSet::from_cidrs(&cidrs)
}

impl Needed {
    /// Who needs a port is known at some nodes: there, nobody else counts.
    pub fn known(&mut self, flow: &Flow) {
        let Senders::Outside(addresses) = &flow.from else {
            return;
        };
        let mut rest = Vec::new();
        for incoming in &mut self.incoming {
            let outside = incoming.from.contains(&From::Outside) && incoming.protocol == flow.protocol;
            if !outside || incoming.ports.intersect(&flow.ports).is_empty() || incoming.sources.is_some() {
                continue;
            }
            let ports = incoming.ports.intersect(&flow.ports);
            let at = |here: bool| Incoming {
                ports: ports.clone(),
                sources: here.then(|| addresses.clone()),
                nodes: here.then(|| flow.nodes.clone()),
                but: if here {
                    BTreeSet::new()
                } else {
                    &incoming.but | &flow.nodes
                },
                ..incoming.clone()
            };
            rest.extend([at(true), at(false)]);
            incoming.ports = incoming.ports.minus(&flow.ports);
        }
        self.incoming.retain(|incoming| !incoming.ports.is_empty());
        self.incoming.extend(rest);
    }
}

impl Incoming {
    /// Whether it is about this node.
    pub fn at(&self, node: &str) -> bool {
        self.nodes.as_ref().is_none_or(|nodes| nodes.contains(node)) && !self.but.contains(node)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::state::{ClusterFacts, Serving};

    /// A node with this provider id and role, and a Service with a load balancer.
    fn cluster(provider: &str, role: Option<&str>, traffic: &str) -> State {
        let mut state = State::new(ClusterFacts {
            name: "c".into(),
            serving: Serving::Native,
            felix_fields: None,
            snapshot: None,
        });
        let mut node =
            json!({"kind": "Node", "metadata": {"name": "n1", "labels": {}}, "spec": {"providerID": provider}});
        if let Some(role) = role {
            node["metadata"]["labels"][role] = json!("");
        }
        let service = json!({"kind": "Service", "metadata": {"name": "web", "namespace": "shop"}, "spec": {
            "type": "LoadBalancer", "externalTrafficPolicy": traffic, "healthCheckNodePort": 31999,
            "ports": [{"port": 80, "nodePort": 30080}]}});
        for (kind, object) in [(Kind::Node, node), (Kind::Service, service)] {
            state.listed(kind, vec![object]).expect("a name");
        }
        state.listed(Kind::EndpointSlice, Vec::new()).expect("nothing");
        state
    }

    fn incoming<'n>(needed: &'n Needed, what: &str) -> &'n Incoming {
        let found = needed.incoming.iter().find(|flow| flow.what.contains(what));
        found.unwrap_or_else(|| panic!("{what} in {needed:?}"))
    }

    fn reaches(needed: &Needed, address: &str, port: u16) -> bool {
        let address: IpAddr = address.parse().expect("an address");
        let mut flows = needed.outgoing.iter().map(|(_, flow)| flow);
        flows.any(|flow| flow.port == port && flow.protocol == Protocol::Tcp && flow.destinations.contains(address))
    }

    #[test]
    fn a_managed_control_plane_calls_from_anywhere() {
        for provider in ["aws:///eu-central-1a/i-0a", "azure:///subscriptions/x", "gce://p/z/n"] {
            let needed = needed(&cluster(provider, None, "Cluster"));
            assert!(needed.managed, "{provider}");
            assert!(incoming(&needed, "kubelet").from.contains(&From::Outside), "{provider}");
            assert!(reaches(&needed, "169.254.169.254", 80), "{provider}");
            assert_eq!(reaches(&needed, "168.63.129.16", 80), provider.starts_with("azure"));
        }
    }

    #[test]
    fn health_checks_come_from_where_the_cloud_says() {
        let probes = |provider: &str| {
            let needed = needed(&cluster(provider, None, "Cluster"));
            incoming(&needed, "health").sources.clone()
        };
        let azure: IpAddr = "168.63.129.16".parse().expect("an address");
        let google: IpAddr = "35.191.0.1".parse().expect("an address");
        let holds = |sources: &Option<AddressSet>, address| sources.as_ref().is_none_or(|all| all.contains(address));
        let (aks, gke, eks) = (probes("azure:///x"), probes("gce://p/z/n"), probes("aws:///z/i-0a"));
        assert!(holds(&aks, azure) && !holds(&aks, google));
        assert!(holds(&gke, google) && !holds(&gke, azure));
        assert_eq!(eks, None, "any address");
    }

    #[test]
    fn a_local_service_is_asked_at_its_own_health_port() {
        let local = needed(&cluster("aws:///z/i-0a", None, "Local"));
        let ports = &incoming(&local, "health").ports;
        assert!(ports.contains(31999) && !ports.contains(10256) && !ports.contains(30080));
        let all = needed(&cluster("aws:///z/i-0a", None, "Cluster"));
        let ports = &incoming(&all, "health").ports;
        assert!(ports.contains(10256) && ports.contains(30080) && !ports.contains(31999));
    }

    #[test]
    fn ipip_counts_where_a_pool_uses_it() {
        let mut state = cluster("", None, "Cluster");
        assert!(needed(&state).ipip, "not read");
        for (mode, ipip) in [("Never", false), ("CrossSubnet", true)] {
            let spec = json!({"cidr": "10.65.0.0/16", "ipipMode": mode});
            let pool = json!({"kind": "IPPool", "metadata": {"name": "p"}, "spec": spec});
            state.listed(Kind::IPPool, vec![pool]).expect("a name");
            assert_eq!(needed(&state).ipip, ipip, "{mode}");
        }
    }

    #[test]
    fn a_control_plane_on_nodes_is_known() {
        let needed = needed(&cluster("", Some("node-role.kubernetes.io/control-plane"), "Cluster"));
        assert!(!needed.managed);
        assert!(!incoming(&needed, "kubelet").from.contains(&From::Outside));
        assert!(incoming(&needed, "etcd").at("n1") && !incoming(&needed, "etcd").at("n2"));
        assert!(!reaches(&needed, "169.254.169.254", 80), "no cloud");
        assert!(
            reaches(&needed, "198.51.100.7", 6443),
            "the API server is looked for everywhere"
        );
    }
}

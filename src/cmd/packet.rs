//! The packet that the words of `why` mean.

use std::net::IpAddr;

use serde_json::Value;

use super::Failure;
use crate::error::{Error, Kind, codes};
use crate::exposure::{Origin, Packet};
use crate::net::Protocol;
use crate::resource::{Key, Kind as ObjectKind};
use crate::state::{Observed, State, Unreadable};

/// One end of a connection, as it was named.
enum End {
    Address(IpAddr),
    Node(String),
    Pod(Key),
}

/// `FROM` is an address, `node/NAME` or `pod/NAMESPACE/NAME`; `TO` the same with `:PORT/PROTOCOL` behind it.
pub(super) fn packet(from: &str, to: &str, state: &State) -> Result<Packet, Failure> {
    let (target, protocol) = to
        .rsplit_once('/')
        .ok_or_else(|| usage(format!("`{to}` has no protocol")))?;
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        other => return Err(usage(format!("`{other}` is not tcp or udp"))),
    };
    let (host, port) = target
        .rsplit_once(':')
        .ok_or_else(|| usage(format!("`{to}` has no port")))?;
    let port: u16 = port.parse().map_err(|_| usage(format!("`{port}` is not a port")))?;
    let (sender, receiver) = (End::parse(from)?, End::parse(host.trim_matches(['[', ']']))?);
    let (sources, destinations) = (sender.addresses(state)?, receiver.addresses(state)?);
    let pair = destinations.iter().find_map(|destination| {
        let alike = sources.iter().find(|source| source.is_ipv4() == destination.is_ipv4());
        alike.map(|source| (*source, *destination))
    });
    let Some((source, destination)) = pair else {
        return Err(usage(format!("{from} and {host} have no addresses of one family")));
    };
    // A process reaches its own node from the address that it asks for.
    let itself = matches!(sender, End::Node(_)) && sources.contains(&destination);
    Ok(Packet {
        from: sender.origin(state),
        source: if itself { destination } else { source },
        destination,
        protocol,
        port: Some(port),
        source_port: None,
        icmp_type: None,
        backend: None,
    })
}

fn usage(message: String) -> Failure {
    let error = Error::new(Kind::Usage, codes::USAGE, message);
    let fix = "write the source as an address, node/NAME or pod/NAMESPACE/NAME, and the target as one of them with \
               :PORT/PROTOCOL behind it, such as node/n1:30080/tcp";
    Failure::from(error.fix(fix))
}

impl End {
    fn parse(text: &str) -> Result<End, Failure> {
        let end = match text.split('/').collect::<Vec<_>>().as_slice() {
            ["node", name] => Some(End::Node((*name).to_string())),
            ["pod", namespace, name] => Some(End::Pod(Key::namespaced(ObjectKind::Pod, *namespace, *name))),
            [address] => address.parse().ok().map(End::Address),
            _ => None,
        };
        end.ok_or_else(|| usage(format!("`{text}` is not an address, a node or a pod")))
    }

    /// Of a node its InternalIPs, of a pod all; never empty.
    fn addresses(&self, state: &State) -> Result<Vec<IpAddr>, Failure> {
        let (found, missing) = match self {
            End::Address(address) => return Ok(vec![*address]),
            End::Node(name) => {
                let missing = Error::failed(
                    codes::NO_SUCH_NODE,
                    format!("there is no node `{name}` with an InternalIP"),
                );
                let found = listed(state, &Key::cluster(ObjectKind::Node, name), "/status/addresses")?;
                let internal = found.iter().filter(|address| address["type"] == "InternalIP");
                let found = internal.filter_map(|address| address["address"].as_str()?.parse().ok());
                (found.collect(), missing.fix("look at `kubectl get nodes -o wide`"))
            }
            End::Pod(key) => {
                let missing = Error::failed(
                    codes::NO_SUCH_POD,
                    format!("there is no pod `{}/{}` with an address", key.namespace, key.name),
                );
                let pods = state.pods().map_err(|why| unreadable(key, why))?;
                let look = format!("look at `kubectl get pods -o wide -n {}`", key.namespace);
                let found = pods.get(key).map(|pod| pod.addresses.to_vec());
                (found.unwrap_or_default(), missing.fix(look))
            }
        };
        let found: Vec<IpAddr> = found;
        if found.is_empty() {
            return Err(Failure::from(missing));
        }
        Ok(found)
    }

    fn origin(&self, state: &State) -> Origin {
        match self {
            End::Address(address) => origin(state, *address),
            End::Node(name) => Origin::Node(name.clone()),
            End::Pod(key) => {
                let pod = state.pods().ok().and_then(|pods| pods.get(key));
                match pod.filter(|pod| pod.in_host_network && !pod.node.is_empty()) {
                    // In its node's network a pod is a process of the node.
                    Some(pod) => Origin::Node(pod.node.to_string()),
                    None => Origin::Pod {
                        namespace: key.namespace.clone(),
                        name: key.name.clone(),
                    },
                }
            }
        }
    }
}

fn unreadable(key: &Key, why: &Unreadable) -> Failure {
    let error = Error::failed(codes::UNREADABLE, format!("{key} could not be read: {why}"));
    Failure::from(error.fix(why.way_out(key.kind)))
}

/// A list in an object; none where the object is not there.
fn listed(state: &State, key: &Key, pointer: &str) -> Result<Vec<Value>, Failure> {
    if let Observed::Unreadable(why) = state.get(key) {
        return Err(unreadable(key, why));
    }
    let list = state
        .present(key)
        .and_then(|object| object.pointer(pointer)?.as_array().cloned());
    Ok(list.unwrap_or_default())
}

/// The Service that an address stands in front of, as that of its load balancer or one of its externalIPs.
pub(super) fn in_front(state: &State, address: IpAddr) -> Option<String> {
    let text = address.to_string();
    let is = |value: Option<&Value>| value.and_then(Value::as_str) == Some(text.as_str());
    let has = |service: &Value| {
        let list = |pointer: &str| service.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
        list("/spec/externalIPs").any(|own| is(Some(own)))
            || list("/status/loadBalancer/ingress").any(|own| is(own.get("ip")))
    };
    let mut services = state.list(ObjectKind::Service).into_iter().flatten();
    let (key, _) = services.find(|(_, service)| has(service))?;
    Some(format!("{}/{}", key.namespace, key.name))
}

/// Whether the source is a node, a pod, or outside the cluster.
fn origin(state: &State, from: IpAddr) -> Origin {
    let text = from.to_string();
    let holds = |object: &Value, pointer: &str, field: &str| {
        let list = object.pointer(pointer).and_then(Value::as_array);
        list.into_iter().flatten().any(|item| item[field] == text.as_str())
    };
    if let Ok(mut nodes) = state.list(ObjectKind::Node)
        && let Some((key, _)) = nodes.find(|(_, node)| holds(node, "/status/addresses", "address"))
    {
        return Origin::Node(key.name.clone());
    }
    if let Ok(pods) = state.pods()
        && let Some((key, _)) = pods.iter().find(|(_, pod)| pod.addresses.contains(&from))
    {
        return Origin::Pod {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
        };
    }
    Origin::Outside
}

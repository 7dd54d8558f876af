//! `hostguard exposure` and `hostguard why`: who can reach what, live or predicted, and the walk of one packet.

use std::net::IpAddr;

use super::prepare::{Intent, predicted};
use super::{Console, Failure, files, world};
use crate::cli::{ExposureArgs, Looked, Why};
use crate::compile;
use crate::diff::Options;
use crate::error::{Error, Kind, codes};
use crate::escape::escape;
use crate::exposure::{self, Origin, Packet, World, walk};
use crate::net::Protocol;
use crate::plan::Plan;
use crate::render;
use crate::render::exposure::Names;
use crate::resource::{Key, Kind as ObjectKind};
use crate::state::State;

/// What there is to look at.
struct Looking {
    state: State,
    names: Names,
    /// The heading of the answer.
    about: String,
}

async fn look(looked: &Looked, console: &mut dyn Console) -> Result<Looking, Failure> {
    let namespace = looked.world.inventory_namespace.clone();
    let Some(file) = &looked.after else {
        let provider = world::open(&looked.world, "exposure").await?;
        let state = provider
            .read(&compile::scope(&Plan::nothing("exposure"), &namespace))
            .await?;
        let about = format!("cluster {} as it is", state.facts.name);
        return Ok(Looking {
            state,
            names: Names::new(),
            about,
        });
    };
    let intent = Intent::Plan(Box::new(files::load(file, &looked.inputs)?));
    let offline = intent.offline()?;
    files::show_warnings(&intent, &offline, console);
    let provider = world::open(&looked.world, offline.name()).await?;
    let state = provider.read(&compile::scope(&offline, &namespace)).await?;
    let options = Options {
        inventory_namespace: namespace,
        ..Options::default()
    };
    let prepared = intent.prepare(&state, &options)?;
    let about = format!("cluster {} as plan {} leaves it", state.facts.name, offline.name());
    Ok(Looking {
        state: predicted(&state, &prepared.difference),
        names: prepared.names,
        about,
    })
}

pub(super) async fn exposure(args: &ExposureArgs, console: &mut dyn Console) -> Result<u8, Failure> {
    let looking = look(&args.looked, console).await?;
    let exposure = exposure::exposure(&World::of_state(&looking.state));
    let rows = render::exposure::exposure(&exposure, &looking.names);
    console.answer(&format!(
        "exposure of {}, for sources outside it\n{rows}",
        escape(&looking.about)
    ));
    Ok(0)
}

pub(super) async fn why(args: &Why, console: &mut dyn Console) -> Result<u8, Failure> {
    let looking = look(&args.looked, console).await?;
    let packet = packet(args, &looking.state)?;
    let port = packet.port.map(|port| format!(":{port}")).unwrap_or_default();
    let head = format!(
        "{} {} -> {}{port}, {}",
        packet.protocol, packet.source, packet.destination, looking.about
    );
    let walked = walk(&World::of_state(&looking.state), &packet);
    console.answer(&format!("{}\n{}", escape(&head), render::exposure::walk(&walked)));
    Ok(0)
}

/// The packet that the words mean.
fn packet(args: &Why, state: &State) -> Result<Packet, Failure> {
    let usage = |message: String| {
        let error = Error::new(Kind::Usage, codes::USAGE, message);
        Failure::from(
            error
                .fix("write the target as node/NAME:PORT/PROTOCOL or ADDRESS:PORT/PROTOCOL, such as node/n1:30080/tcp"),
        )
    };
    let (target, protocol) = args
        .to
        .rsplit_once('/')
        .ok_or_else(|| usage(format!("`{}` has no protocol", args.to)))?;
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        other => return Err(usage(format!("`{other}` is not tcp or udp"))),
    };
    let (host, port) = target
        .rsplit_once(':')
        .ok_or_else(|| usage(format!("`{}` has no port", args.to)))?;
    let port: u16 = port.parse().map_err(|_| usage(format!("`{port}` is not a port")))?;
    let destination = match host.strip_prefix("node/") {
        Some(node) => node_address(state, node, args.from)?,
        None => host
            .trim_matches(['[', ']'])
            .parse()
            .map_err(|_| usage(format!("`{host}` is not an address")))?,
    };
    if destination.is_ipv4() != args.from.is_ipv4() {
        return Err(usage(format!("{} and {destination} are of two families", args.from)));
    }
    Ok(Packet {
        from: origin(state, args.from),
        source: args.from,
        destination,
        protocol,
        port: Some(port),
        source_port: None,
        icmp_type: None,
        backend: None,
    })
}

/// The node's first InternalIP of the source's family.
fn node_address(state: &State, node: &str, from: IpAddr) -> Result<IpAddr, Failure> {
    let key = Key::cluster(ObjectKind::Node, node);
    let addresses = state
        .present(&key)
        .and_then(|node| node.pointer("/status/addresses")?.as_array().cloned());
    let of_family = |address: &serde_json::Value| -> Option<IpAddr> {
        let ip: IpAddr = address["address"].as_str()?.parse().ok()?;
        (address["type"] == "InternalIP" && ip.is_ipv4() == from.is_ipv4()).then_some(ip)
    };
    addresses
        .into_iter()
        .flatten()
        .find_map(|address| of_family(&address))
        .ok_or_else(|| {
            let error = Error::failed(
                codes::NO_SUCH_NODE,
                format!("there is no node `{node}` with an InternalIP of the family of {from}"),
            );
            Failure::from(error.fix("look at `kubectl get nodes -o wide`"))
        })
}

/// Whether the source is a node, a pod, or outside the cluster.
fn origin(state: &State, from: IpAddr) -> Origin {
    let text = from.to_string();
    let holds = |object: &serde_json::Value, pointer: &str, field: &str| {
        let list = object.pointer(pointer).and_then(serde_json::Value::as_array);
        list.into_iter().flatten().any(|item| item[field] == text.as_str())
    };
    if let Ok(mut nodes) = state.list(ObjectKind::Node)
        && let Some((key, _)) = nodes.find(|(_, node)| holds(node, "/status/addresses", "address"))
    {
        return Origin::Node(key.name.clone());
    }
    if let Ok(mut pods) = state.list(ObjectKind::Pod)
        && let Some((key, _)) = pods.find(|(_, pod)| holds(pod, "/status/podIPs", "ip"))
    {
        return Origin::Pod {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
        };
    }
    Origin::Outside
}

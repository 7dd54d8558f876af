//! What somebody else does to a cluster that hostguard works on.

use hostguard::changes::{Change, Op};
use hostguard::resource::{Key, Kind};
use hostguard::state::State;
use serde_json::{Value, json};

use super::simulated::{change, revision};

/// What somebody else does. `at` picks the object, among those that there are at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// A new version and nothing of interest: a heartbeat, an annotation.
    Touch { at: usize },
    /// A field that plans of `random.rs` want gets another value.
    Meddle { at: usize },
    /// An object that such plans want goes.
    Remove { at: usize },
    /// An object that such plans want is made by somebody else.
    Plant { at: usize },
    /// Something beside the plan that decides about packets: policies, network sets, Services, nodes, failsafes.
    Beside { at: usize },
    /// Something of which nothing depends: a heartbeat, a label that nobody selects.
    Idle { at: usize },
}

/// Where somebody leaves a mark that means nothing.
pub const TOUCHED: &str = "example.com/touched";

/// The change that an edit is; `None`: there is nothing to do it to. `number` tells edits apart.
pub fn edited(state: &State, edit: Edit, number: usize) -> Option<Change> {
    let objects = |kinds: &[Kind]| -> Vec<(Key, Value)> {
        let listed = kinds.iter().flat_map(|kind| state.list(*kind).into_iter().flatten());
        listed
            .filter(|(key, _)| **key != revision() && key.name != "default")
            .map(|(key, object)| (key.clone(), object.into_owned()))
            .collect()
    };
    let pick = |mut of: Vec<(Key, Value)>, at: usize| (!of.is_empty()).then(|| of.swap_remove(at % of.len()));
    let update = |(key, before): (Key, Value), patch: Value| {
        change(
            &key,
            Op::Update {
                before: before.into(),
                patch,
            },
        )
    };
    let configs = || {
        let keys = [Kind::FelixConfiguration, Kind::KubeControllersConfiguration];
        let keys = keys.map(|kind| Key::cluster(kind, "default"));
        keys.into_iter()
            .filter_map(|key| Some((key.clone(), state.present(&key)?.into_owned())))
            .collect::<Vec<_>>()
    };
    let made = [Kind::Tier, Kind::GlobalNetworkSet, Kind::GlobalNetworkPolicy];
    match edit {
        Edit::Touch { at } => {
            let books = [Kind::ConfigMap, Kind::Run, Kind::Lease];
            let mut all = objects(&[made[0], made[1], made[2], Kind::Service, Kind::Node]);
            all.extend(objects(&books));
            all.extend(configs());
            let mark = json!({"metadata": {"annotations": {TOUCHED: number.to_string()}}});
            Some(update(pick(all, at)?, mark))
        }
        Edit::Meddle { at } => {
            let mut all = objects(&[made[0], made[1], made[2], Kind::Node]);
            all.extend(configs());
            let (key, before) = pick(all, at)?;
            let patch = match key.kind {
                Kind::GlobalNetworkSet => json!({"spec": {"nets": ["10.9.0.0/16"]}}),
                Kind::Node => json!({"metadata": {"labels": {"host-end-point": format!("other-{number}")}}}),
                Kind::FelixConfiguration => json!({"spec": {"logSeverityScreen": "Debug"}}),
                Kind::KubeControllersConfiguration => {
                    let auto = "/spec/controllers/node/hostEndpoint/autoCreate";
                    let on = before.pointer(auto) == Some(&json!("Enabled"));
                    let other = if on { "Disabled" } else { "Enabled" };
                    json!({"spec": {"controllers": {"node": {"hostEndpoint": {"autoCreate": other}}}}})
                }
                _ => json!({"spec": {"order": 777 + number}}),
            };
            Some(update((key, before), patch))
        }
        Edit::Remove { at } => {
            let (key, before) = pick(objects(&[made[0], made[1], made[2], Kind::Service]), at)?;
            Some(change(&key, Op::Delete { before: before.into() }))
        }
        Edit::Beside { at } => pick_change(beside(state, number), at),
        Edit::Idle { at } => pick_change(idle(state, number), at),
        Edit::Plant { at } => {
            let missing = planted()
                .into_iter()
                .filter(|(key, _)| state.present(key).is_none())
                .collect();
            let (key, object) = pick(missing, at)?;
            Some(change(&key, Op::Create { object }))
        }
    }
}

fn pick_change(mut of: Vec<Change>, at: usize) -> Option<Change> {
    (!of.is_empty()).then(|| of.swap_remove(at % of.len()))
}

fn patched(state: &State, key: &Key, patch: Value) -> Option<Change> {
    let before = state.present(key)?.into_owned().into();
    Some(change(key, Op::Update { before, patch }))
}

/// Made where it is not there, removed where it is.
fn flipped(state: &State, kind: Kind, namespace: &str, name: &str, body: Value) -> Change {
    let key = Key {
        kind,
        namespace: namespace.into(),
        name: name.into(),
    };
    let op = match state.present(&key) {
        Some(before) => Op::Delete {
            before: before.into_owned().into(),
        },
        None => {
            let mut object = body;
            let api = kind.api();
            let version = [api.group, api.version].join("/");
            object["apiVersion"] = json!(version.trim_start_matches('/'));
            object["kind"] = json!(kind.name());
            object["metadata"]["name"] = json!(name);
            if !namespace.is_empty() {
                object["metadata"]["namespace"] = json!(namespace);
            }
            Op::Create { object }
        }
    };
    change(&key, op)
}

/// What somebody else may do to whom can be reached, without touching what a plan of `random.rs` wants.
fn beside(state: &State, number: usize) -> Vec<Change> {
    let port = 30_000 + number % 10;
    let policy = |tier: &str, selector: &str, action: &str| {
        json!({"spec": {"tier": tier, "order": 1 + number % 3, "selector": selector, "types": ["Ingress"],
            "ingress": [{"action": action, "protocol": "TCP", "destination": {"ports": [port]}}]}})
    };
    let set = |labels: Value, net: &str| json!({"metadata": {"labels": labels}, "spec": {"nets": [net]}});
    let policies = Kind::GlobalNetworkPolicy;
    let mut all = vec![
        flipped(
            state,
            policies,
            "",
            "default.theirs",
            policy("default", "all()", "Deny"),
        ),
        flipped(
            state,
            policies,
            "",
            "default.open",
            policy("default", "has(host-end-point)", "Allow"),
        ),
        flipped(
            state,
            policies,
            "",
            "default.other",
            policy("default", "host-end-point == 'other'", "Deny"),
        ),
        flipped(
            state,
            Kind::GlobalNetworkSet,
            "",
            "theirs",
            set(json!({"role": "friend"}), "10.7.0.0/16"),
        ),
        flipped(
            state,
            Kind::GlobalNetworkSet,
            "",
            "partners",
            set(json!({"role": "partner"}), "10.6.0.0/16"),
        ),
        flipped(
            state,
            Kind::Service,
            "shop",
            "theirs",
            json!({"spec": {"type": "NodePort", "clusterIP": "10.96.0.77", "selector": {"app": "theirs"},
                "ports": [{"port": 80, "protocol": "TCP", "targetPort": 8080, "nodePort": 30_010 + number % 2}]}}),
        ),
        flipped(
            state,
            Kind::Node,
            "",
            "n9",
            json!({"metadata": {"labels": {"kubernetes.io/hostname": "n9", "host-end-point": "test"}},
                "status": {"addresses": [{"type": "InternalIP", "address": "10.0.1.99"}],
                    "conditions": [{"type": "Ready", "status": "True"}]}}),
        ),
    ];
    let felix = Key::cluster(Kind::FelixConfiguration, "default");
    let failsafes = json!({"spec": {"failsafeInboundHostPorts": [{"protocol": "TCP", "port": port}]}});
    all.extend(patched(state, &felix, failsafes));
    let tier = Key::cluster(Kind::Tier, "default");
    all.extend(patched(state, &tier, json!({"spec": {"defaultAction": "Pass"}})));
    for name in ["n1", "n2"] {
        let node = Key::cluster(Kind::Node, name);
        for value in ["test", "other"] {
            let labels = json!({"metadata": {"labels": {"host-end-point": value}}});
            all.extend(patched(state, &node, labels));
        }
        all.extend(patched(
            state,
            &node,
            json!({"metadata": {"labels": {"host-end-point": null}}}),
        ));
    }
    all
}

/// What happens all day and means nothing.
fn idle(state: &State, number: usize) -> Vec<Change> {
    let mark = json!({"metadata": {"annotations": {TOUCHED: number.to_string()}}});
    let mut all = Vec::new();
    for name in ["n1", "n2"] {
        let node = Key::cluster(Kind::Node, name);
        let beat = json!({"status": {"conditions": [{"type": "Ready", "status": "True",
            "lastHeartbeatTime": format!("2026-01-01T00:{:02}:{:02}Z", number / 60 % 60, number % 60)}]}});
        all.extend(patched(state, &node, beat));
        all.extend(patched(
            state,
            &node,
            json!({"metadata": {"labels": {"rack": number.to_string()}}}),
        ));
        all.extend(patched(state, &node, mark.clone()));
    }
    let configurations = [Kind::FelixConfiguration, Kind::KubeControllersConfiguration, Kind::Tier];
    for kind in configurations {
        all.extend(patched(state, &Key::cluster(kind, "default"), mark.clone()));
    }
    let web = Key::namespaced(Kind::Deployment, "shop", "web");
    all.extend(patched(state, &web, mark));
    let unused = json!({"metadata": {"labels": {"used": "never"}}, "spec": {"nets": ["10.5.0.0/16"]}});
    all.push(flipped(state, Kind::GlobalNetworkSet, "", "unused", unused));
    all
}

/// Objects by the names that plans of `random.rs` use, as somebody else would make them.
fn planted() -> Vec<(Key, Value)> {
    let object = |kind: Kind, name: &str, spec: Value| {
        let object = json!({"apiVersion": "projectcalico.org/v3", "kind": kind.name(), "metadata": {"name": name}, "spec": spec});
        (Key::cluster(kind, name), object)
    };
    let deny = json!([{"action": "Deny", "protocol": "TCP", "destination": {"ports": [30001]}}]);
    let policy = json!({"tier": "security", "order": 1, "selector": "host-end-point == 'test'", "types": ["Ingress"],
        "ingress": deny});
    vec![
        object(Kind::Tier, "alpha", json!({"order": 300, "defaultAction": "Deny"})),
        object(Kind::Tier, "security", json!({"order": 300, "defaultAction": "Deny"})),
        object(Kind::GlobalNetworkSet, "friends", json!({"nets": ["10.8.0.0/16"]})),
        object(Kind::GlobalNetworkPolicy, "security.a", policy.clone()),
        object(Kind::GlobalNetworkPolicy, "security.b", policy),
    ]
}

//! Random clusters and random plans that fit them, for the laws.
//!
//! A plan is made as JSON (which is YAML) over a small fixed vocabulary, so that plans overlap: they claim the same
//! nodes, tiers and fields as each other and as what is there.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

const NODES: [&str; 4] = ["n1", "n2", "n3", "n4"];
const TIERS: [&str; 2] = ["alpha", "security"];
const SETS: [&str; 2] = ["friends", "partners"];
const NETS: [&str; 4] = ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "198.51.100.0/24"];
const LABELS: [(&str, &str); 3] = [
    ("host-end-point", "test"),
    ("host-end-point", "other"),
    ("example.com/guard", "yes"),
];

fn some<T: Clone + std::fmt::Debug + 'static>(of: &'static [T], most: usize) -> impl Strategy<Value = Vec<T>> {
    proptest::sample::subsequence(of.to_vec(), 0..=most.min(of.len()))
}

fn maybe(likely: f64, value: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Option<Value>> {
    proptest::option::weighted(likely, value).boxed()
}

fn order() -> impl Strategy<Value = Value> {
    prop_oneof![Just(json!(100)), Just(json!(500)), Just(json!(500.5))]
}

fn rule() -> impl Strategy<Value = Value> {
    let side = prop_oneof![
        some(&NETS[..2], 2)
            .prop_filter("a side says something", |n| !n.is_empty())
            .prop_map(|nets| json!({"nets": nets})),
        Just(json!({"selector": "role == 'partner'"})),
        Just(json!({"selector": "role==\"friend\""})),
        Just(json!({})),
    ];
    (prop_oneof![Just("Allow"), Just("Deny")], side, 30000u16..30010).prop_map(|(action, source, port)| {
        json!({"action": action, "protocol": "TCP", "source": source, "destination": {"ports": [port]}})
    })
}

fn policy_spec(tier: &'static str) -> impl Strategy<Value = Value> {
    (order(), proptest::collection::vec(rule(), 1..3), any::<bool>()).prop_map(move |(order, ingress, pre_dnat)| {
        let mut spec = json!({
            "tier": tier, "order": order, "selector": "host-end-point == 'test'", "types": ["Ingress"], "ingress": ingress,
        });
        if pre_dnat {
            spec["preDNAT"] = json!(true);
            spec["applyOnForward"] = json!(true);
        }
        spec
    })
}

fn set_spec() -> impl Strategy<Value = (Value, Value)> {
    let labels = prop_oneof![Just(json!({"role": "partner"})), Just(json!({"role": "friend"}))];
    (
        labels,
        some(&NETS, 4)
            .prop_filter("a set holds something", |n| !n.is_empty())
            .prop_map(|nets| json!(nets)),
    )
}

fn map_of<S: Strategy<Value = Option<Value>> + 'static>(
    names: &'static [&'static str],
    value: impl Fn(&'static str) -> S,
) -> impl Strategy<Value = Map<String, Value>> {
    let values: Vec<S> = names.iter().map(|name| value(name)).collect();
    values.prop_map(move |values| {
        names
            .iter()
            .zip(values)
            .filter_map(|(name, value)| Some((name.to_string(), value?)))
            .collect()
    })
}

/// A plan named `name`, as JSON.
pub fn plan(name: &'static str) -> impl Strategy<Value = Value> {
    let select = prop_oneof![
        Just(json!({"all": true})),
        Just(json!({"pick": {"count": 1, "address": "InternalIP"}})),
        Just(json!({"pick": {"count": 1}})),
        Just(json!({"matchLabels": {"zone": "a"}})),
        Just(json!({"names": ["n1"]})),
    ];
    let group = (select, proptest::sample::select(&LABELS[..])).prop_map(|(mut group, (key, value))| {
        group["labels"] = json!({key: value});
        group
    });
    let host_endpoints = prop_oneof![
        Just(json!({"autoCreate": "Enabled", "flowLogs": "IfSupported"})),
        Just(json!({"autoCreate": "Disabled"})),
    ];
    let service = (30000u16..30004).prop_map(|port| {
        json!({"namespace": "shop", "expose": "deployment/web", "ports": [{"port": 80, "targetPort": 8080, "nodePort": port}]})
    });
    let claim =
        Just(json!([{"kind": "FelixConfiguration", "name": "default", "set": {"logSeverityScreen": "Warning"}}]));
    let tiers = map_of(&TIERS, |_| {
        maybe(0.8, order().prop_map(|order| json!({"order": order})))
    });
    let sets = map_of(&SETS, |_| {
        maybe(
            0.5,
            set_spec().prop_map(|(labels, nets)| json!({"labels": labels, "nets": nets})),
        )
    });
    let policies = map_of(&["security.a", "security.b", "alpha.c"], |name| {
        let tier = name.split('.').next().expect("a part");
        maybe(0.5, policy_spec(tier).prop_map(|spec| json!({"spec": spec})))
    });
    let parts = (
        maybe(0.7, host_endpoints),
        maybe(0.7, group),
        maybe(0.4, service),
        maybe(0.3, claim),
        tiers,
        sets,
        policies,
    );
    parts.prop_map(move |(host_endpoints, group, service, claims, mut tiers, sets, policies)| {
        for policy in policies.keys() {
            let tier = policy.split('.').next().expect("a part");
            tiers.entry(tier).or_insert_with(|| json!({"order": 500}));
        }
        let mut spec = json!({"cluster": {"platform": "generic"}, "tiers": tiers, "networkSets": sets, "policies": policies});
        for (part, value) in [("hostEndpoints", host_endpoints), ("claims", claims)] {
            if let Some(value) = value {
                spec[part] = value;
            }
        }
        if let Some(group) = group {
            spec["nodes"] = json!({"guarded": group});
        }
        if let Some(service) = service {
            spec["services"] = json!({"web-nodeport": service});
        }
        json!({"apiVersion": "hostguard.dev/v1alpha1", "kind": "HostProtection", "metadata": {"name": name}, "spec": spec})
    })
    .prop_filter("a plan wants something", |plan| {
        let spec = &plan["spec"];
        ["tiers", "networkSets", "policies"].iter().any(|part| !spec[part].as_object().is_none_or(Map::is_empty))
            || ["hostEndpoints", "nodes", "services", "claims"].iter().any(|part| spec.get(part).is_some())
    })
}

/// Objects of a cluster that every plan of [`plan`] fits, by kind.
pub fn cluster() -> impl Strategy<Value = Vec<Value>> {
    cluster_of(4)
}

/// The same with at most so many nodes.
pub fn cluster_of(most: usize) -> impl Strategy<Value = Vec<Value>> {
    let node = |name: &'static str, at: usize| {
        (
            any::<bool>(),
            any::<bool>(),
            proptest::option::weighted(0.3, proptest::sample::select(&LABELS[..])),
        )
            .prop_map(move |(zone_a, external, label)| {
                let first = at == 0; // one node always fits every group
                let mut labels =
                    json!({"kubernetes.io/hostname": name, "zone": if zone_a || first { "a" } else { "b" }});
                if let Some((key, value)) = label {
                    labels[key] = json!(value);
                }
                let mut addresses = vec![json!({"type": "InternalIP", "address": format!("10.0.1.{}", at + 10)})];
                if external {
                    addresses.push(json!({"type": "ExternalIP", "address": format!("203.0.113.{}", at + 10)}));
                }
                json!({
                    "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels},
                    "status": {"addresses": addresses, "conditions": [{"type": "Ready", "status": "True"}]},
                })
            })
    };
    let nodes = (1usize..=most).prop_flat_map(move |count| {
        NODES
            .iter()
            .take(count)
            .enumerate()
            .map(|(at, name)| node(name, at))
            .collect::<Vec<_>>()
    });
    let tiers = map_of(&TIERS, |_| {
        maybe(
            0.3,
            order().prop_map(|order| json!({"order": order, "defaultAction": "Deny"})),
        )
    });
    let sets = map_of(&SETS, |_| {
        maybe(
            0.3,
            set_spec().prop_map(|(labels, nets)| json!({"labels": labels, "nets": nets})),
        )
    });
    let policies = map_of(&["security.a", "security.b"], |_| maybe(0.3, policy_spec("security")));
    let auto = prop_oneof![Just("Enabled"), Just("Disabled")];
    (nodes, tiers, sets, policies, auto).prop_map(|(nodes, mut tiers, sets, policies, auto)| {
        if !policies.is_empty() {
            tiers.entry("security").or_insert_with(|| json!({"order": 500}));
        }
        let mut objects = fixed(auto);
        objects.extend(nodes);
        for (name, spec) in tiers {
            objects.push(calico("Tier", &name, json!({}), spec));
        }
        for (name, set) in sets {
            objects.push(calico(
                "GlobalNetworkSet",
                &name,
                set["labels"].clone(),
                json!({"nets": set["nets"]}),
            ));
        }
        for (name, spec) in policies {
            objects.push(calico(
                "GlobalNetworkPolicy",
                &name,
                json!({"projectcalico.org/tier": "security"}),
                spec,
            ));
        }
        for (at, object) in objects.iter_mut().enumerate() {
            object["metadata"]["resourceVersion"] = json!((at + 1).to_string());
            object["metadata"]["uid"] = json!(format!("uid-{at}"));
        }
        objects
    })
}

fn calico(kind: &str, name: &str, labels: Value, spec: Value) -> Value {
    let mut object =
        json!({"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": {"name": name}, "spec": spec});
    if labels.as_object().is_some_and(|labels| !labels.is_empty()) {
        object["metadata"]["labels"] = labels;
    }
    object
}

fn fixed(auto: &str) -> Vec<Value> {
    let controllers = json!({"controllers": {"node": {"hostEndpoint": {"autoCreate": auto}}}});
    let mut config = calico(
        "KubeControllersConfiguration",
        "default",
        json!({}),
        controllers.clone(),
    );
    config["status"] = json!({"runningConfig": controllers});
    vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}),
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
               "spec": {"selector": {"matchLabels": {"app": "web"}}}}),
        calico(
            "ClusterInformation",
            "default",
            json!({}),
            json!({"datastoreReady": true}),
        ),
        calico(
            "FelixConfiguration",
            "default",
            json!({}),
            json!({"logSeverityScreen": "Info"}),
        ),
        calico(
            "Tier",
            "default",
            json!({}),
            json!({"order": 1_000_000, "defaultAction": "Deny"}),
        ),
        config,
    ]
}

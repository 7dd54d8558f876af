use std::collections::BTreeMap;
use std::io::Read;

use proptest::prelude::*;
use serde_json::json;

use super::schema::{Field, KINDS, Type};
use super::*;

fn policy(spec: Value) -> Value {
    json!({"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": "p"}, "spec": spec})
}

fn broken(object: &Value) -> Vec<String> {
    validate(object)
        .iter()
        .map(|v| format!("{} {} {}", v.rule.id, v.path, v.message))
        .collect()
}

#[test]
fn a_correct_host_policy_breaks_no_rule() {
    let object = policy(json!({
        "tier": "security", "order": 100, "selector": "host-end-point == 'test'", "preDNAT": true, "applyOnForward": true,
        "types": ["Ingress"],
        "ingress": [{"action": "Deny", "protocol": "TCP", "ipVersion": 4, "source": {"notNets": ["10.9.0.4/32"]}, "destination": {"ports": [30080]}}],
    }));
    assert_eq!(broken(&object), Vec::<String>::new());
}

#[test]
fn a_capital_letter_is_an_unknown_key_with_its_name() {
    let object = policy(
        json!({"selector": "all()", "types": ["Ingress"], "ingress": [{"action": "Deny", "source": {"Nets": ["10.0.0.0/8"]}}]}),
    );
    let found = validate(&object);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].path.to_string(), "spec.ingress[0].source.Nets");
    assert_eq!(found[0].rule.id, "HG0401");
    assert_eq!(found[0].fix.as_deref(), Some("write `nets`"));
}

#[test]
fn all_problems_come_at_once_in_path_order() {
    let object = policy(json!({
        "selector": "a = 'b'", "preDNAT": true, "types": ["Ingress"],
        "ingress": [{"action": "deny", "source": {"nets": ["${VM_IP}", "10.0.0.1", "1.2.3.4/16"]}, "destination": {"ports": [0]}}],
    }));
    let ids: Vec<&str> = validate(&object).iter().map(|v| v.rule.id).collect();
    for id in [
        "HG0404", "HG0420", "HG0423", "HG0424", "HG0425", "HG0426", "HG0429", "HG0434", "HG0480",
    ] {
        assert!(ids.contains(&id), "{id} in {ids:?}");
    }
    let paths: Vec<Path> = validate(&object).into_iter().map(|v| v.path).collect();
    assert!(paths.is_sorted(), "{paths:?}");
}

#[test]
fn what_felix_dies_of_is_an_error() {
    let rule = |rule: Value| policy(json!({"selector": "all()", "types": ["Ingress"], "ingress": [rule]}));
    for (id, object) in [
        ("HG0460", rule(json!({"action": "Deny", "notICMP": {"type": 8}}))),
        (
            "HG0461",
            rule(json!({"action": "Deny", "protocol": 1, "icmp": {"type": 8}})),
        ),
        (
            "HG0462",
            rule(json!({"action": "Deny", "protocol": "TCP", "notProtocol": "UDP"})),
        ),
        (
            "HG0463",
            rule(json!({"action": "Deny", "protocol": "ICMP", "icmp": {"type": 8, "code": 0}})),
        ),
    ] {
        let found = validate(&object);
        assert!(
            found.iter().any(|v| v.rule.id == id && v.level == Level::Error),
            "{id}: {found:?}"
        );
        assert_eq!(verdict(&object).felix, Some(Felix::Crashes), "{id}");
    }
}

#[test]
fn a_deny_with_one_familys_exceptions_is_a_warning() {
    let object = policy(
        json!({"selector": "all()", "types": ["Ingress"], "ingress": [{"action": "Deny", "source": {"notNets": ["10.9.0.4/32"]}}]}),
    );
    let found = validate(&object);
    assert_eq!(
        found.iter().map(|v| (v.rule.id, v.level)).collect::<Vec<_>>(),
        [("HG0482", Level::Warning)]
    );
}

#[test]
fn other_objects_are_refused_as_unknown() {
    assert_eq!(broken(&json!([])), ["HG0400  a list is not an object"]);
    let pod = json!({"apiVersion": "v1", "kind": "Pod"});
    assert_eq!(validate(&pod).len(), 2);
    assert!(!verdict(&pod).valid);
}

#[test]
fn defaults_are_what_calico_stores() {
    let mut object =
        policy(json!({"selector": "all()", "preDNAT": false, "egress": [{"action": "Allow"}], "order": 100.0}));
    defaults(&mut object);
    assert_eq!(
        object["spec"],
        json!({"selector": "all()", "egress": [{"action": "Allow"}], "order": 100, "tier": "default", "types": ["Egress"]})
    );
    assert_eq!(object["metadata"]["labels"]["projectcalico.org/tier"], "default");
}

#[test]
fn configurations_felix_dies_of() {
    let errors = |spec: Value| {
        let object = json!({"apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration", "metadata": {"name": "default"}, "spec": spec});
        let found = validate(&object);
        found
            .into_iter()
            .filter(|v| v.level == Level::Error)
            .map(|v| v.rule.id)
            .collect::<Vec<_>>()
    };
    for (spec, id) in [
        (
            json!({"failsafeInboundHostPorts": [{"protocol": "SCTP", "port": 22}]}),
            "HG0466",
        ),
        (json!({"failsafeInboundHostPorts": [{"port": 22}]}), "HG0466"),
        (
            json!({"failsafeInboundHostPorts": [{"protocol": "TCP", "port": 22, "net": "${ADMIN}"}]}),
            "HG0465",
        ),
        (
            json!({"failsafeInboundHostPorts": [{"protocol": "TCP", "port": 22, "net": "::ffff:1.2.3.4/128"}]}),
            "HG0465",
        ),
        (
            json!({"failsafeOutboundHostPorts": [{"protocol": "TCP", "port": 0}]}),
            "HG0467",
        ),
        (json!({"iptablesMarkMask": 1}), "HG0468"),
        (json!({"iptablesMarkMask": 0xf000}), "HG0468"),
        (json!({"iptablesMarkMask": 0xf8000, "wireguardEnabled": true}), "HG0468"),
        (json!({"interfacePrefix": "a b"}), "HG0469"),
        (json!({"interfacePrefix": "cali,eth"}), "HG0469"),
        (json!({"interfacePrefix": "cali,"}), "HG0469"),
        (json!({"maxIpsetSize": 0}), "HG0470"),
        (json!({"iptablesFilterDenyAction": "reject"}), "HG0471"),
        (json!({"metadataAddr": "a:b"}), "HG0476"),
    ] {
        assert!(errors(spec.clone()).contains(&id), "{spec}: {:?}", errors(spec.clone()));
    }
    for spec in [
        json!({"failsafeInboundHostPorts": [{"protocol": "tcp", "port": 9100, "net": ""}, {"protocol": "UDP", "port": 1, "net": "10.0.0.1"}]}),
        json!({"iptablesMarkMask": 65280, "interfacePrefix": "cali,eni,azv,gke", "iptablesFilterDenyAction": "Reject"}),
        json!({"chainInsertMode": "append", "defaultEndpointToHostAction": "", "maxIpsetSize": 2}),
    ] {
        assert_eq!(errors(spec.clone()), Vec::<&str>::new(), "{spec}");
    }
}

#[test]
fn a_reserved_label_is_refused() {
    let label = json!({"projectcalico.org/namespace": "x"});
    let object = json!({"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkSet", "metadata": {"name": "s", "labels": label}, "spec": {}});
    assert_eq!(
        broken(&object),
        ["HG0417 metadata.labels[\"projectcalico.org/namespace\"] label `projectcalico.org/namespace` is reserved"]
    );
}

fn gate(stage: Stage) -> Gates {
    match stage {
        Stage::Strict => Gates::STRICT,
        Stage::Decode | Stage::Validate | Stage::Create | Stage::Stored => Gates::AGGREGATED,
        Stage::Native => Gates::NATIVE,
        Stage::Unreadable | Stage::Dropped | Stage::Crash => Gates::FELIX,
        Stage::House | Stage::Advice => Gates::HOSTGUARD,
    }
}

/// A rule's row names every gate at which the corpus meets it, and no gate that never does where it is met often.
#[test]
fn rows_name_the_gates_that_refuse() {
    let bytes: &[u8] = include_bytes!("../../tests/corpora/validation.jsonl.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes)
        .read_to_string(&mut text)
        .expect("gzip");
    let mut met: BTreeMap<&str, BTreeMap<Gates, usize>> = BTreeMap::new();
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).expect("JSON");
        let (kind, object) = (case["kind"].as_str().unwrap_or_default(), &case["object"]);
        let mut out = Findings::default();
        verdict::run(kind, object, None, &mut out);
        house::check(kind, object, &mut out);
        for finding in &out.list {
            for stage in &finding.stages {
                *met.entry(finding.id.rule().id)
                    .or_default()
                    .entry(gate(*stage))
                    .or_default() += 1;
            }
        }
    }
    let mut wrong = Vec::new();
    for rule in RULES {
        let seen = met.get(rule.id).cloned().unwrap_or_default();
        let often = seen.values().sum::<usize>() >= 20;
        for gate in [
            Gates::AGGREGATED,
            Gates::NATIVE,
            Gates::STRICT,
            Gates::FELIX,
            Gates::HOSTGUARD,
        ] {
            match (rule.gates.contains(gate), seen.get(&gate)) {
                (false, Some(count)) => wrong.push(format!("{} is met at {gate} {count} times", rule.id)),
                (true, None) if often => wrong.push(format!("{} is never met at {gate}", rule.id)),
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Builds an object along the tree of a kind, by choices: mostly fitting values, some of any type.
fn build(field: &Field, choices: &mut impl Iterator<Item = u8>) -> Value {
    const TEXTS: [&str; 16] = [
        "",
        "a",
        "all()",
        "has(",
        "10.0.0.0/8",
        "1.2.3.4",
        "::ffff:1.2.3.4/100",
        "${X}",
        "TCP",
        "80",
        "90:80",
        "é",
        "1.5s",
        "90s",
        "(",
        "Allow",
    ];
    let mut next = || choices.next().unwrap_or(0);
    let any = next();
    if any < 12 {
        return [
            json!(null),
            json!(-1),
            json!(6.0),
            json!(1e30),
            json!(true),
            json!([null]),
            json!({"x": 1}),
            json!(u64::MAX),
        ][usize::from(any % 8)]
        .clone();
    }
    let pick = usize::from(next());
    match &field.ty {
        Type::Object(fields) => {
            let mut map = serde_json::Map::new();
            for field in *fields {
                if choices.next().unwrap_or(255) < 110 {
                    map.insert(field.name.to_string(), build(field, choices));
                }
            }
            Value::Object(map)
        }
        Type::List(list) => (0..pick % 4).map(|_| build(&list.item, choices)).collect(),
        Type::Map => json!({TEXTS[pick % 16]: TEXTS[(pick / 16) % 16]}),
        Type::Bool => json!(pick.is_multiple_of(2)),
        Type::Integer { .. } | Type::Choice(_) | Type::Number => json!([0, 1, 4, 6, 80, 300, 70000, -3][pick % 8]),
        Type::Port | Type::Protocol | Type::Dscp if pick.is_multiple_of(2) => json!(pick),
        _ => json!(TEXTS[pick % 16]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn any_object_is_judged_and_what_a_gate_refuses_is_an_error(
        kind in prop::sample::select(KINDS.to_vec()), choices in prop::collection::vec(any::<u8>(), 0..300)
    ) {
        let field = schema(kind).expect("a known kind");
        let mut object = build(field, &mut choices.into_iter());
        if let Some(map) = object.as_object_mut() {
            map.insert("kind".to_string(), json!(kind));
            map.insert("apiVersion".to_string(), json!("projectcalico.org/v3"));
        }
        let (found, gates) = (validate(&object), verdict(&object));
        let refused = !gates.valid || gates.strict_unknown || !gates.native_crd_valid || gates.felix != Some(Felix::Kept);
        prop_assert!(!refused || found.iter().any(|v| v.level == Level::Error), "{object}");
        prop_assert!(found.iter().map(|v| &v.path).is_sorted());
        for violation in &found {
            prop_assert!(violation.path.find(&object).is_some(), "{} in {object}", violation.path);
            prop_assert!(!violation.message.is_empty() && !violation.message.ends_with('.'));
        }
        if gates.valid {
            let mut once = object.clone();
            defaults(&mut once);
            let mut twice = once.clone();
            defaults(&mut twice);
            prop_assert_eq!(&once, &twice);
            prop_assert!(verdict(&once).valid, "stored form of {object}");
        }
    }

    #[test]
    fn any_json_is_judged(text in "[\\[\\]{}\":,a-z0-9. ]{0,60}") {
        if let Ok(parsed) = parse(&text) {
            validate_text(&parsed);
            verdict(&parsed.object);
            defaults(&mut parsed.object.clone());
        }
    }
}

use super::*;
use serde_json::json;

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

//! The harness itself: the server is real, clean at every turn, and tells what it was asked.

use serde_json::json;
use std::time::Instant;

use crate::support::control_plane::{Crds, Identity};
use crate::support::kinds::calico;
use crate::support::live::live;
use crate::support::world::{self, Node};

#[test]
fn the_server_serves_v3_to_an_independent_reader() {
    let Some(server) = live!() else { return };
    world::fresh_calico(&server);
    let kubectl = server.kubectl(Identity::Admin);
    let version = kubectl.json(&["version"]);
    assert_eq!(
        version["serverVersion"]["gitVersion"],
        version["clientVersion"]["gitVersion"]
    );
    let tiers = kubectl.json(&["get", "tiers.projectcalico.org"]);
    let names: Vec<&str> = tiers["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|t| t["metadata"]["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(names, ["default", "kube-admin", "kube-baseline"]);
    kubectl.apply(&[world::object(
        "GlobalNetworkSet",
        "partners",
        json!({ "nets": ["198.51.100.0/24"] }),
    )]);
    let set = server.rest().get(&calico("globalnetworksets", "partners")).ok();
    assert_eq!(set["spec"]["nets"], json!(["198.51.100.0/24"]));
}

#[test]
fn a_reset_leaves_nothing_of_a_test_behind() {
    let Some(server) = live!() else { return };
    fill(&server);
    let start = Instant::now();
    let gone = server.reset();
    println!("{} objects reset in {:?}", gone.len(), start.elapsed());
    assert!(gone.len() >= 14, "{gone:#?}");
    let left = server.reset();
    assert!(left.iter().all(|path| path.contains("/tiers/")), "{left:#?}");
    fill(&server); // names, node ports and addresses are free again
}

fn fill(server: &crate::support::control_plane::ControlPlane) {
    world::fresh_calico(server);
    Node::named("n1").internal_ip("10.0.0.11").create(server);
    world::namespace(server, "shop");
    let container = json!({ "name": "web", "image": "web", "ports": [{ "containerPort": 8080 }] });
    server
        .rest()
        .create(&world::workload("Deployment", "shop", "frontend", container));
    server
        .rest()
        .create(&world::node_port("shop", "frontend", 30080, 80, 8080));
    world::grant(
        server,
        Identity::Reader,
        json!([{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"] }]),
    );
}

#[test]
fn each_identity_may_do_what_it_was_granted() {
    let Some(server) = live!() else { return };
    world::fresh_calico(&server);
    let sets = calico("globalnetworksets", "");
    let all = [Identity::Reader, Identity::ReaderToken, Identity::NobodyToken];
    assert_eq!(all.map(|who| server.rest_as(who).get(&sets).status), [403, 403, 403]);
    assert_eq!(server.rest_as(Identity::AdminToken).get(&sets).status, 200);
    world::grant(
        &server,
        Identity::Reader,
        json!([
            { "apiGroups": ["projectcalico.org"], "resources": ["globalnetworksets"], "verbs": ["get", "list"] },
        ]),
    );
    assert_eq!(all.map(|who| server.rest_as(who).get(&sets).status), [200, 200, 403]);
    let set = world::object("GlobalNetworkSet", "partners", json!({ "nets": [] }));
    assert_eq!(server.rest_as(Identity::Reader).post(&sets, &set).reason(), "Forbidden");
}

#[test]
fn the_audit_log_shows_who_asked_for_what() {
    let Some(server) = live!() else { return };
    world::fresh_calico(&server);
    let audit = server.audit();
    let mark = audit.mark();
    let kubectl = server.kubectl(Identity::AdminToken);
    kubectl.json(&["get", "tiers.projectcalico.org", "default"]);
    let reads = audit.since(mark);
    assert!(
        reads
            .iter()
            .any(|e| e.verb == "get" && e.resource == "tiers" && e.name == "default"),
        "{reads:#?}"
    );
    assert_eq!(reads.iter().filter(|e| e.writes()).count(), 0, "{reads:#?}");
    let mark = audit.mark();
    kubectl.apply(&[world::object("GlobalNetworkSet", "partners", json!({ "nets": [] }))]);
    let writes: Vec<_> = audit.since(mark).into_iter().filter(|e| e.writes()).collect();
    let [write] = &writes[..] else {
        panic!("one write, not {writes:#?}")
    };
    let said = (
        &*write.user,
        &*write.verb,
        &*write.resource,
        &*write.subresource,
        &*write.namespace,
        write.status,
    );
    assert_eq!(said, ("admin", "create", "globalnetworksets", "", "", 201));
}

#[test]
fn only_the_enterprise_variant_knows_the_host_endpoint_flow_log_switch() {
    let felix = world::object(
        "FelixConfiguration",
        "default",
        json!({ "flowLogsEnableHostEndpoint": true }),
    );
    let path = format!("{}?fieldValidation=Strict", calico("felixconfigurations", ""));
    {
        let Some(server) = live!() else { return };
        let refused = server.rest().post(&path, &felix);
        assert_eq!(refused.status, 400);
        assert!(
            refused
                .message()
                .contains("unknown field \"spec.flowLogsEnableHostEndpoint\""),
            "{refused}"
        );
    }
    let Some(server) = live!(Crds::Enterprise) else { return };
    let stored = server.rest().post(&path, &felix).ok();
    assert_eq!(stored["spec"]["flowLogsEnableHostEndpoint"], true);
}

#[test]
fn the_ways_a_cluster_serves_calico_are_told_apart_by_its_groups() {
    for (crds, expected) in [(Crds::None, vec![]), (Crds::V1Only, vec!["crd.projectcalico.org"])] {
        let Some(server) = live!(crds) else { return };
        let groups = server.rest().get("/apis").ok();
        let names = groups["groups"]
            .as_array()
            .expect("groups")
            .iter()
            .filter_map(|g| g["name"].as_str());
        assert_eq!(
            names.filter(|n| n.ends_with("projectcalico.org")).collect::<Vec<_>>(),
            expected
        );
        assert_eq!(server.rest().get(&calico("tiers", "")).status, 404);
    }
}

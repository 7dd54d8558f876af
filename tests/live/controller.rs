//! The player of Calico's host endpoint controller behaves as the real one was seen to.

use serde_json::{Value, json};
use std::thread::sleep;
use std::time::Duration;

use crate::support::control_plane::ControlPlane;
use crate::support::host_endpoint_controller::{Environment, HostEndpointController};
use crate::support::kinds::calico;
use crate::support::live::{eventually, live};
use crate::support::world::{self, Node};

/// The player needs a third of a second; a busy machine may need more.
const SOON: Duration = Duration::from_secs(10);

fn names(server: &ControlPlane) -> Vec<String> {
    let found = server.rest().list(&calico("hostendpoints", ""));
    found
        .iter()
        .map(|h| h["metadata"]["name"].as_str().expect("a name").to_string())
        .collect()
}

fn expect_names(server: &ControlPlane, what: &str, names_then: &[&str]) {
    eventually(what, SOON, || {
        let seen = names(server);
        if seen == names_then {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        }
    });
}

fn endpoint(server: &ControlPlane, name: &str) -> Value {
    server.rest().get(&calico("hostendpoints", name)).ok()
}

fn running(server: &ControlPlane) -> Value {
    server
        .rest()
        .get(&calico("kubecontrollersconfigurations", "default"))
        .ok()["status"]
        .take()
}

#[test]
fn host_endpoints_come_with_auto_create_and_go_with_it() {
    let Some(server) = live!() else { return };
    world::fresh_calico(&server);
    Node::named("n1")
        .internal_ip("10.0.0.11")
        .external_ip("203.0.113.11")
        .label("role", "w")
        .create(&server);
    let tunnel = "projectcalico.org/IPv4VXLANTunnelAddr";
    Node::named("n2")
        .internal_ip("10.0.0.12")
        .annotation(tunnel, "10.244.2.0")
        .create(&server);
    world::create(
        &server,
        "HostEndpoint",
        "by-hand",
        json!({ "node": "n1", "interfaceName": "eth0" }),
    );
    let _controller = HostEndpointController::start(&server, Environment::default());
    world::auto_create(&server, "Enabled");
    expect_names(
        &server,
        "a host endpoint for every node",
        &["by-hand", "n1-auto-hep", "n2-auto-hep"],
    );

    let made = endpoint(&server, "n1-auto-hep");
    assert_eq!(
        made["spec"],
        json!({
            "node": "n1", "interfaceName": "*", "expectedIPs": ["10.0.0.11"], "profiles": ["projectcalico-default-allow"],
        })
    );
    assert_eq!(
        made["metadata"]["labels"],
        json!({
            "kubernetes.io/hostname": "n1", "kubernetes.io/os": "linux", "role": "w",
            "projectcalico.org/created-by": "calico-kube-controllers",
        })
    );
    let manager = &made["metadata"]["managedFields"][0];
    assert_eq!(
        (&manager["manager"], &manager["operation"]),
        (&json!("Go-http-client"), &json!("Update"))
    );
    assert_eq!(
        endpoint(&server, "n2-auto-hep")["spec"]["expectedIPs"],
        json!(["10.244.2.0", "10.0.0.12"])
    );
    assert_eq!(
        running(&server)["runningConfig"]["controllers"]["node"]["hostEndpoint"]["autoCreate"],
        "Enabled"
    );

    world::auto_create(&server, "Disabled");
    expect_names(&server, "only the one made by hand", &["by-hand"]);
    assert_eq!(
        running(&server)["runningConfig"]["controllers"]["node"]["hostEndpoint"]["autoCreate"],
        "Disabled"
    );
}

#[test]
fn host_endpoints_follow_their_nodes() {
    let Some(server) = live!() else { return };
    world::fresh_calico(&server);
    Node::named("n1").internal_ip("10.0.0.11").create(&server);
    Node::named("n2")
        .internal_ip("10.0.0.12")
        .provider_id("aws:///eu-west-1a/i-0abc")
        .not_ready()
        .create(&server);
    let _controller = HostEndpointController::start(&server, Environment::default());
    world::auto_create(&server, "Enabled");
    expect_names(
        &server,
        "a host endpoint for every node",
        &["n1-auto-hep", "n2-auto-hep"],
    );
    let rest = server.rest();

    // A label added by hand survives; so does a profile removed by hand.
    let path = calico("hostendpoints", "n1-auto-hep");
    rest.merge(
        &path,
        &json!({ "metadata": { "labels": { "mine": "1" } }, "spec": { "profiles": null } }),
    )
    .ok();
    rest.delete(&calico("hostendpoints", "n2-auto-hep")).ok();
    expect_names(&server, "the deleted one is back", &["n1-auto-hep", "n2-auto-hep"]);
    sleep(Duration::from_millis(300));
    let kept = endpoint(&server, "n1-auto-hep");
    assert_eq!(
        (&kept["metadata"]["labels"]["mine"], &kept["spec"]["profiles"]),
        (&json!("1"), &Value::Null)
    );

    rest.merge(
        "/api/v1/nodes/n1",
        &json!({ "metadata": { "labels": { "host-end-point": "test" } } }),
    )
    .ok();
    eventually("the node's label on its host endpoint", SOON, || {
        let labels = endpoint(&server, "n1-auto-hep")["metadata"]["labels"].take();
        if labels["host-end-point"] == "test" {
            Ok(())
        } else {
            Err(labels.to_string())
        }
    });
    rest.delete("/api/v1/nodes/n2").ok();
    expect_names(&server, "none for the node that left", &["n1-auto-hep"]);
}

#[test]
fn templates_make_host_endpoints_of_their_own() {
    let Some(server) = live!() else { return };
    world::fresh_calico(&server);
    Node::named("n1")
        .internal_ip("10.0.0.11")
        .internal_ip("192.168.7.1")
        .label("edge", "yes")
        .create(&server);
    Node::named("n2").internal_ip("10.0.0.12").create(&server);
    let _controller = HostEndpointController::start(&server, Environment::default());
    let template = json!({
        "generateName": "tpl", "interfaceCIDRs": ["192.168.0.0/16"], "nodeSelector": "has(edge) && edge == \"yes\"",
        "labels": { "edge": "template" }, "annotations": { "note": "x" },
    });
    let hosts = json!({ "autoCreate": "Enabled", "createDefaultHostEndpoint": "Disabled", "templates": [template] });
    let change = json!({ "spec": { "controllers": { "node": { "hostEndpoint": hosts } } } });
    server
        .rest()
        .merge(&calico("kubecontrollersconfigurations", "default"), &change)
        .ok();
    expect_names(&server, "one host endpoint from the template", &["n1-tpl-auto-hep"]);
    let made = endpoint(&server, "n1-tpl-auto-hep");
    assert_eq!(
        made["spec"],
        json!({
            "node": "n1", "expectedIPs": ["192.168.7.1"], "profiles": ["projectcalico-default-allow"],
        })
    );
    assert_eq!(
        (
            &made["metadata"]["labels"]["edge"],
            &made["metadata"]["annotations"]["note"]
        ),
        (&json!("template"), &json!("x"))
    );
}

#[test]
fn the_environment_wins_over_the_configuration() {
    let Some(server) = live!() else { return };
    world::fresh_calico(&server);
    Node::named("n1").internal_ip("10.0.0.11").create(&server);
    world::auto_create(&server, "Enabled");
    {
        let _controller = HostEndpointController::start(
            &server,
            Environment {
                auto_host_endpoints: Some(false),
            },
        );
        let status = eventually("a running configuration", SOON, || {
            let status = running(&server);
            if status["environmentVars"].is_null() {
                Err(status.to_string())
            } else {
                Ok(status)
            }
        });
        assert_eq!(status["environmentVars"], json!({ "AUTO_HOST_ENDPOINTS": "disabled" }));
        assert_eq!(
            status["runningConfig"]["controllers"]["node"]["hostEndpoint"],
            Value::Null
        );
        sleep(Duration::from_millis(300));
        assert_eq!(names(&server), [] as [&str; 0]);
    }
    world::auto_create(&server, "Disabled");
    let _controller = HostEndpointController::start(
        &server,
        Environment {
            auto_host_endpoints: Some(true),
        },
    );
    expect_names(&server, "a host endpoint in spite of the spec", &["n1-auto-hep"]);
}

#[test]
fn nothing_comes_before_the_agent_is_installed() {
    let Some(server) = live!() else { return };
    world::fresh_calico(&server);
    server
        .rest()
        .delete("/apis/apps/v1/namespaces/calico-system/daemonsets/calico-node")
        .ok();
    Node::named("n1").internal_ip("10.0.0.11").create(&server);
    let _controller = HostEndpointController::start(&server, Environment::default());
    world::auto_create(&server, "Enabled");
    sleep(Duration::from_millis(500));
    assert_eq!(names(&server), [] as [&str; 0]);
    server.rest().create(&world::calico_node());
    expect_names(&server, "a host endpoint once the agent is there", &["n1-auto-hep"]);
}

#[test]
fn a_removed_configuration_comes_back_with_its_defaults() {
    let Some(server) = live!() else { return };
    world::fresh_calico(&server);
    let _controller = HostEndpointController::start(&server, Environment::default());
    let path = calico("kubecontrollersconfigurations", "default");
    server.rest().delete(&path).ok();
    eventually("the default configuration", SOON, || {
        let answer = server.rest().get(&path);
        let created = &answer.body["spec"]["controllers"]["node"]["hostEndpoint"]["autoCreate"];
        if created == "Disabled" {
            Ok(())
        } else {
            Err(answer.to_string())
        }
    });
}

#[test]
fn without_a_node_controller_nothing_is_made_and_nothing_cleaned_up() {
    let Some(server) = live!() else { return };
    world::fresh_calico(&server);
    Node::named("n1").internal_ip("10.0.0.11").create(&server);
    let _controller = HostEndpointController::start(&server, Environment::default());
    world::auto_create(&server, "Enabled");
    expect_names(&server, "a host endpoint for the node", &["n1-auto-hep"]);
    let none = json!({ "spec": { "controllers": { "node": null } } });
    server
        .rest()
        .merge(&calico("kubecontrollersconfigurations", "default"), &none)
        .ok();
    eventually("a running configuration without node controller", SOON, || {
        let node = running(&server)["runningConfig"]["controllers"]["node"].take();
        if node.is_null() { Ok(()) } else { Err(node.to_string()) }
    });
    Node::named("n2").internal_ip("10.0.0.12").create(&server);
    server.rest().delete("/api/v1/nodes/n1").ok();
    sleep(Duration::from_millis(300));
    assert_eq!(names(&server), ["n1-auto-hep"]);
}

#[test]
fn the_label_alone_makes_a_host_endpoint_the_controllers_own() {
    let Some(server) = live!() else { return };
    world::fresh_calico(&server);
    let mut stray = world::object(
        "HostEndpoint",
        "stray",
        json!({ "node": "n1", "interfaceName": "eth0" }),
    );
    stray["metadata"]["labels"] = json!({ "projectcalico.org/created-by": "calico-kube-controllers" });
    server.rest().create(&stray);
    world::create(
        &server,
        "HostEndpoint",
        "by-hand",
        json!({ "node": "n1", "interfaceName": "eth1" }),
    );
    let _controller = HostEndpointController::start(&server, Environment::default());
    expect_names(&server, "the labelled one goes, though a person made it", &["by-hand"]);
}

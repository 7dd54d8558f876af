//! The workshop's forms on a real API server: from empty, to applied, to nothing to do, to destroyed.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::cluster::hostguard_on;
use crate::support::command::Ran;
use crate::support::control_plane::{ControlPlane, Crds, Identity};
use crate::support::host_endpoint_controller::{Environment, HostEndpointController};
use crate::support::kinds::calico;
use crate::support::live::{eventually, live};
use crate::support::world::{self, Node};

/// The workshop's cluster: three nodes, two of them with an ExternalIP, and the shop that is exposed.
pub fn shop(server: &ControlPlane) {
    world::fresh_calico(server);
    Node::named("ip-10-0-1-5")
        .internal_ip("10.0.1.5")
        .external_ip("198.51.100.15")
        .create(server);
    Node::named("ip-10-0-1-6")
        .internal_ip("10.0.1.6")
        .external_ip("198.51.100.16")
        .create(server);
    Node::named("ip-10-0-2-7").internal_ip("10.0.2.7").create(server);
    world::namespace(server, "hipstershop");
    let container = json!({"name": "server", "image": "frontend"});
    server
        .rest()
        .create(&world::workload("Deployment", "hipstershop", "frontend", container));
    world::pod(server, "hipstershop", "frontend", "ip-10-0-1-5", "10.0.1.71");
}

/// The player of Calico's controller, once it has reported its configuration.
pub fn controller(server: &ControlPlane) -> HostEndpointController {
    let controller = HostEndpointController::start(server, Environment::default());
    let config = calico("kubecontrollersconfigurations", "default");
    eventually(
        "the controller reports its configuration",
        Duration::from_secs(10),
        || {
            let status = server.rest().get(&config).ok()["status"].take();
            if status["runningConfig"].is_object() {
                Ok(())
            } else {
                Err(status.to_string())
            }
        },
    );
    controller
}

/// Everything a plan of these tests could have touched, without versions, managers and what hostguard leaves on
/// purpose.
pub fn content(server: &ControlPlane) -> Vec<Value> {
    let collections = [
        ("Tier", calico("tiers", "")),
        ("GlobalNetworkSet", calico("globalnetworksets", "")),
        ("GlobalNetworkPolicy", calico("globalnetworkpolicies", "")),
        ("HostEndpoint", calico("hostendpoints", "")),
        ("FelixConfiguration", calico("felixconfigurations", "")),
        (
            "KubeControllersConfiguration",
            calico("kubecontrollersconfigurations", ""),
        ),
        ("Service", "/api/v1/services".to_string()),
        ("Node", "/api/v1/nodes".to_string()),
        (
            "ConfigMap",
            "/api/v1/namespaces/hostguard/configmaps?labelSelector=hostguard.dev/inventory".to_string(),
        ),
    ];
    let mut all = Vec::new();
    for (kind, collection) in &collections {
        for mut object in server.rest().list(collection) {
            object["kind"] = json!(kind); // built-in kinds leave it out of their lists
            let metadata = object["metadata"].as_object_mut().expect("every object has metadata");
            for name in [
                "resourceVersion",
                "managedFields",
                "generation",
                "uid",
                "creationTimestamp",
            ] {
                metadata.remove(name);
            }
            all.push(object);
        }
    }
    all
}

fn done(ran: &Ran, code: i32) {
    assert_eq!(ran.code, code, "stdout:\n{}\nstderr:\n{}", ran.stdout, ran.stderr);
}

/// Plan, apply, plan, apply, destroy, destroy: what each form goes through. Returns what was there while applied.
fn round(server: &ControlPlane, args: &[&str]) -> Vec<Value> {
    let before = content(server);
    let run = |verb: &str, more: &[&str]| hostguard_on(server, Identity::Admin, &[&[verb], args, more].concat());
    done(&run("plan", &["--detailed-exitcode"]), 2);
    assert_eq!(content(server), before, "plan writes nothing");
    done(&run("apply", &["--yes"]), 0);
    let applied = content(server);

    let mark = server.audit().mark();
    let again = run("plan", &["--detailed-exitcode"]);
    done(&again, 0);
    assert!(again.stdout.contains("Nothing to do"), "{}", again.stdout);
    done(&run("apply", &["--yes"]), 0);
    let writes: Vec<_> = server
        .audit()
        .since(mark)
        .into_iter()
        .filter(|e| e.writes() && e.user == "admin")
        .collect();
    let writes: Vec<_> = writes.iter().filter(|e| e.agent.starts_with("hostguard/")).collect();
    assert!(writes.is_empty(), "nothing to do means no write: {writes:#?}");

    let destroy = |more: &[&str]| {
        hostguard_on(
            server,
            Identity::Admin,
            &[&["destroy", args[0], "--yes"], more].concat(),
        )
    };
    done(&destroy(&[]), 0);
    eventually("the controller has caught up", Duration::from_secs(10), || {
        let (now, before) = (content(server), before.clone());
        if now == before {
            Ok(())
        } else {
            Err(difference(&before, &now))
        }
    });
    done(&destroy(&[]), 0);
    applied
}

fn difference(before: &[Value], now: &[Value]) -> String {
    let only = |a: &[Value], b: &[Value]| {
        a.iter()
            .filter(|o| !b.contains(o))
            .map(Value::to_string)
            .collect::<Vec<_>>()
    };
    format!(
        "only before: {:#?}\nonly now: {:#?}",
        only(before, now),
        only(now, before)
    )
}

fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = objects
        .iter()
        .find(|o| o["kind"] == kind && o["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("there is no {kind}/{name}"))
}

fn labels(objects: &[Value], kind: &str) -> Vec<String> {
    let labelled = objects
        .iter()
        .filter(|o| o["kind"] == kind && o["metadata"]["labels"]["host-end-point"] == "test");
    labelled
        .map(|o| o["metadata"]["name"].as_str().expect("a name").to_string())
        .collect()
}

#[test]
fn the_eks_form_goes_round() {
    let Some(server) = live!() else { return };
    shop(&server);
    let _controller = controller(&server);
    let applied = round(&server, &["plans/eks-nodeport.yaml", "--set", "trusted=203.0.113.7/32"]);
    let config = find(&applied, "KubeControllersConfiguration", "default");
    assert_eq!(
        config["spec"]["controllers"]["node"]["hostEndpoint"]["autoCreate"],
        "Enabled"
    );
    assert_eq!(
        config["status"]["runningConfig"]["controllers"]["node"]["hostEndpoint"]["autoCreate"],
        "Enabled"
    );
    assert_eq!(
        labels(&applied, "Node"),
        ["ip-10-0-1-5"],
        "the first node with an ExternalIP, and no other"
    );
    assert_eq!(
        labels(&applied, "HostEndpoint"),
        ["ip-10-0-1-5-auto-hep"],
        "the label has arrived"
    );
    let service = find(&applied, "Service", "frontend-nodeport");
    assert_eq!(
        service["spec"]["selector"],
        json!({"app": "frontend"}),
        "taken from the deployment"
    );
    assert_eq!(service["spec"]["ports"][0]["nodePort"], 30080);
    assert_eq!(service["spec"]["ports"][0]["targetPort"], 8080);
    assert_eq!(find(&applied, "Tier", "security")["spec"]["order"], 500);
    let policy = find(&applied, "GlobalNetworkPolicy", "security.frontend-nodeport-allow");
    assert_eq!(policy["spec"]["preDNAT"], true);
}

#[test]
fn the_aks_form_goes_round_and_leaves_node_2_alone() {
    let Some(server) = live!() else { return };
    shop(&server);
    let _controller = controller(&server);
    let before = content(&server);
    let applied = round(&server, &["plans/aks-nodeport-from-vm.yaml", "--set", "vm=10.9.0.4"]);
    assert_eq!(labels(&applied, "Node"), ["ip-10-0-1-5"]);
    for name in ["ip-10-0-1-6", "ip-10-0-2-7"] {
        assert_eq!(find(&applied, "Node", name), find(&before, "Node", name));
    }
}

#[test]
fn the_network_set_form_goes_round() {
    let Some(server) = live!() else { return };
    shop(&server);
    let _controller = controller(&server);
    server
        .rest()
        .create(&world::node_port("hipstershop", "frontend-nodeport", 30080, 80, 8080));
    world::pod(&server, "hipstershop", "frontend-nodeport", "ip-10-0-1-5", "10.0.1.72");
    let applied = round(
        &server,
        &["plans/network-set.yaml", "--set", "partnerNets=203.0.113.0/24"],
    );
    let set = find(&applied, "GlobalNetworkSet", "partners");
    assert_eq!(set["spec"]["nets"], json!(["203.0.113.0/24", "2001:db8:77::/48"]));
    assert_eq!(set["metadata"]["labels"]["role"], "partner");
}

#[test]
fn the_forms_without_a_cloud_go_round() {
    let Some(server) = live!() else { return };
    for plan in ["plans/kubeadm.yaml", "plans/rke2.yaml", "plans/generic.yaml"] {
        server.reset();
        shop(&server);
        for (name, address) in [("worker-1", "10.0.3.1"), ("worker-2", "10.0.3.2")] {
            Node::named(name).internal_ip(address).create(&server);
        }
        world::namespace(&server, "registry");
        let container = json!({"name": "registry", "image": "registry"});
        let mut registry = world::workload("StatefulSet", "registry", "registry", container);
        registry["spec"]["serviceName"] = json!("registry");
        server.rest().create(&registry);
        let _controller = controller(&server);
        round(&server, &[plan]);
    }
}

#[test]
fn flow_logs_are_switched_on_where_the_edition_has_them() {
    let Some(server) = live!(Crds::Enterprise) else { return };
    shop(&server);
    let _controller = controller(&server);
    let applied = round(&server, &["plans/eks-nodeport.yaml", "--set", "trusted=203.0.113.7/32"]);
    assert_eq!(
        find(&applied, "FelixConfiguration", "default")["spec"]["flowLogsEnableHostEndpoint"],
        true
    );
}

#[test]
fn an_environment_override_is_said_before_anything_is_written() {
    let Some(server) = live!() else { return };
    shop(&server);
    let environment = Environment {
        auto_host_endpoints: Some(false),
    };
    let _controller = HostEndpointController::start(&server, environment);
    eventually("the override is reported", Duration::from_secs(10), || {
        let ran = hostguard_on(
            &server,
            Identity::Admin,
            &["plan", "plans/eks-nodeport.yaml", "--set", "trusted=203.0.113.7/32"],
        );
        if ran.code == 1 && ran.stderr.contains("HG0511") {
            Ok(())
        } else {
            Err(ran.stderr + &ran.stdout)
        }
    });
}

#[test]
fn where_only_the_storage_group_is_served_it_stops() {
    let Some(server) = live!(Crds::V1Only) else { return };
    let ran = hostguard_on(
        &server,
        Identity::Admin,
        &["plan", "plans/eks-nodeport.yaml", "--set", "trusted=203.0.113.7/32"],
    );
    done(&ran, 1);
    assert!(ran.stderr.contains("HG0680"), "{}", ran.stderr);
}

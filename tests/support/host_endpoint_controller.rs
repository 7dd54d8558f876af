//! A player of Calico's host endpoint controller; it is not Calico.
//!
//! No controller runs beside the test's API server, so this thread does what the real one was seen to do: it turns
//! the configuration and its own environment into `status.runningConfig`, and nodes into host endpoints. It looks
//! every 100 ms instead of watching, and refuses what it cannot play: interface patterns, and names over 253 characters.
//! What one host endpoint should be is in `automatic_host_endpoint.rs`.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use super::automatic_host_endpoint::{CREATED_BY, automatic, differs, wanted};
use super::control_plane::{ControlPlane, Identity};
use super::kinds::{CALICO, calico};
use super::rest::Rest;

const LOOKS_EVERY: Duration = Duration::from_millis(100);
const SYNCS_EVERYTHING_EVERY: Duration = Duration::from_secs(300);
/// Its writes carry this manager: the real one never sets a user agent.
const MANAGER: &str = "fieldManager=Go-http-client";

/// The environment of the controllers' pod, which wins over the API.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    pub auto_host_endpoints: Option<bool>,
}

/// Runs until it is dropped.
pub struct HostEndpointController {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl HostEndpointController {
    pub fn start(server: &ControlPlane, environment: Environment) -> HostEndpointController {
        let stop = Arc::new(AtomicBool::new(false));
        let (kubeconfig, told) = (server.kubeconfig(Identity::Admin), stop.clone());
        let thread = spawn(move || play(kubeconfig, environment, &told));
        HostEndpointController {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for HostEndpointController {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().expect("it runs until here").join();
        if ended.is_err() && !std::thread::panicking() {
            panic!("the player of the host endpoint controller died: its panic is above");
        }
    }
}

fn play(kubeconfig: PathBuf, environment: Environment, stop: &AtomicBool) {
    let rest = Rest::new(&kubeconfig);
    let mut player = Player {
        rest,
        environment,
        running: Value::Null,
        nodes: BTreeMap::new(),
        synced: None,
    };
    while !stop.load(Ordering::Relaxed) {
        player.look();
        sleep(LOOKS_EVERY);
    }
}

struct Player {
    rest: Rest,
    environment: Environment,
    /// The configuration in effect.
    running: Value,
    /// The part of each node that matters, as last acted on.
    nodes: BTreeMap<String, Value>,
    /// When everything was compared last; never since the configuration changed.
    synced: Option<Instant>,
}

impl Player {
    fn look(&mut self) {
        let default = calico("kubecontrollersconfigurations", "default");
        let answer = self.rest.get(&default);
        if answer.status == 404 {
            self.rest.post(
                &with_manager(&calico("kubecontrollersconfigurations", "")),
                &default_configuration(),
            );
            return; // whatever came of it is seen next time
        }
        let configuration = answer.ok();
        let running = self.effective(&configuration["spec"]);
        if self.running != running || configuration["status"]["runningConfig"].is_null() {
            if !self.report(&default, &configuration, &running) {
                return; // somebody changed it meanwhile
            }
            self.running = running;
            self.synced = None; // the real one restarts itself
        }
        let node_controller = &self.running["controllers"]["node"];
        if node_controller.is_null() || self.waits_for_migration() {
            return; // neither creation nor clean-up
        }
        let hosts = node_controller["hostEndpoint"].clone();
        if hosts["autoCreate"] == "Enabled" {
            self.reconcile(&hosts)
        } else {
            self.remove_all()
        }
    }

    /// The configuration with the environment over it, as far as the Kubernetes datastore has a use for it.
    fn effective(&self, spec: &Value) -> Value {
        let mut running = spec.clone();
        let controllers = running["controllers"]
            .as_object_mut()
            .expect("the schema requires controllers");
        for etcd_only in ["policy", "workloadEndpoint", "serviceAccount", "namespace"] {
            controllers.remove(etcd_only);
        }
        if let Some(node) = controllers.get_mut("node").filter(|n| n.is_object()) {
            node["syncLabels"] = "Disabled".into(); // labels come from the Node itself
            match self.environment.auto_host_endpoints {
                None => {}
                Some(true) => node["hostEndpoint"]["autoCreate"] = "Enabled".into(),
                Some(false) => node["hostEndpoint"] = Value::Null,
            }
        }
        running
    }

    fn report(&self, path: &str, configuration: &Value, running: &Value) -> bool {
        let mut status = json!({ "runningConfig": running });
        if let Some(on) = self.environment.auto_host_endpoints {
            let value = if on { "enabled" } else { "disabled" };
            status["environmentVars"] = json!({ "AUTO_HOST_ENDPOINTS": value });
        }
        let mut reported = configuration.clone();
        reported["status"] = status;
        let answer = self.rest.put(&with_manager(&format!("{path}/status")), &reported);
        if answer.status != 409 {
            answer.ok();
            return true;
        }
        false
    }

    /// The migrator of policy names holds everything up until the agent's DaemonSet is there.
    fn waits_for_migration(&self) -> bool {
        let migrates = self.running["controllers"]["migration"]["policyNameMigrator"] != "Disabled";
        migrates
            && self
                .rest
                .get("/apis/apps/v1/namespaces/calico-system/daemonsets/calico-node")
                .status
                == 404
    }

    fn reconcile(&mut self, hosts: &Value) {
        let everything = self.synced.is_none_or(|at| at.elapsed() > SYNCS_EVERYTHING_EVERY);
        let present = self.automatic_ones();
        let nodes: BTreeMap<String, Value> = self
            .rest
            .list("/api/v1/nodes")
            .iter()
            .map(|n| (text(&n["metadata"]["name"]), relevant(n)))
            .collect();
        let mut expected = BTreeSet::new();
        for (name, node) in &nodes {
            let changed = everything || self.nodes.get(name) != Some(node);
            for want in automatic(name, node, hosts) {
                let endpoint = text(&want["metadata"]["name"]);
                match present.get(&endpoint) {
                    None => self.create(&want),
                    Some(found) if changed && differs(found, &want) => self.update(found, &want),
                    Some(_) => {}
                }
                expected.insert(endpoint);
            }
        }
        // One that lost its node or its template goes; a stranger's that carries the label, with the next full sync.
        for (endpoint, found) in &present {
            let node = text(&found["spec"]["node"]);
            let node_event = self.nodes.get(&node) != nodes.get(&node);
            if !expected.contains(endpoint) && (everything || node_event) {
                self.delete(endpoint);
            }
        }
        self.nodes = nodes;
        if everything {
            self.synced = Some(Instant::now());
        }
    }

    fn remove_all(&mut self) {
        if self.synced.is_none_or(|at| at.elapsed() > SYNCS_EVERYTHING_EVERY) {
            for endpoint in self.automatic_ones().keys() {
                self.delete(endpoint);
            }
            self.nodes.clear();
            self.synced = Some(Instant::now());
        }
    }

    /// The host endpoints it holds for its own: the label is the only mark.
    fn automatic_ones(&self) -> BTreeMap<String, Value> {
        let (key, value) = CREATED_BY;
        let all = self.rest.list(&calico("hostendpoints", ""));
        let own = all.into_iter().filter(|h| h["metadata"]["labels"][key] == value);
        own.map(|h| (text(&h["metadata"]["name"]), h)).collect()
    }

    fn create(&self, want: &Value) {
        let answer = self.rest.post(&with_manager(&calico("hostendpoints", "")), want);
        settled(answer.status, &answer.to_string());
    }

    fn update(&self, found: &Value, want: &Value) {
        let name = text(&want["metadata"]["name"]);
        let answer = self
            .rest
            .put(&with_manager(&calico("hostendpoints", &name)), &wanted(found, want));
        settled(answer.status, &answer.to_string());
    }

    fn delete(&self, name: &str) {
        let answer = self.rest.delete(&calico("hostendpoints", name));
        settled(answer.status, &answer.to_string());
    }
}

/// A write that lost a race is repeated at the next look; any other refusal is a mistake of the player.
fn settled(status: u16, answer: &str) {
    assert!(
        status < 300 || status == 404 || status == 409,
        "the player was refused: {answer}"
    );
}

fn relevant(node: &Value) -> Value {
    json!({
        "labels": node["metadata"]["labels"],
        "annotations": node["metadata"]["annotations"],
        "addresses": node["status"]["addresses"],
    })
}

fn with_manager(path: &str) -> String {
    format!("{path}?{MANAGER}")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("").to_string()
}

/// What the real one makes when there is none.
fn default_configuration() -> Value {
    let node = json!({
        "reconcilerPeriod": "5m0s", "leakGracePeriod": "15m0s", "syncLabels": "Enabled",
        "hostEndpoint": { "autoCreate": "Disabled", "createDefaultHostEndpoint": "Enabled" },
    });
    json!({
        "apiVersion": CALICO, "kind": "KubeControllersConfiguration", "metadata": { "name": "default" },
        "spec": { "controllers": { "node": node }, "healthChecks": "Enabled", "logSeverityScreen": "Info" },
    })
}

//! Secrets that hostguard comes near to are in nothing that it ever wrote: answers, stories, change sets, snapshots,
//! records, runs, locks.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::connections::Ways;
use super::workshop::{controller, shop};
use crate::support::command::{finish, hostguard};
use crate::support::control_plane::{ControlPlane, Identity};
use crate::support::fault_proxy::FaultProxy;
use crate::support::kinds::calico;
use crate::support::live::live;
use crate::support::script::{Said, on};
use crate::support::tunnel::Tunnel;
use crate::support::world;

/// What is planted: each in another place, none of them a word that anything else has.
const CANARIES: [(&str, &str); 11] = [
    ("the token of the kubeconfig", "admin-token"),
    ("the password of a proxy", "canary-proxy-password"),
    ("the key of a cloud account", "canary-aws-secret-key"),
    ("the session of a cloud account", "canary-aws-session"),
    ("a Secret", "canary-in-a-secret"),
    ("another's ConfigMap in the record's namespace", "canary-in-a-configmap"),
    ("the environment of a workload", "canary-in-the-environment"),
    ("the environment of Calico's agent", "canary-of-the-agent"),
    ("what kubectl remembers of an object", "canary-last-applied"),
    ("an annotation of a node", "canary-annotation"),
    ("what a credential plugin prints", "canary-of-a-plugin"),
];

/// What is planted where it has to be found again: the value of a label before the plan changes it.
const REMEMBERED: &str = "remembered-value";

const SPEC: &str = "
hostEndpoints: { autoCreate: Enabled }
nodes:
  guarded: { names: [ip-10-0-1-5], labels: { host-end-point: guarded } }
services:
  frontend-nodeport:
    namespace: hipstershop
    expose: deployment/frontend
    ports: [{ port: 80, targetPort: 8080, nodePort: 30080 }]
tiers:
  security: { order: 500 }
policies:
  security.frontend-nodeport-allow:
    guard: { nodes: guarded, service: frontend-nodeport, allowOnly: [203.0.113.0/24], order: 100 }
";

fn plant(server: &ControlPlane) {
    let rest = server.rest();
    world::namespace(server, "hostguard");
    let last_applied =
        json!({"kubectl.kubernetes.io/last-applied-configuration": "{\"token\": \"canary-last-applied\"}"});
    let object = |kind: &str, namespace: &str, name: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}});
    for namespace in ["hostguard", "calico-system", "hipstershop"] {
        let mut secret = object("Secret", namespace, "credentials");
        secret["stringData"] = json!({"password": "canary-in-a-secret"});
        rest.create(&secret);
    }
    let mut theirs = object("ConfigMap", "hostguard", "theirs");
    theirs["data"] = json!({"password": "canary-in-a-configmap"});
    rest.create(&theirs);
    let environment = |value: &str| json!([{"name": "PASSWORD", "value": value}]);
    let set = |path: &str, kind: &str, name: &str, value: &str| {
        let path = format!("/apis/apps/v1/namespaces/{path}");
        let containers = json!([{"name": name, "image": name, "env": environment(value)}]);
        let template = json!({"spec": {"template": {"spec": {"containers": containers}}}});
        rest.merge(&format!("{path}/{kind}"), &template).ok();
        rest.merge(
            &format!("{path}/{kind}"),
            &json!({"metadata": {"annotations": last_applied}}),
        )
        .ok();
    };
    set(
        "hipstershop",
        "deployments/frontend",
        "server",
        "canary-in-the-environment",
    );
    set(
        "calico-system",
        "daemonsets/calico-node",
        "calico-node",
        "canary-of-the-agent",
    );
    let annotated = json!({"metadata": {"annotations": last_applied, "labels": {"host-end-point": REMEMBERED}}});
    rest.merge("/api/v1/nodes/ip-10-0-1-5", &annotated).ok();
    let mark = json!({"metadata": {"annotations": {"example.com/password": "canary-annotation"}}});
    rest.merge("/api/v1/nodes/ip-10-0-1-5", &mark).ok();
    for (plural, name) in [
        ("kubecontrollersconfigurations", "default"),
        ("felixconfigurations", "default"),
    ] {
        rest.merge(
            &calico(plural, name),
            &json!({"metadata": {"annotations": last_applied}}),
        )
        .ok();
    }
}

/// Everything that the tool says and leaves in files, run after run.
struct Collected {
    folder: PathBuf,
    said: String,
    runs: usize,
}

impl Collected {
    fn run(&mut self, kubeconfig: &Path, args: &[&str], variables: &[(&str, &str)], code: i32) {
        let mut command = hostguard(&self.folder);
        command
            .args(args)
            .env("KUBECONFIG", kubeconfig)
            .env("RUST_BACKTRACE", "1")
            .env("AWS_ACCESS_KEY_ID", "AKIACANARY")
            .env("AWS_SECRET_ACCESS_KEY", "canary-aws-secret-key")
            .env("AWS_SESSION_TOKEN", "canary-aws-session")
            .envs(variables.iter().copied());
        let ran = finish(command.output().expect("the binary under test starts"));
        assert_eq!(ran.code, code, "{args:?}: {}{}", ran.stdout, ran.stderr);
        self.said += &ran.stdout;
        self.said += &ran.stderr;
        self.runs += 1;
    }

    /// All files that are there now, those of the test apart.
    fn with_files(&self, own: &[&str]) -> String {
        let mut all = self.said.clone();
        for entry in fs::read_dir(&self.folder).expect("the folder") {
            let entry = entry.expect("an entry");
            if !own.iter().any(|name| entry.file_name() == *name) {
                all += &fs::read_to_string(entry.path()).expect("a text");
            }
        }
        all
    }
}

/// What hostguard keeps in the cluster, whoever wrote the rest: records and runs unpacked, as people read them, too.
fn kept(server: &ControlPlane) -> String {
    let mut all = String::new();
    let rest = server.rest();
    for collection in [
        "/api/v1/namespaces/hostguard/configmaps",
        "/apis/coordination.k8s.io/v1/namespaces/hostguard/leases",
        "/api/v1/namespaces/hipstershop/services",
    ] {
        for mut object in rest.list(collection) {
            if object["metadata"]["name"] == "theirs" {
                continue;
            }
            object["metadata"]["managedFields"] = Value::Null;
            all += &object.to_string();
        }
    }
    for plural in ["tiers", "globalnetworkpolicies", "globalnetworksets"] {
        let listed = rest.list(&calico(plural, ""));
        let ours = listed
            .iter()
            .filter(|object| object["metadata"]["labels"].to_string().contains("hostguard.dev"));
        all.extend(ours.map(Value::to_string));
    }
    all
}

#[test]
fn no_secret_is_in_anything_that_was_ever_written() {
    let Some(server) = live!() else { return };
    shop(&server);
    let _controller = controller(&server);
    plant(&server);
    let ways = Ways::to(&server);
    let tunnel = Tunnel::to(ways.port());
    let proxied = tunnel.url.replace("http://", "http://me:canary-proxy-password@");
    let token = ways.kubeconfig(
        "kubeconfig",
        &json!({"token": "admin-token"}),
        &json!({"proxy-url": proxied}),
    );
    let spec: String = SPEC.lines().map(|line| format!("  {line}\n")).collect();
    let head = "apiVersion: hostguard.dev/v1alpha1\nkind: HostProtection\nmetadata: { name: shop }\nspec:\n  cluster: { platform: generic }\n";
    ways.file("plan.yaml", &format!("{head}{spec}"));
    let mut all = Collected {
        folder: ways.folder.path().to_path_buf(),
        said: String::new(),
        runs: 0,
    };

    // Everything that works.
    all.run(&token, &["snapshot", "--out", "live.json"], &[], 0);
    for form in ["text", "json", "markdown", "sarif", "junit"] {
        all.run(&token, &["plan", "plan.yaml", "-o", form], &[], 0);
        all.run(
            &token,
            &["plan", "plan.yaml", "--live", "live.json", "-o", form],
            &[],
            0,
        );
    }
    all.run(&token, &["plan", "plan.yaml", "--out", "set.json"], &[], 0);
    for form in ["text", "json", "markdown", "sarif", "junit"] {
        all.run(&token, &["show", "set.json", "-o", form], &[], 0);
    }
    all.run(&token, &["exposure", "-o", "json"], &[], 0);
    all.run(
        &token,
        &[
            "why",
            "198.51.100.7",
            "node/ip-10-0-1-5:30080/tcp",
            "plan.yaml",
            "-o",
            "json",
        ],
        &[],
        0,
    );
    all.run(&token, &["apply", "set.json", "--yes", "--settle", "0"], &[], 0);
    let in_between = kept(&server);
    all.run(&token, &["history", "plan.yaml", "-o", "json"], &[], 0);
    all.run(
        &token,
        &["revert", "1", "plan.yaml", "--yes", "--settle", "0", "-o", "json"],
        &[],
        0,
    );
    all.run(
        &token,
        &["apply", "plan.yaml", "--yes", "--settle", "0", "-o", "json"],
        &[],
        0,
    );
    all.run(&token, &["destroy", "plan.yaml", "--yes", "--settle", "0"], &[], 0);
    all.run(&token, &["history", "plan.yaml"], &[], 0);

    // And what fails while it holds them.
    let plugin = |name: &str, script: &str| {
        let exec = json!({"apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never",
            "command": "sh", "args": ["-c", script], "env": [{"name": "TOKEN", "value": "canary-of-a-plugin"}]});
        ways.kubeconfig(name, &json!({"exec": exec}), &json!({}))
    };
    let failing = plugin("failing", "echo $TOKEN; echo $TOKEN >&2; exit 3");
    let odd = plugin("odd", "echo '{\"status\": {\"token\": 7, \"x\": \"'$TOKEN'\"}}'");
    let refused = plugin(
        "refused",
        "printf '{\"apiVersion\": \"client.authentication.k8s.io/v1\", \"kind\": \"ExecCredential\", \"status\": {\"token\": \"%s\"}}' $TOKEN",
    );
    for kubeconfig in [&failing, &odd, &refused] {
        all.run(kubeconfig, &["plan", "plan.yaml"], &[], 1);
        all.run(kubeconfig, &["plan", "plan.yaml", "-o", "json"], &[], 1);
    }
    let gone = ways.kubeconfig(
        "gone",
        &json!({"token": "admin-token"}),
        &json!({"proxy-url": "http://me:canary-proxy-password@127.0.0.1:1"}),
    );
    all.run(&gone, &["plan", "plan.yaml", "--request-timeout", "3"], &[], 1);
    let direct = json!({"server": format!("https://cluster.invalid:{}", ways.port()), "tls-server-name": "127.0.0.1"});
    let direct = ways.kubeconfig("direct", &json!({"token": "admin-token"}), &direct);
    let variable = [("HTTPS_PROXY", "http://me:canary-proxy-password@127.0.0.1:1")];
    all.run(&direct, &["plan", "plan.yaml", "--request-timeout", "3"], &variable, 1);
    let proxy = FaultProxy::before(&server);
    let through = proxy.kubeconfig(Identity::AdminToken);
    let broken = Said::status(500, "InternalError", "it fails");
    proxy.script([on("POST", "*tiers*").then(broken.into())]);
    all.run(&through, &["apply", "plan.yaml", "--yes", "--settle", "0"], &[], 5);
    let end = kept(&server);

    let own = ["plan.yaml", "kubeconfig", "failing", "odd", "refused", "gone", "direct"];
    let written = all.with_files(&own) + &in_between + &end;
    assert!(
        all.runs >= 30 && written.len() > 100_000,
        "{} runs, {} bytes",
        all.runs,
        written.len()
    );
    assert!(written.contains(REMEMBERED), "what is looked for is found where it is");
    assert!(
        in_between.contains(REMEMBERED) && in_between.contains("hostguard.dev/holder"),
        "{in_between}"
    );
    for (what, canary) in CANARIES {
        if let Some(at) = written.find(canary) {
            let from = written[..at].char_indices().rev().nth(200).map_or(0, |(at, _)| at);
            panic!("{what} was written: {}", &written[from..at + canary.len()]);
        }
    }
}

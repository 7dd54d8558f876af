//! The ways to a cluster that people have: kubeconfigs of every form, proxies, a pod's own account; and how much of
//! the server is used at a time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use serde_json::{Value, json};

use super::workshop::shop;
use crate::support::cluster::plan_file;
use crate::support::command::{Ran, finish, hostguard};
use crate::support::control_plane::{ControlPlane, Identity};
use crate::support::fault_proxy::FaultProxy;
use crate::support::faulty::run;
use crate::support::live::{live, not_run};
use crate::support::script::{Fault, on};
use crate::support::tunnel::Tunnel;

/// The files of a test, and the server they lead to.
pub struct Ways {
    pub folder: tempfile::TempDir,
    url: String,
    authority: String,
}

fn encoded(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}

impl Ways {
    pub fn to(server: &ControlPlane) -> Ways {
        let config: kube::config::Kubeconfig =
            kube::config::Kubeconfig::read_from(server.kubeconfig(Identity::Admin)).expect("a kubeconfig");
        let cluster = config.clusters[0].cluster.clone().expect("a cluster");
        let authority = cluster.certificate_authority.expect("a file");
        Ways {
            folder: tempfile::tempdir().expect("a temporary folder"),
            url: cluster.server.expect("a server"),
            authority: fs::read_to_string(authority).expect("the server's authority"),
        }
    }

    pub fn port(&self) -> u16 {
        self.url.rsplit_once(':').expect("a port").1.parse().expect("a port")
    }

    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("a temporary folder can be written");
        path
    }

    /// A kubeconfig of one context, with more in its cluster section.
    pub fn kubeconfig(&self, name: &str, user: &Value, more: &Value) -> PathBuf {
        let mut cluster = json!({"server": self.url, "certificate-authority-data": encoded(&self.authority)});
        for (key, value) in more.as_object().into_iter().flatten() {
            cluster[key] = value.clone();
        }
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "real", "user": "me"}}],
            "clusters": [{"name": "real", "cluster": cluster}], "users": [{"name": "me", "user": user}],
        });
        self.file(name, &text.to_string())
    }

    /// A snapshot to standard output: as good as any to see whether the way leads there.
    fn go(&self, args: &[&str], variables: &[(&str, &str)]) -> Ran {
        let mut command = hostguard(self.folder.path());
        command.arg("snapshot").args(args).envs(variables.iter().copied());
        finish(command.output().expect("the binary under test starts"))
    }

    #[track_caller]
    fn arrives(&self, args: &[&str], variables: &[(&str, &str)]) {
        let ran = self.go(args, variables);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(
            ran.stdout.contains("ip-10-0-1-5") && !ran.stderr.contains("could not"),
            "{}",
            ran.stderr
        );
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

fn token() -> Value {
    json!({"token": "admin-token"})
}

#[test]
fn certificates_tokens_files_and_plugins_are_credentials() {
    let Some(server) = live!() else { return };
    shop(&server);
    let ways = Ways::to(&server);
    let admin = server.kubeconfig(Identity::Admin);
    ways.arrives(&["--kubeconfig", text(&admin)], &[]);
    let config = kube::config::Kubeconfig::read_from(&admin).expect("a kubeconfig");
    let files = config.auth_infos[0].auth_info.clone().expect("a user");
    let inline = |file: Option<String>| encoded(&fs::read_to_string(file.expect("a file")).expect("a key"));
    let (certificate, key) = (inline(files.client_certificate), inline(files.client_key));
    let token_file = ways.file("token", "admin-token\n");
    let credential = |status: Value| {
        let printed =
            json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status});
        json!({"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sh", "interactiveMode": "Never",
            "args": ["-c", format!("printf %s '{printed}'")],
        }})
    };
    let decoded = |text: &str| {
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
        String::from_utf8(bytes).expect("PEM")
    };
    let users = [
        ("token", token()),
        ("token-file", json!({"tokenFile": text(&token_file)})),
        (
            "inline",
            json!({"client-certificate-data": certificate, "client-key-data": key}),
        ),
        ("plugin", credential(token())),
        (
            "plugin-certificate",
            credential(json!({"clientCertificateData": decoded(&certificate), "clientKeyData": decoded(&key)})),
        ),
    ];
    for (name, user) in users {
        let file = ways.kubeconfig(&format!("{name}.yaml"), &user, &Value::Null);
        ways.arrives(&["--kubeconfig", text(&file)], &[]);
    }
}

#[test]
fn the_context_is_chosen_and_several_files_are_one() {
    let Some(server) = live!() else { return };
    shop(&server);
    let ways = Ways::to(&server);
    let cluster = json!({"server": ways.url, "certificate-authority-data": encoded(&ways.authority)});
    let two = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "gone",
        "contexts": [
            {"name": "gone", "context": {"cluster": "gone", "user": "me"}},
            {"name": "real", "context": {"cluster": "real", "user": "me"}},
        ],
        "clusters": [{"name": "gone", "cluster": {"server": "https://127.0.0.1:1"}}],
    });
    let one = ways.file("contexts", &two.to_string());
    let clusters = json!({"apiVersion": "v1", "kind": "Config", "clusters": [{"name": "real", "cluster": cluster}]});
    let other = ways.file("clusters", &clusters.to_string());
    let users = json!({"apiVersion": "v1", "kind": "Config", "users": [{"name": "me", "user": token()}]});
    let third = ways.file("users", &users.to_string());
    let all = [text(&one), text(&other), "/nonexistent", text(&third)].join(":");
    ways.arrives(&["--context", "real"], &[("KUBECONFIG", &all)]);
    let ran = ways.go(&[], &[("KUBECONFIG", &all)]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr
            .contains("error[HG0603] the API server https://127.0.0.1:1 cannot be reached"),
        "{}",
        ran.stderr
    );
    let ran = ways.go(&["--context", "rael"], &[("KUBECONFIG", &all)]);
    assert!(
        ran.stderr.contains("HG0601") && ran.stderr.contains("--context: gone, real"),
        "{}",
        ran.stderr
    );
    let home = ways.folder.path().join(".kube");
    fs::create_dir(&home).expect("a temporary folder can be written");
    fs::copy(server.kubeconfig(Identity::AdminToken), home.join("config")).expect("a file");
    ways.arrives(&[], &[]);
}

#[test]
fn proxies_are_those_of_the_kubeconfig_or_of_the_environment() {
    let Some(server) = live!() else { return };
    shop(&server);
    let ways = Ways::to(&server);
    let tunnel = Tunnel::to(ways.port());
    let direct = ways.kubeconfig("direct", &token(), &json!({"proxy-url": tunnel.url}));
    ways.arrives(&["--kubeconfig", text(&direct)], &[]);
    assert!(!tunnel.take().is_empty(), "proxy-url holds for loopback too");

    // A name that only the proxy can find.
    let named = json!({"server": format!("https://cluster.invalid:{}", ways.port()), "tls-server-name": "127.0.0.1"});
    let named = ways.kubeconfig("named", &token(), &named);
    for variable in ["HTTPS_PROXY", "https_proxy"] {
        ways.arrives(&["--kubeconfig", text(&named)], &[(variable, &tunnel.url)]);
        assert_eq!(tunnel.take()[0], format!("cluster.invalid:{}", ways.port()));
    }
    let ran = ways.go(
        &["--kubeconfig", text(&named), "--request-timeout", "3"],
        &[("HTTPS_PROXY", &tunnel.url), ("NO_PROXY", ".invalid")],
    );
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.contains("HG0603") && tunnel.take().is_empty(),
        "{}",
        ran.stderr
    );
    let secret = tunnel
        .url
        .replace("http://", "http://me:s3cret@")
        .replace(|c: char| c.is_ascii_digit(), "1");
    let ran = ways.go(
        &["--kubeconfig", text(&named), "--request-timeout", "3"],
        &[("HTTPS_PROXY", &secret)],
    );
    assert!(ran.code == 1 && !ran.stderr.contains("s3cret"), "{}", ran.stderr);
}

#[test]
fn a_socks_proxy_leads_to_the_server() {
    let Some(server) = live!() else { return };
    shop(&server);
    let ways = Ways::to(&server);
    let tunnel = Tunnel::socks(ways.port());
    let direct = ways.kubeconfig("direct", &token(), &json!({"proxy-url": tunnel.url}));
    ways.arrives(&["--kubeconfig", text(&direct)], &[]);
    assert_eq!(tunnel.take()[0], format!("127.0.0.1:{}", ways.port()));

    // A name that only the proxy can find.
    let named = json!({"server": format!("https://cluster.invalid:{}", ways.port()), "tls-server-name": "127.0.0.1"});
    let named = ways.kubeconfig("named", &token(), &named);
    ways.arrives(&["--kubeconfig", text(&named)], &[("HTTPS_PROXY", &tunnel.url)]);
    assert_eq!(tunnel.take()[0], format!("cluster.invalid:{}", ways.port()));

    let gone = ways.kubeconfig("gone", &token(), &json!({"proxy-url": "socks5://127.0.0.1:1"}));
    let ran = ways.go(&["--kubeconfig", text(&gone), "--request-timeout", "3"], &[]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.contains("HG0603") && ran.stderr.contains("socks5://127.0.0.1:1"),
        "{}",
        ran.stderr
    );
}

/// In a pod there is no kubeconfig, but two variables and three files. The files' place is fixed, so a mount of our
/// own covers it for one process.
#[test]
fn a_pod_uses_its_own_account() {
    let Some(server) = live!() else { return };
    shop(&server);
    let ways = Ways::to(&server);
    let port = ways.port().to_string();
    let variables = [
        ("KUBERNETES_SERVICE_HOST", "127.0.0.1"),
        ("KUBERNETES_SERVICE_PORT", port.as_str()),
    ];
    let ran = ways.go(&[], &variables);
    assert!(
        ran.code == 1 && ran.stderr.contains("the pod's service account"),
        "{}",
        ran.stderr
    );

    let authority = ways.file("ca.crt", &ways.authority);
    let script = format!(
        "mount -t tmpfs none /run && mkdir -p /run/secrets/kubernetes.io/serviceaccount && \
         cd /run/secrets/kubernetes.io/serviceaccount && cp '{}' ca.crt && printf admin-token > token && \
         printf default > namespace || exit 99; exec '{}' snapshot",
        text(&authority),
        env!("CARGO_BIN_EXE_hostguard")
    );
    let inside = Command::new("unshare")
        .args(["-Urm", "sh", "-c", &script])
        .envs(variables)
        .output();
    match inside.map(finish) {
        Ok(ran) if ran.code == 0 => {
            assert!(
                ran.stdout.contains("ip-10-0-1-5") && ran.stdout.contains("in-cluster"),
                "{}",
                ran.stdout
            );
        }
        Ok(ran) if ran.stderr.contains("HG0") => panic!("{}", ran.stderr),
        _ => not_run(
            "connections::a_pod_uses_its_own_account",
            "no mount of its own: unshare -Urm",
        ),
    }
}

#[test]
fn eight_requests_at_a_time_and_none_before_they_are_needed() {
    let Some(server) = live!() else { return };
    shop(&server);
    let proxy = FaultProxy::before(&server);
    proxy.delay(Duration::from_millis(50));
    let kubeconfig = proxy.kubeconfig(Identity::AdminToken);
    let came = run(&proxy, &kubeconfig, &["snapshot"]);
    assert_eq!(came.ran.code, 0, "{}", came.ran.stderr);
    assert_eq!(
        (proxy.most_in_flight(), came.seen.len()),
        (
            8,
            hostguard::resource::Kind::ALL
                .iter()
                .filter(|kind| !kind.cloud() && !matches!(kind.name(), "Run" | "Lease"))
                .count()
                + 2
        ),
        "{:#?}",
        came.seen
    );
    assert!(proxy.connections() <= 8, "{}", proxy.connections());

    let before = proxy.connections();
    let wrong = plan_file("tiers: { security: { odrer: 500 } }");
    let right = plan_file("tiers: { security: { order: 500 } }");
    for (args, code) in [
        (vec!["plan", wrong.path()], 1),
        (vec!["check", right.path()], 0),
        (vec!["explain", "HG0104"], 0),
        (vec!["--version"], 0),
    ] {
        let came = run(&proxy, &kubeconfig, &args);
        assert_eq!(
            (came.ran.code, proxy.connections()),
            (code, before),
            "{args:?}: {}",
            came.ran.stderr
        );
    }
}

#[test]
fn what_the_server_warns_of_is_said_once() {
    let Some(server) = live!() else { return };
    shop(&server);
    let proxy = FaultProxy::before(&server);
    proxy.script([on("GET", "*").then(Fault::Header("warning", "299 - \"tiers of this kind are \\\"old\\\"\""))]);
    let plan = plan_file("tiers: { security: { order: 500 } }");
    let came = run(
        &proxy,
        &proxy.kubeconfig(Identity::AdminToken),
        &["apply", plan.path(), "--yes"],
    );
    assert_eq!(came.ran.code, 0, "{}", came.ran.stderr);
    let said = "the server warns: tiers of this kind are \"old\"";
    assert_eq!(came.ran.stderr.matches(said).count(), 1, "{}", came.ran.stderr);
}

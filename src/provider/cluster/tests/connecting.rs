//! Kubeconfigs, credentials, and servers of which nothing can be said.

use std::time::{Duration, Instant};

use serde_json::json;

use super::scope;
use crate::error::{Error, codes};
use crate::provider::Provider;
use crate::provider::cluster::call::Limits;
use crate::provider::cluster::scripted::{Reply, Scripted, kubeconfig, list, native, quick};
use crate::provider::cluster::{Cluster, Connect};
use crate::resource::Kind;

fn said(error: &Error) -> String {
    format!("{error:?}")
}

/// A user section with a shell command as its plugin.
fn plugin(script: &str) -> String {
    let exec = json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "/bin/sh",
        "args": ["-c", script],
        "interactiveMode": "Never",
    });
    json!({"exec": exec}).to_string()
}

#[tokio::test]
async fn a_server_of_which_nothing_can_be_said_is_an_error_with_its_code() {
    let cases = [
        (
            Reply::status as fn(u16, &str, &str) -> Reply,
            401,
            "Unauthorized",
            codes::UNAUTHORIZED,
        ),
        (Reply::status, 403, "Forbidden", codes::DISCOVERY),
        (
            |_, _, _| Reply::text(200, "text/html", "<title>Sign in</title>"),
            0,
            "",
            codes::NOT_API_SERVER,
        ),
        (|_, _, _| Reply::Hang, 0, "", codes::UNANSWERED),
        (|_, _, _| Reply::Close, 0, "", codes::UNREACHABLE),
    ];
    for (reply, code, words, expected) in cases {
        let server = Scripted::start(move |_, _| reply(code, words, words));
        let limits = Limits {
            call: Duration::from_millis(300),
            ..quick()
        };
        let cluster = server.connect("{}", limits).await.expect("a client");
        let error = cluster
            .read(&scope(&[Kind::Tier, Kind::Node]))
            .await
            .expect_err("an error");
        assert_eq!(error.code, expected, "{error:?}");
    }
    let server = Scripted::nobody();
    let start = Instant::now();
    let error = server
        .cluster()
        .await
        .read(&scope(&[Kind::Tier]))
        .await
        .expect_err("an error");
    assert_eq!(error.code, codes::UNREACHABLE);
    assert!(
        error.message.contains(&server.url) && start.elapsed() < Duration::from_secs(1),
        "{error:?}"
    );
}

#[tokio::test]
async fn what_a_credential_plugin_prints_is_never_repeated() {
    let server = Scripted::start(|_, _| Reply::Close);
    let limits = Limits {
        call: Duration::from_millis(300),
        ..quick()
    };
    let cases = [
        ("echo s3cret; echo s3cret >&2; exit 3", "exit status 3"),
        ("echo s3cret", "no ExecCredential"),
        ("echo '{\"kind\":\"ExecCredential\",\"s3cret\":1}'", "no ExecCredential"),
        ("sleep 5; echo s3cret", "did not end within 0.3 s"),
    ];
    for (script, words) in cases {
        let start = Instant::now();
        let error = server.connect(&plugin(script), limits).await.err().expect("an error");
        assert_eq!(error.code, codes::CREDENTIALS);
        assert!(
            said(&error).contains(words) && !said(&error).contains("s3cret"),
            "{error:?}"
        );
        assert!(start.elapsed() < Duration::from_secs(2));
    }
    let error = server
        .connect(r#"{"exec": {"command": "/nowhere/plugin"}}"#, limits)
        .await
        .err()
        .expect("an error");
    assert!(error.message.contains("cannot be run"), "{error:?}");
    assert!(server.lines().is_empty(), "nothing was sent");
}

#[tokio::test]
async fn a_plugin_that_fails_at_its_second_call_keeps_its_secret_too() {
    let server = Scripted::start(|asked, _| match asked.header("authorization") {
        Some("Bearer s3cret") => native(),
        other => panic!("{other:?}"),
    });
    let dir = tempfile::tempdir().expect("a directory");
    let mark = dir.path().join("mark");
    let answer =
        r#"{"kind":"ExecCredential","status":{"token":"s3cret","expirationTimestamp":"2020-01-01T00:00:00Z"}}"#;
    let script = format!(
        "if [ -e {0} ]; then echo s3cret; exit 4; fi; touch {0}; echo '{answer}'",
        mark.display()
    );
    let cluster = server.connect(&plugin(&script), quick()).await.expect("a client");
    let error = cluster.read(&scope(&[Kind::Tier])).await.expect_err("an error");
    assert_eq!(error.code, codes::CREDENTIALS);
    assert!(
        said(&error).contains("exit status 4") && !said(&error).contains("s3cret"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_kubeconfig_that_names_nothing_usable_says_what_to_choose() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("config");
    let connect = |text: &str, context: Option<&str>| {
        std::fs::write(&file, text).expect("a file");
        Connect {
            kubeconfig: Some(file.clone()),
            context: context.map(str::to_string),
            ..Connect::default()
        }
    };
    let good = kubeconfig("http://me:s3cret@127.0.0.1:1/k8s/clusters/c-1", "{}");
    let error = |connect: Connect| async { Cluster::connect(connect).await.err().expect("an error") };
    let wrong = error(connect(&good, Some("there"))).await;
    assert!(wrong.message.ends_with("there is no context `there`"), "{wrong:?}");
    assert_eq!(wrong.fix.as_deref(), Some("choose one with --context: here"));
    let unset = error(connect(&good.replace("current-context: here", ""), None)).await;
    assert!(unset.message.ends_with("no current context is set"), "{unset:?}");
    let broken = error(connect("users: [{name: me, user: {token: s3cret}\n", None)).await;
    assert!(
        broken.message.contains("not a kubeconfig") && !said(&broken).contains("s3cret"),
        "{broken:?}"
    );
    let typed = error(connect("users: [{name: me, user: s3cret}]\n", None)).await;
    assert!(
        typed.message.contains("line 1") && !said(&typed).contains("s3cret"),
        "{typed:?}"
    );
    let missing = error(Connect {
        kubeconfig: Some("/nowhere".into()),
        ..Connect::default()
    })
    .await;
    assert_eq!(missing.message, "kubeconfig /nowhere cannot be read");
    let cluster = Cluster::connect(connect(&good, None)).await.expect("a client");
    assert_eq!(
        (cluster.server(), cluster.name()),
        ("http://127.0.0.1:1/k8s/clusters/c-1", "shop-eu")
    );
}

#[tokio::test]
async fn a_token_and_the_name_of_the_program_are_sent_with_every_request() {
    let server = Scripted::start(|asked, _| {
        assert_eq!(asked.header("authorization"), Some("Bearer s3cret"));
        assert!(
            asked
                .header("user-agent")
                .is_some_and(|agent| agent.starts_with("hostguard/"))
        );
        if asked.path == "/apis" { native() } else { list(&[]) }
    });
    let cluster = server
        .connect(r#"{"token": "s3cret"}"#, quick())
        .await
        .expect("a client");
    cluster.read(&scope(&[Kind::Tier])).await.expect("a state");
    assert_eq!(server.lines().len(), 2);
}

#[tokio::test]
async fn a_plugin_runs_once_and_its_token_is_sent() {
    let server = Scripted::start(|asked, _| {
        assert_eq!(asked.header("authorization"), Some("Bearer s3cret"));
        if asked.path == "/apis" { native() } else { list(&[]) }
    });
    let dir = tempfile::tempdir().expect("a directory");
    let runs = dir.path().join("runs");
    for expiry in ["", r#","expirationTimestamp":"2999-01-01T00:00:00Z""#] {
        let answer = format!(r#"{{"kind":"ExecCredential","status":{{"token":"s3cret"{expiry}}}}}"#);
        let script = format!("echo run >> {}; echo '{answer}'", runs.display());
        let cluster = server.connect(&plugin(&script), quick()).await.expect("a client");
        cluster.read(&scope(&[Kind::Tier])).await.expect("a state");
    }
    assert_eq!(std::fs::read_to_string(&runs).expect("runs"), "run\nrun\n");
}

#[tokio::test]
async fn a_token_file_may_end_with_a_line_break() {
    let server = Scripted::start(|asked, _| {
        assert_eq!(asked.header("authorization"), Some("Bearer s3cret"));
        if asked.path == "/apis" { native() } else { list(&[]) }
    });
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("token");
    std::fs::write(&file, "s3cret\n").expect("a file");
    let user = json!({"tokenFile": file}).to_string();
    let cluster = server.connect(&user, quick()).await.expect("a client");
    cluster.read(&scope(&[Kind::Tier])).await.expect("a state");
}

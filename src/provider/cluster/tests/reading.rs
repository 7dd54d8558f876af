//! Lists, pages, deadlines, discovery.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::scope;
use crate::provider::Provider;
use crate::provider::cluster::call::Limits;
use crate::provider::cluster::scripted::{Reply, Scripted, list, native, quick};
use crate::resource::Kind;
use crate::state::{Reason, Serving, State};

fn named(name: &str) -> Value {
    json!({"metadata": {"name": name, "resourceVersion": "1", "uid": format!("u-{name}")}})
}

fn reason(state: &State, kind: Kind) -> Option<Reason> {
    state
        .coverage()
        .get(&kind)
        .expect("asked for")
        .as_ref()
        .map(|why| why.reason)
}

/// A server with native Calico that answers LISTs by `lists`.
fn lists(lists: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Scripted {
    Scripted::start(move |asked, before| {
        if asked.path == "/apis" {
            native()
        } else {
            lists(&asked.path, before)
        }
    })
}

async fn read(server: &Scripted, kinds: &[Kind]) -> State {
    server.cluster().await.read(&scope(kinds)).await.expect("a state")
}

#[tokio::test]
async fn a_kind_is_listed_in_pages_and_items_get_their_kind() {
    let server = lists(|path, _| match path {
        "/apis/projectcalico.org/v3/tiers?limit=500" => {
            Reply::json(200, &json!({"metadata": {"continue": "a+b/c="}, "items": [named("a")]}))
        }
        "/apis/projectcalico.org/v3/tiers?limit=500&continue=a%2Bb%2Fc%3D" => list(&[named("b")]),
        other => panic!("{other}"),
    });
    let state = read(&server, &[Kind::Tier]).await;
    let tiers: Vec<Cow<'_, Value>> = state
        .list(Kind::Tier)
        .expect("listed")
        .map(|(_, object)| object)
        .collect();
    assert_eq!(tiers.len(), 2);
    assert_eq!(
        (&tiers[0]["apiVersion"], &tiers[0]["kind"]),
        (&json!("projectcalico.org/v3"), &json!("Tier"))
    );
    assert_eq!(server.lines().len(), 3, "groups and two pages");
    assert_eq!(
        (state.facts.serving, state.facts.name.as_str()),
        (Serving::Native, "shop-eu")
    );
}

#[tokio::test]
async fn a_page_token_that_expired_starts_the_list_once_more() {
    let page = |rest: &str, name| Reply::json(200, &json!({"metadata": {"continue": rest}, "items": [named(name)]}));
    let server = lists(move |path, before| match (path.split_once("&continue="), before) {
        (None, 0) => page("one", "a"),
        (None, _) => page("two", "a2"),
        (Some((_, "one")), _) => Reply::status(410, "Expired", "the provided continue parameter is too old"),
        (Some(_), _) => list(&[named("b2")]),
    });
    let state = read(&server, &[Kind::Tier]).await;
    let names: Vec<&str> = state
        .list(Kind::Tier)
        .expect("listed")
        .map(|(key, _)| key.name.as_str())
        .collect();
    assert_eq!(names, ["a2", "b2"], "nothing of the first list is left");

    let server = lists(move |path, before| match path.contains("continue") {
        true => Reply::status(410, "Expired", "too old"),
        false => page(if before == 0 { "one" } else { "two" }, "a"),
    });
    let state = read(&server, &[Kind::Tier]).await;
    assert_eq!(reason(&state, Kind::Tier), Some(Reason::Failed), "once, not for ever");
    assert_eq!(server.lines().len(), 5);
}

#[tokio::test]
async fn only_inventories_are_read_of_all_config_maps() {
    let server = lists(|path, _| match path {
        "/api/v1/namespaces/hostguard/configmaps?limit=500&labelSelector=hostguard.dev%2Finventory" => list(&[]),
        other => panic!("{other}"),
    });
    assert_eq!(reason(&read(&server, &[Kind::ConfigMap]).await, Kind::ConfigMap), None);
}

#[tokio::test]
async fn throttling_is_waited_out_as_long_as_the_server_asks() {
    let server = lists(|_, before| match before {
        0 => Reply::status(429, "TooManyRequests", "storage is (re)initializing").with("retry-after", "1"),
        _ => list(&[]),
    });
    let start = Instant::now();
    assert_eq!(reason(&read(&server, &[Kind::Tier]).await, Kind::Tier), None);
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(server.lines().len(), 3);
}

#[tokio::test]
async fn a_wait_longer_than_the_deadline_is_not_begun() {
    let server = lists(|_, _| Reply::text(429, "text/html", "<h1>busy</h1>").with("retry-after", "3600"));
    let start = Instant::now();
    assert_eq!(
        reason(&read(&server, &[Kind::Tier]).await, Kind::Tier),
        Some(Reason::Failed)
    );
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test]
async fn what_cannot_be_read_is_unreadable_with_its_reason() {
    let server = lists(|path, _| {
        let plural = path
            .rsplit('/')
            .next()
            .and_then(|last| last.split('?').next())
            .expect("a plural");
        match plural {
            "tiers" => Reply::status(403, "Forbidden", "tiers is forbidden: User \"me\" cannot list"),
            "globalnetworksets" => Reply::text(404, "text/plain; charset=utf-8", "404 page not found\n"),
            "hostendpoints" => Reply::text(502, "text/html", "<html>\n<head><title>502 Bad Gateway</title>\n"),
            "globalnetworkpolicies" => Reply::text(200, "text/html", "<html><body>log in</body></html>"),
            "nodes" => Reply::Hang,
            "services" => Reply::status(500, "", "boom"),
            "deployments" => Reply::json(200, &json!({"metadata": {}, "items": [{"metadata": {}}]})),
            _ => list(&[named("x")]),
        }
    });
    let limits = Limits {
        call: Duration::from_millis(400),
        ..quick()
    };
    let cluster = server.connect("{}", limits).await.expect("a client");
    let kinds = [
        Kind::Tier,
        Kind::GlobalNetworkSet,
        Kind::HostEndpoint,
        Kind::GlobalNetworkPolicy,
        Kind::Node,
        Kind::Service,
        Kind::Deployment,
        Kind::Namespace,
    ];
    let start = Instant::now();
    let state = cluster.read(&scope(&kinds)).await.expect("a state");
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "a hanging list ends with its call: {:?}",
        start.elapsed()
    );
    let detail = |kind| state.coverage()[&kind].as_ref().expect("unreadable").detail.clone();
    assert_eq!(reason(&state, Kind::Tier), Some(Reason::Forbidden));
    assert_eq!(reason(&state, Kind::GlobalNetworkSet), Some(Reason::NotServed));
    assert_eq!(reason(&state, Kind::HostEndpoint), Some(Reason::Failed));
    assert_eq!(
        detail(Kind::HostEndpoint),
        "HTTP 502, not an answer of an API server: 502 Bad Gateway"
    );
    assert_eq!(
        reason(&state, Kind::GlobalNetworkPolicy),
        Some(Reason::Failed),
        "a login page is no empty list"
    );
    assert_eq!(reason(&state, Kind::Node), Some(Reason::TimedOut));
    assert_eq!(
        (reason(&state, Kind::Service), detail(Kind::Service).as_str()),
        (Some(Reason::Failed), "boom")
    );
    assert_eq!(detail(Kind::Deployment), "a Deployment without a name");
    assert_eq!(reason(&state, Kind::Namespace), None, "the rest is there");
    let sent = |of: &str| server.lines().iter().filter(|line| line.ends_with(of)).count();
    assert_eq!(
        (sent("/tiers"), sent("/services"), sent("/nodes")),
        (1, 5, 1),
        "only what passes is asked again"
    );
}

#[tokio::test]
async fn a_read_survives_resets_and_half_answers() {
    let server = lists(|_, before| match before {
        0 => Reply::Close,
        1 => Reply::Half(br#"{"metadata": {}, "items": []}"#.to_vec()),
        2 => Reply::status(503, "ServiceUnavailable", "starting"),
        _ => list(&[named("a")]),
    });
    assert_eq!(
        read(&server, &[Kind::Tier])
            .await
            .list(Kind::Tier)
            .expect("listed")
            .count(),
        1
    );
    assert_eq!(server.lines().len(), 5);
}

#[tokio::test]
async fn a_whole_read_ends_at_its_deadline_with_what_it_has() {
    let server = lists(|path, _| {
        if path.contains("nodes") {
            Reply::Hang
        } else {
            list(&[named("a")])
        }
    });
    let limits = Limits {
        call: Duration::from_secs(30),
        read: Duration::from_millis(300),
        ..quick()
    };
    let cluster = server.connect("{}", limits).await.expect("a client");
    let state = cluster.read(&scope(&[Kind::Tier, Kind::Node])).await.expect("a state");
    assert_eq!(
        (reason(&state, Kind::Tier), reason(&state, Kind::Node)),
        (None, Some(Reason::TimedOut))
    );
}

#[tokio::test]
async fn at_most_eight_requests_are_in_flight() {
    let server = lists(|_, _| Reply::After(Duration::from_millis(50), Box::new(list(&[]))));
    let state = read(&server, &Kind::ALL).await;
    let served = Kind::ALL.into_iter().filter(|kind| !kind.cloud()).count();
    assert_eq!(state.coverage().len(), served, "no server has the cloud's kinds");
    assert_eq!(server.most_at_once(), 8);
    assert_eq!(server.lines().len(), served + 2, "groups and schema besides");
}

#[tokio::test]
async fn calico_kinds_are_not_asked_for_where_nothing_serves_them() {
    let groups = |names: &[&str]| {
        let items: Vec<Value> = names.iter().map(|name| json!({"metadata": {"name": name}})).collect();
        json!({"kind": "APIGroupDiscoveryList", "items": items})
    };
    for (names, serving) in [
        (vec!["apps", "crd.projectcalico.org"], Serving::V1Only),
        (vec!["apps"], Serving::NotInstalled),
        (vec!["crd.projectcalico.org", "projectcalico.org"], Serving::Aggregated),
    ] {
        let body = groups(&names);
        let server = Scripted::start(move |asked, _| match asked.path.as_str() {
            "/apis" => Reply::json(200, &body),
            _ => list(&[]),
        });
        let state = read(&server, &[Kind::Tier, Kind::Node]).await;
        assert_eq!(state.facts.serving, serving);
        let served = serving == Serving::Aggregated;
        assert_eq!(reason(&state, Kind::Tier), (!served).then_some(Reason::NotServed));
        assert_eq!(server.lines().len(), if served { 3 } else { 2 });
    }
}

#[tokio::test]
async fn a_kind_that_discovery_lacks_is_not_asked_for_unless_discovery_is_stale() {
    for (freshness, expected) in [("Current", Some(Reason::NotServed)), ("Stale", None)] {
        let resources = if freshness == "Stale" {
            json!([])
        } else {
            json!([{"resource": "globalnetworksets"}])
        };
        let version = json!({"version": "v3", "freshness": freshness, "resources": resources});
        let body = json!({"kind": "APIGroupDiscoveryList", "items": [{"metadata": {"name": "projectcalico.org"}, "versions": [version]}]});
        let server = Scripted::start(move |asked, _| match asked.path.as_str() {
            "/apis" => Reply::json(200, &body),
            _ => list(&[]),
        });
        assert_eq!(
            reason(&read(&server, &[Kind::Tier]).await, Kind::Tier),
            expected,
            "{freshness}"
        );
    }
}

#[tokio::test]
async fn felix_fields_come_from_the_served_schema_in_both_shapes() {
    let kinds = json!([{"group": "projectcalico.org", "version": "v3", "kind": "FelixConfiguration"}]);
    let inline = json!({"a": {"properties": {"spec": {"properties": {"bpfEnabled": {"type": "boolean"}}}}, "x-kubernetes-group-version-kind": kinds}});
    let apart = json!({
        "a": {"properties": {"spec": {"default": {}, "allOf": [{"$ref": "#/components/schemas/b"}]}}, "x-kubernetes-group-version-kind": kinds},
        "b": {"properties": {"bpfEnabled": {"type": "boolean"}}},
    });
    for schemas in [inline, apart] {
        let server = lists(move |path, _| match path {
            "/openapi/v3/apis/projectcalico.org/v3" => Reply::json(200, &json!({"components": {"schemas": schemas}})),
            _ => list(&[]),
        });
        let cluster = server.cluster().await;
        for _ in 0..2 {
            let state = cluster
                .read(&scope(&[Kind::FelixConfiguration]))
                .await
                .expect("a state");
            assert_eq!(
                state.facts.felix_fields,
                Some(BTreeSet::from(["bpfEnabled".to_string()]))
            );
        }
        assert_eq!(server.lines().len(), 4, "groups and schema are asked for once");
    }
}

#[tokio::test]
async fn warnings_are_kept_once() {
    let warning = r#"299 - "v1 \"Tier\" is old""#;
    let server = lists(move |_, _| list(&[]).with("warning", warning).with("warning", "299 - \"b\""));
    let cluster = server.cluster().await;
    cluster.read(&scope(&[Kind::Tier, Kind::Node])).await.expect("a state");
    assert_eq!(cluster.warnings(), ["b", "v1 \"Tier\" is old"]);
}

#[tokio::test]
async fn answers_may_be_compressed() {
    let server = Scripted::start(|asked, _| {
        if asked.path == "/apis" {
            return native();
        }
        assert_eq!(asked.header("accept-encoding"), Some("gzip"));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(json!({"items": [named("a")]}).to_string().as_bytes())
            .expect("memory");
        let body = gzip.finish().expect("memory");
        Reply::Answer {
            code: 200,
            headers: vec![("content-encoding", "gzip".into())],
            body,
        }
    });
    assert_eq!(
        read(&server, &[Kind::Tier])
            .await
            .list(Kind::Tier)
            .expect("listed")
            .count(),
        1
    );
}

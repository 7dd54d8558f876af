//! The provider against a scripted server: what it sends, how often, and what it makes of bad answers.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::call::Limits;
use super::scripted::{Reply, Scripted, kubeconfig, list, native, quick};
use super::{Cluster, Connect};
use crate::changes::{Change, FieldChange, Op};
use crate::error::{Error, codes};
use crate::provider::{Provider, Refusal, Why};
use crate::resource::{FieldPath, Key, Kind, Origin};
use crate::state::{Observed, Reason, Scope, Serving, State};

const TIERS: &str = "/apis/projectcalico.org/v3/tiers";

fn scope(kinds: &[Kind]) -> Scope {
    Scope {
        kinds: kinds.iter().copied().collect(),
        inventory_namespace: "hostguard".into(),
    }
}

fn named(name: &str) -> Value {
    json!({"metadata": {"name": name, "resourceVersion": "1", "uid": format!("u-{name}")}})
}

fn tier(order: u32) -> Value {
    json!({"metadata": {"name": "t", "resourceVersion": "5", "uid": "u"}, "spec": {"order": order}})
}

fn origin() -> Origin {
    Origin {
        section: "test".into(),
        span: None,
    }
}

fn order(before: Option<u32>, after: Option<u32>) -> FieldChange {
    let value = |order: u32| json!(order);
    FieldChange {
        path: FieldPath::dotted("spec.order"),
        before: before.map(value),
        after: after.map(value),
        taken_from: None,
    }
}

fn create() -> Change {
    let object = json!({"metadata": {"name": "t", "uid": "old", "resourceVersion": "1"}, "spec": {"order": 100}});
    let fields = vec![order(None, Some(100))];
    Change {
        key: Key::cluster(Kind::Tier, "t"),
        op: Op::Create { object },
        fields,
        origin: origin(),
        needs: vec![],
    }
}

fn update() -> Change {
    Change::update(
        Key::cluster(Kind::Tier, "t"),
        tier(1),
        vec![order(Some(1), Some(100))],
        origin(),
    )
}

fn delete() -> Change {
    let op = Op::Delete { before: tier(1) };
    Change {
        key: Key::cluster(Kind::Tier, "t"),
        op,
        fields: vec![order(Some(1), None)],
        origin: origin(),
        needs: vec![],
    }
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

async fn refused(server: &Scripted, change: &Change) -> Refusal {
    server.cluster().await.perform(change).await.expect_err("a refusal")
}

fn said(error: &Error) -> String {
    format!("{error:?}")
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
    let tiers: Vec<&Value> = state
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
    assert_eq!(state.coverage().len(), Kind::ALL.len());
    assert_eq!(server.most_at_once(), 8);
    assert_eq!(server.lines().len(), Kind::ALL.len() + 2, "groups and schema besides");
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

#[tokio::test]
async fn each_write_carries_its_precondition_and_is_read_back() {
    let server = Scripted::start(|asked, before| match (asked.method.as_str(), before) {
        ("GET", 2) => Reply::status(404, "NotFound", "gone"),
        ("GET", _) => Reply::json(200, &tier(100)),
        _ => Reply::json(200, &json!({})),
    });
    let cluster = server.cluster().await.for_plan("shop");
    for (change, there) in [(create(), true), (update(), true), (delete(), false)] {
        let found = cluster.perform(&change).await.expect("performed");
        assert_eq!(found, there.then(|| tier(100)));
    }
    let asked = server.asked();
    let options = "?fieldManager=hostguard-shop&fieldValidation=Strict&timeout=2s";
    assert_eq!(
        (asked[0].method.as_str(), asked[0].path.as_str()),
        ("POST", format!("{TIERS}{options}").as_str())
    );
    let sent = json!({"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {"name": "t"}, "spec": {"order": 100}});
    assert_eq!(asked[0].json(), sent, "what a server sets is left out");
    assert_eq!(
        (asked[2].method.as_str(), asked[2].path.as_str()),
        ("PATCH", format!("{TIERS}/t{options}").as_str())
    );
    assert_eq!(asked[2].header("content-type"), Some("application/merge-patch+json"));
    assert_eq!(
        asked[2].json(),
        json!({"metadata": {"resourceVersion": "5"}, "spec": {"order": 100}})
    );
    assert_eq!(
        (asked[4].method.as_str(), asked[4].path.as_str()),
        ("DELETE", format!("{TIERS}/t?timeout=2s").as_str())
    );
    assert_eq!(
        asked[4].json()["preconditions"],
        json!({"uid": "u", "resourceVersion": "5"})
    );
    assert_eq!(asked[4].json()["propagationPolicy"], "Background");
    assert_eq!(asked.len(), 6);
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_sent_once_and_said_to_be_lost() {
    let lost: [fn() -> Reply; 5] = [
        || Reply::Close,
        || Reply::Hang,
        || Reply::Half(b"{\"kind\": \"Tier\"}".to_vec()),
        || Reply::text(502, "text/html", "<title>Bad Gateway</title>"),
        || Reply::status(504, "Timeout", "request did not complete"),
    ];
    for reply in lost {
        for change in [create(), update(), delete()] {
            let server = Scripted::start(move |_, _| reply());
            let limits = Limits {
                call: Duration::from_millis(300),
                ..quick()
            };
            let cluster = server.connect("{}", limits).await.expect("a client");
            let refusal = cluster.perform(&change).await.expect_err("lost");
            assert_eq!(refusal.why, Why::AnswerLost, "{refusal:?}");
            assert!(refusal.message.ends_with("read and compare"), "{refusal:?}");
            assert_eq!(server.lines().len(), 1);
        }
    }
}

#[tokio::test]
async fn refusals_are_told_apart_by_code_and_reason() {
    let cases = [
        (409, "AlreadyExists", Why::Changed),
        (409, "Conflict", Why::Changed),
        (404, "NotFound", Why::Gone),
        (403, "Forbidden", Why::Denied),
        (401, "Unauthorized", Why::Denied),
        (400, "BadRequest", Why::Invalid),
        (422, "Invalid", Why::Invalid),
        (500, "", Why::Other),
        (500, "InternalError", Why::AnswerLost),
    ];
    for (code, words, why) in cases {
        let server = Scripted::start(move |_, _| Reply::status(code, words, "as the server says"));
        let refusal = refused(&server, &update()).await;
        assert_eq!(refusal.why, why, "{code} {words}");
        assert!(refusal.message.starts_with("as the server says"));
        assert_eq!(server.lines().len(), 1, "{code} is not sent again");
    }
    let refusal = refused(&Scripted::nobody(), &create()).await;
    assert_eq!(refusal.why, Why::Other, "nothing was sent: {refusal:?}");
    assert!(refusal.message.starts_with("not sent: "));
}

#[tokio::test]
async fn a_throttled_write_is_sent_again_and_a_long_wait_is_refused() {
    let server = Scripted::start(|asked, before| match (asked.method.as_str(), before) {
        ("PATCH", 0) => Reply::status(429, "TooManyRequests", "slow down").with("retry-after", "1"),
        ("PATCH", _) => Reply::json(200, &json!({})),
        _ => Reply::json(200, &tier(100)),
    });
    assert!(server.cluster().await.perform(&update()).await.is_ok());
    assert_eq!(server.lines().len(), 3);
    let server = Scripted::start(|_, _| Reply::status(429, "TooManyRequests", "slow down").with("retry-after", "60"));
    let refusal = refused(&server, &update()).await;
    assert_eq!((refusal.why, server.lines().len()), (Why::Throttled, 1));
    assert_eq!(refusal.message, "slow down (the server asks to come back in 60 s)");
}

#[tokio::test]
async fn success_is_believed_only_when_it_is_there() {
    let answers = |found: Reply| {
        let found = std::sync::Mutex::new(Some(found));
        Scripted::start(move |asked, _| match asked.method.as_str() {
            "GET" => found.lock().expect("lock").take().expect("one GET"),
            _ => Reply::json(200, &json!({})),
        })
    };
    let refusal = refused(&answers(Reply::json(200, &tier(1))), &update()).await;
    assert_eq!(refusal.why, Why::Swallowed);
    assert_eq!(
        refusal.message,
        "the server answered with success, but these fields are not as written: spec.order"
    );
    let refusal = refused(&answers(Reply::status(404, "NotFound", "")), &create()).await;
    assert_eq!(refusal.why, Why::Swallowed);
    let refusal = refused(&answers(Reply::json(200, &tier(1))), &delete()).await;
    assert_eq!(
        (refusal.why, refusal.message.ends_with("still there")),
        (Why::Swallowed, true)
    );
    let refusal = refused(&answers(Reply::status(403, "Forbidden", "no get")), &update()).await;
    assert_eq!(refusal.why, Why::AnswerLost);
    let mut ending = tier(1);
    ending["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let server = answers(Reply::json(200, &ending));
    assert_eq!(
        server.cluster().await.perform(&delete()).await,
        Ok(Some(ending)),
        "a finalizer keeps it for a while"
    );
    let mut other = tier(1);
    other["metadata"]["uid"] = json!("v");
    let server = answers(Reply::json(200, &other));
    assert_eq!(
        server.cluster().await.perform(&delete()).await,
        Ok(Some(other)),
        "somebody made a new one"
    );
}

#[tokio::test]
async fn an_object_without_a_version_is_not_written() {
    let server = Scripted::start(|_, _| Reply::Close);
    let mut change = update();
    change.op = Op::Update {
        before: json!({"metadata": {"name": "t"}}),
        patch: json!({}),
    };
    let refusal = refused(&server, &change).await;
    assert_eq!(refusal.message, "not sent: the object seen has no resourceVersion");
    assert!(server.lines().is_empty());
}

#[tokio::test]
async fn rights_are_asked_for_all_names_first_and_the_missing_ones_are_named() {
    let server = Scripted::start(|asked, _| {
        let about = asked.json()["spec"]["resourceAttributes"].clone();
        let allowed = match (about["verb"].as_str(), about["name"].as_str()) {
            (Some("patch"), name) => name == Some("mine"),
            (verb, _) => verb != Some("create"),
        };
        Reply::json(
            201,
            &json!({"status": {"allowed": allowed, "reason": if allowed { "" } else { "no rule" }}}),
        )
    });
    let patch = |name: &str| Change {
        key: Key::cluster(Kind::Tier, name),
        ..update()
    };
    let changes = [create(), patch("mine"), patch("theirs"), delete()];
    let denied = server
        .cluster()
        .await
        .may(&changes.iter().collect::<Vec<_>>())
        .await
        .expect("answers");
    let denied: Vec<_> = denied
        .iter()
        .map(|d| (d.verb.as_str(), d.name.as_str(), d.reason.as_str()))
        .collect();
    assert_eq!(denied, [("create", "", "no rule"), ("patch", "theirs", "no rule")]);
    assert_eq!(
        server.lines().len(),
        6,
        "create, delete, get, patch, and patch by two names"
    );

    let server = Scripted::start(|_, _| Reply::status(403, "Forbidden", "may not ask"));
    let error = server.cluster().await.may(&[&create()]).await.expect_err("an error");
    assert_eq!(error.code, codes::ACCESS_REVIEW);
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
async fn a_snapshot_of_nothing_is_not_absence() {
    let server = lists(|_, _| Reply::status(403, "Forbidden", "no"));
    let state = read(&server, &[Kind::Tier]).await;
    assert!(matches!(
        state.get(&Key::cluster(Kind::Tier, "t")),
        Observed::Unreadable(_)
    ));
}

//! Writes with their preconditions, refusals, reading back, access reviews.

use std::time::Duration;

use serde_json::{Value, json};

use crate::changes::{Change, FieldChange, Op};
use crate::error::codes;
use crate::provider::cluster::call::Limits;
use crate::provider::cluster::scripted::{Reply, Scripted, quick};
use crate::provider::{Provider, Refusal, Why};
use crate::resource::{FieldPath, Key, Kind, Origin};

const TIERS: &str = "/apis/projectcalico.org/v3/tiers";

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
    let op = Op::Delete { before: tier(1).into() };
    Change {
        key: Key::cluster(Kind::Tier, "t"),
        op,
        fields: vec![order(Some(1), None)],
        origin: origin(),
        needs: vec![],
    }
}

async fn refused(server: &Scripted, change: &Change) -> Refusal {
    server.cluster().await.perform(change).await.expect_err("a refusal")
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
        before: json!({"metadata": {"name": "t"}}).into(),
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

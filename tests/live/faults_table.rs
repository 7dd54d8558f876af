//! The faults: one row each.

use std::time::Duration;

use crate::support::script::{Fault, Rule, Said, on};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Apply,
    Destroy,
}

pub struct Case {
    /// As it stands in the table.
    pub what: &'static str,
    pub verb: Verb,
    pub rules: Vec<Rule>,
    /// How many times the server refused a write unseen, so that it was sent again.
    pub refused_unseen: usize,
    /// A credential plugin instead of a token.
    pub plugin: Option<&'static str>,
    /// How many objects the server gives at a time, when that is less than asked for.
    pub page_size: Option<usize>,
}

const TIERS: &str = "/apis/projectcalico.org/v3/tiers";
const TIER: &str = "/apis/projectcalico.org/v3/tiers/security";
const NODES: &str = "/api/v1/nodes";
const NODE: &str = "/api/v1/nodes/ip-10-0-1-5";
const RECORDS: &str = "/api/v1/namespaces/hostguard/configmaps";
const RECORD: &str = "/api/v1/namespaces/hostguard/configmaps/hostguard-shop";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

fn apply(what: &'static str, rules: impl IntoIterator<Item = Rule>) -> Case {
    Case {
        what,
        verb: Verb::Apply,
        rules: rules.into_iter().collect(),
        refused_unseen: 0,
        plugin: None,
        page_size: None,
    }
}

fn destroy(what: &'static str, rules: impl IntoIterator<Item = Rule>) -> Case {
    Case {
        verb: Verb::Destroy,
        ..apply(what, rules)
    }
}

fn plugin(what: &'static str, script: &'static str) -> Case {
    Case {
        plugin: Some(script),
        ..apply(what, [])
    }
}

fn busy() -> Said {
    Said::status(
        429,
        "TooManyRequests",
        "the server has received too many requests and has asked us to try again later",
    )
}

fn starting() -> Said {
    Said::text(503, "text/plain; charset=utf-8", "apiserver is starting\n")
}

fn gateway() -> Said {
    let page = "<html>\n<head><title>502 Bad Gateway</title></head>\n<body><h1>502 Bad Gateway</h1></body>\n</html>\n";
    Said::text(502, "text/html", page)
}

fn expired() -> Said {
    Said::status(401, "Unauthorized", "Unauthorized")
}

fn no_reason() -> Said {
    Said::status(
        500,
        "",
        "error with field Tier = 'x' (Reason: failed to validate Field: Tier because of Tag: name )",
    )
}

pub fn cases() -> Vec<Case> {
    let mut all = vec![apply("nothing unusual", [])];
    all.extend(reading());
    all.extend(writing());
    all.extend(identity());
    all
}

fn reading() -> Vec<Case> {
    let slow = |seconds| Fault::Slow(Duration::from_secs(seconds));
    vec![
        apply("discovery hangs", [on("GET", "/apis").then(Fault::Hang)]),
        apply(
            "discovery is a load balancer's page",
            [on("GET", "/apis").then(gateway().into())],
        ),
        apply("a LIST hangs before its headers", [on("GET", TIERS).then(Fault::Hang)]),
        apply(
            "a LIST hangs after its headers",
            [on("GET", TIERS).then(Fault::HangAfterHead)],
        ),
        apply("a LIST is reset twice", [on("GET", TIERS).first(2).then(Fault::Reset)]),
        apply("a LIST is reset every time", [on("GET", TIERS).then(Fault::Reset)]),
        apply(
            "a LIST is truncated once",
            [on("GET", NODES).nth(1).then(Fault::Truncate)],
        ),
        apply(
            "a LIST is truncated every time",
            [on("GET", NODES).then(Fault::Truncate)],
        ),
        apply("a LIST takes one second", [on("GET", NODES).then(slow(1))]),
        apply("a LIST takes ten seconds", [on("GET", NODES).then(slow(10))]),
        apply(
            "a LIST is answered 429 with Retry-After: 1, then served",
            [on("GET", TIERS).nth(1).then(busy().with("retry-after", "1").into())],
        ),
        apply(
            "a LIST is answered 429 with Retry-After: 60",
            [on("GET", TIERS).then(busy().with("retry-after", "60").into())],
        ),
        apply(
            "a LIST is answered 429 without Retry-After every time",
            [on("GET", TIERS).then(busy().into())],
        ),
        apply(
            "a LIST is answered 503 twice, then served",
            [on("GET", TIERS).first(2).then(starting().into())],
        ),
        apply(
            "a LIST is answered 503 every time",
            [on("GET", TIERS).then(starting().into())],
        ),
        apply(
            "a LIST is answered 500 without a reason",
            [on("GET", TIERS).then(Said::status(500, "", "etcdserver: leader changed").into())],
        ),
        apply(
            "a LIST is answered with a login page and 200",
            [on("GET", NODES).then(Said::text(200, "text/html", "<html><title>Sign in</title></html>").into())],
        ),
        apply(
            "a LIST is answered with a page of HTML and 502",
            [on("GET", NODES).then(gateway().into())],
        ),
        Case {
            page_size: Some(1),
            ..apply(
                "a page token expires (410) once",
                [on("GET", "/api/v1/nodes?*continue=*").nth(1).then(gone())],
            )
        },
        Case {
            page_size: Some(1),
            ..apply(
                "a page token expires (410) every time",
                [on("GET", "/api/v1/nodes?*continue=*").then(gone())],
            )
        },
        apply(
            "the server's clock is a year ahead",
            [on("*", "*").then(Fault::Header("date", "Wed, 24 Nov 2027 12:00:00 GMT"))],
        ),
    ]
}

fn gone() -> Fault {
    let message = "The provided continue parameter is too old to display a consistent list result.";
    Said::status(410, "Expired", message).into()
}

fn writing() -> Vec<Case> {
    let own = |path| on("POST", path);
    vec![
        apply(
            "the question of rights is refused",
            [own(REVIEWS).then(Said::status(403, "Forbidden", "no").into())],
        ),
        apply(
            "the record is written, its answer lost",
            [own(RECORDS).then(Fault::LoseAnswer)],
        ),
        apply(
            "the record is reset before it arrives",
            [own(RECORDS).then(Fault::Reset)],
        ),
        apply(
            "a create is made, its answer lost",
            [own(TIERS).then(Fault::LoseAnswer)],
        ),
        apply(
            "a create is made, its answer held back",
            [own(TIERS).then(Fault::KeepAnswer)],
        ),
        apply("a create is reset before it arrives", [own(TIERS).then(Fault::Reset)]),
        apply("a create hangs before it arrives", [own(TIERS).then(Fault::Hang)]),
        apply(
            "a create is made, its answer lost, and the kind cannot be read any more",
            [
                own(TIERS).then(Fault::LoseAnswer),
                on("GET", TIERS)
                    .nth(3)
                    .then(Said::status(403, "Forbidden", "tiers is forbidden").into()),
            ],
        ),
        apply(
            "an update is made, its answer lost",
            [on("PATCH", NODE).then(Fault::LoseAnswer)],
        ),
        apply(
            "an update is made, its answer truncated",
            [on("PATCH", NODE).then(Fault::Truncate)],
        ),
        apply("an update is swallowed", [on("PATCH", NODE).then(Fault::Swallow)]),
        apply("a write is answered 503", [own(TIERS).then(starting().into())]),
        apply(
            "a write is answered 500 without a reason",
            [own(TIERS).then(no_reason().into())],
        ),
        apply(
            "a write is answered with a page of HTML and 502",
            [own(TIERS).then(gateway().into())],
        ),
        Case {
            refused_unseen: 1,
            ..apply(
                "a write is answered 429 with Retry-After: 1, then taken",
                [own(TIERS).nth(1).then(busy().with("retry-after", "1").into())],
            )
        },
        apply(
            "a write is answered 429 with Retry-After: 60",
            [own(TIERS).then(busy().with("retry-after", "60").into())],
        ),
        apply(
            "a create is answered 201 with an empty object, and not made",
            [own(TIERS).then(Said::text(201, "application/json", "{}").into())],
        ),
        destroy(
            "a delete is made, its answer lost",
            [on("DELETE", TIER).then(Fault::LoseAnswer)],
        ),
        destroy(
            "a delete is reset before it arrives",
            [on("DELETE", TIER).then(Fault::Reset)],
        ),
        destroy(
            "the record's delete is made, its answer lost",
            [on("DELETE", RECORD).then(Fault::LoseAnswer)],
        ),
        destroy(
            "the record's delete is reset before it arrives",
            [on("DELETE", RECORD).then(Fault::Reset)],
        ),
    ]
}

fn identity() -> Vec<Case> {
    vec![
        apply("the credentials have expired", [on("*", "*").then(expired().into())]),
        apply(
            "the credentials expire after the record was written",
            [
                on("POST", TIERS).then(expired().into()),
                on("PATCH", NODE).then(expired().into()),
            ],
        ),
        apply(
            "the credentials expire after the last step",
            [on("GET", NODES).from(3).then(expired().into())],
        ),
        plugin("the credential plugin hangs", "sleep 60"),
        plugin(
            "the credential plugin fails and prints a secret",
            "echo s3cret; echo no >&2; exit 3",
        ),
        plugin("the credential plugin prints a secret and no credential", "echo s3cret"),
    ]
}

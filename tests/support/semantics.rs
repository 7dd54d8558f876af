//! What a world does with a write, case by case: a cluster, a snapshot file and the simulated one must agree.

use std::borrow::Cow;

use hostguard::changes::{Change, Op};
use hostguard::inventory::INVENTORY_LABEL;
use hostguard::provider::{Provider, Why};
use hostguard::resource::{Key, Kind};
use hostguard::state::{Scope, State};
use serde_json::{Value, json};

/// One write of a case; all are about the same object.
pub enum Do {
    Create(Value),
    /// A merge patch against the object as it was after that many writes of the case.
    Update(usize, Value),
    Delete(usize),
}

/// What a write came to, read afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    Made,
    /// It has another version.
    Changed,
    /// Success, and nothing was stored.
    Same,
    Gone,
    /// It is being deleted, and a finalizer keeps it.
    Ending,
    /// Nothing was stored.
    Refused(Why),
}

pub struct Case {
    pub what: &'static str,
    pub key: Key,
    pub writes: Vec<(Do, Came)>,
    /// Where a file is meant to differ: what its last write comes to; nothing is asked of those before it.
    pub in_a_file: Option<Came>,
    /// What stands at this pointer in the end.
    pub end: Option<(&'static str, Value)>,
}

fn set(nets: &[&str]) -> Value {
    json!({"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkSet",
        "metadata": {"name": "odd", "labels": {"role": "odd"}}, "spec": {"nets": nets}})
}

fn of_set(what: &'static str, writes: Vec<(Do, Came)>) -> Case {
    Case {
        what,
        key: Key::cluster(Kind::GlobalNetworkSet, "odd"),
        writes,
        in_a_file: None,
        end: None,
    }
}

impl Case {
    fn ends(self, pointer: &'static str, value: Value) -> Case {
        let end = Some((pointer, value));
        Case { end, ..self }
    }

    fn but_in_a_file(self, came: Came) -> Case {
        let in_a_file = Some(came);
        Case { in_a_file, ..self }
    }
}

/// A world for these has namespace `shop` in it, and none of these objects.
pub fn cases() -> Vec<Case> {
    use Came::{Changed, Ending, Gone, Made, Refused, Same};
    use Do::{Create, Delete, Update};
    let nets = |nets: &[&str]| json!({"spec": {"nets": nets}});
    let (a, b) = (&["10.1.0.0/16"][..], &["10.2.0.0/16"][..]);
    let held = || {
        let mut object = set(a);
        object["metadata"]["finalizers"] = json!(["example.com/hold"]);
        object
    };
    let mut cases = vec![
        of_set(
            "an object is created once",
            vec![(Create(set(a)), Made), (Create(set(b)), Refused(Why::Changed))],
        )
        .ends("/spec/nets", json!(a)),
        of_set(
            "an update of the version seen",
            vec![(Create(set(a)), Made), (Update(1, nets(b)), Changed)],
        )
        .ends("/spec/nets", json!(b)),
        of_set(
            "an update of an earlier version",
            vec![
                (Create(set(a)), Made),
                (Update(1, nets(b)), Changed),
                (Update(1, nets(&["10.3.0.0/16"])), Refused(Why::Changed)),
            ],
        )
        .ends("/spec/nets", json!(b)),
        of_set(
            "an update of what is gone",
            vec![
                (Create(set(a)), Made),
                (Delete(1), Gone),
                (Update(1, nets(b)), Refused(Why::Gone)),
            ],
        ),
        of_set(
            "an update of what was replaced",
            vec![
                (Create(set(a)), Made),
                (Delete(1), Gone),
                (Create(set(b)), Made),
                (Update(1, nets(a)), Refused(Why::Changed)),
            ],
        )
        .ends("/spec/nets", json!(b)),
        of_set(
            "a deletion of the version seen",
            vec![(Create(set(a)), Made), (Delete(1), Gone)],
        ),
        of_set(
            "a deletion of an earlier version",
            vec![
                (Create(set(a)), Made),
                (Update(1, nets(b)), Changed),
                (Delete(1), Refused(Why::Changed)),
                (Delete(2), Gone),
            ],
        ),
        of_set(
            "a deletion of what is gone",
            vec![
                (Create(set(a)), Made),
                (Delete(1), Gone),
                (Delete(1), Refused(Why::Gone)),
            ],
        ),
        of_set(
            "a deletion of what was replaced",
            vec![
                (Create(set(a)), Made),
                (Delete(1), Gone),
                (Create(set(b)), Made),
                (Delete(1), Refused(Why::Changed)),
            ],
        )
        .ends("/spec/nets", json!(b)),
        of_set(
            "a patch that changes nothing keeps the version",
            vec![
                (Create(set(a)), Made),
                (Update(1, nets(a)), Same),
                (Update(1, nets(b)), Changed),
            ],
        ),
        of_set(
            "null for what is not there changes nothing",
            vec![
                (Create(set(a)), Made),
                (Update(1, json!({"metadata": {"annotations": {"a": null}}})), Same),
            ],
        ),
        of_set(
            "null takes a field away",
            vec![
                (Create(set(a)), Made),
                (
                    Update(1, json!({"metadata": {"labels": {"role": null, "more": "yes"}}})),
                    Changed,
                ),
            ],
        )
        .ends("/metadata/labels", json!({"more": "yes"})),
        of_set(
            "a list is replaced whole",
            vec![
                (Create(set(&["10.1.0.0/16", "10.2.0.0/16"])), Made),
                (Update(1, nets(&["10.3.0.0/16"])), Changed),
            ],
        )
        .ends("/spec/nets", json!(["10.3.0.0/16"])),
        of_set(
            "what only the server sets is not taken from a create",
            vec![
                (
                    Create({
                        let mut object = set(a);
                        object["metadata"]["uid"] = json!("mine");
                        object["metadata"]["resourceVersion"] = json!("77");
                        object
                    }),
                    Made,
                ),
                (Update(1, nets(b)), Changed),
            ],
        ),
        of_set(
            "a finalizer keeps what is deleted, and its name",
            vec![
                (Create(held()), Made),
                (Delete(1), Ending),
                (Create(set(b)), Refused(Why::Changed)),
            ],
        )
        .but_in_a_file(Made), // who writes a file has no finalizers to wait for
        Case {
            what: "nothing is made in a namespace that is not there",
            key: Key::namespaced(Kind::ConfigMap, "nowhere", "hostguard-odd"),
            writes: vec![(Create(books("nowhere")), Refused(Why::Gone))],
            in_a_file: Some(Made), // snapshots need not hold namespaces
            end: None,
        },
        Case {
            what: "the books are written by the version seen",
            key: Key::namespaced(Kind::ConfigMap, "shop", "hostguard-odd"),
            writes: vec![
                (Create(books("shop")), Made),
                (Update(1, json!({"data": {"a": "2", "b": null}})), Changed),
                (Update(1, json!({"data": {"a": "3"}})), Refused(Why::Changed)),
            ],
            in_a_file: None,
            end: Some(("/data", json!({"a": "2"}))),
        },
    ];
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "hostguard-odd", "namespace": "shop"},
        "spec": {"holderIdentity": "one", "leaseDurationSeconds": 8, "leaseTransitions": 1,
            "renewTime": "2026-01-01T00:00:00.000000Z"}});
    cases.push(Case {
        what: "a lease is taken by one of two",
        key: Key::namespaced(Kind::Lease, "shop", "hostguard-odd"),
        writes: vec![
            (Create(lease), Made),
            (Update(1, json!({"spec": {"holderIdentity": null}})), Changed),
            (
                Update(2, json!({"spec": {"holderIdentity": "two", "leaseTransitions": 2}})),
                Changed,
            ),
            (
                Update(2, json!({"spec": {"holderIdentity": "three", "leaseTransitions": 2}})),
                Refused(Why::Changed),
            ),
        ],
        in_a_file: None,
        end: Some(("/spec/holderIdentity", json!("two"))),
    });
    cases
}

fn books(namespace: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1", "b": "1"},
        "metadata": {"name": "hostguard-odd", "namespace": namespace, "labels": {INVENTORY_LABEL: "true"}}})
}

/// Plays a case; what differs from what is expected.
pub async fn play(case: &Case, world: &dyn Provider, file: bool) -> Result<(), String> {
    let namespace = if case.key.namespace == "nowhere" {
        "nowhere"
    } else {
        "shop"
    };
    let scope = Scope {
        kinds: [case.key.kind].into(),
        inventory_namespace: namespace.into(),
        cloud: None,
    };
    let read = async || -> Result<Option<Value>, String> {
        let state: State = world.read(&scope).await.map_err(|e| e.message)?;
        Ok(state.present(&case.key).map(Cow::into_owned))
    };
    let mut seen: Vec<Option<Value>> = vec![read().await?];
    for (at, (write, expected)) in case.writes.iter().enumerate() {
        let last = at + 1 == case.writes.len();
        let expected = case.in_a_file.filter(|_| file && last).unwrap_or(*expected);
        let wrong = |what: String| format!("{}, write {}: {what}", case.what, at + 1);
        let object = |number: usize| seen[number].clone().expect("the case saw it");
        let op = match write {
            Do::Create(object) => Op::Create { object: object.clone() },
            Do::Update(number, patch) => Op::Update {
                before: object(*number).into(),
                patch: patch.clone(),
            },
            Do::Delete(number) => Op::Delete {
                before: object(*number).into(),
            },
        };
        let answer = world.perform(&change(&case.key, op)).await;
        let now = read().await?;
        let before = seen.last().expect("read before anything").clone();
        let came = match &answer {
            Err(refusal) if before != now => return Err(wrong(format!("refused ({}) and made", refusal.message))),
            Err(refusal) => Came::Refused(refusal.why),
            Ok(_) => came(before.as_ref(), now.as_ref()),
        };
        let asked = !file || last || case.in_a_file.is_none();
        if asked && came != expected {
            return Err(wrong(format!("{came:?}, expected {expected:?}; {answer:?}")));
        }
        if let (Ok(Some(said)), Some(now)) = (&answer, &now)
            && version(said) != version(now)
        {
            return Err(wrong(format!("answered with {said}, and {now} is there")));
        }
        seen.push(now);
    }
    if let Some((pointer, value)) = &case.end {
        let end = seen.last().and_then(|object| object.as_ref()?.pointer(pointer));
        if end != Some(value) && !(file && case.in_a_file.is_some()) {
            return Err(format!("{}: {pointer} is {end:?}", case.what));
        }
    }
    Ok(())
}

fn change(key: &Key, op: Op) -> Change {
    Change::bare(key.clone(), op, "test")
}

fn version(object: &Value) -> &Value {
    &object["metadata"]["resourceVersion"]
}

fn came(before: Option<&Value>, now: Option<&Value>) -> Came {
    match (before, now) {
        (_, None) => Came::Gone,
        (None, Some(_)) => Came::Made,
        (Some(before), Some(now)) if before["metadata"]["uid"] != now["metadata"]["uid"] => Came::Made,
        (Some(_), Some(now)) if now["metadata"]["deletionTimestamp"].is_string() => Came::Ending,
        (Some(before), Some(now)) if version(before) == version(now) => Came::Same,
        (Some(_), Some(_)) => Came::Changed,
    }
}

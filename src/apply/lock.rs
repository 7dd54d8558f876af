//! One run of a plan at a time: a Lease in the inventory namespace, or a lock of the world's own where it has one.
//!
//! A holder renews its Lease while it works and begins no write once the Lease may have run out by its own monotonic
//! clock. Another one takes over only after it has itself seen the Lease unchanged for that long. So no two write at
//! once, whatever their clocks say; only a write that was sent before may still arrive, and that one is
//! compare-and-set. (Kubernetes, `client-go/tools/leaderelection`: the same rule.)

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::Event;
use crate::changes::{Change, Op};
use crate::inventory::PLAN_LABEL;
use crate::provider::{OwnLock, Provider, Refusal, Why};
use crate::resource::{Key, Kind};
use crate::state::{Observed, Scope};

/// A Lease that was not renewed for so long can be taken.
pub const DURATION: Duration = Duration::from_secs(8);
/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(2);
/// How often somebody who waits looks.
const LOOK: Duration = Duration::from_millis(500);
/// A run whose Lease could not be renewed for so long, by nobody's fault that can be seen, gives up.
const GIVE_UP: Duration = Duration::from_secs(60);
/// On the Lease: what people want to know of the holder, as JSON.
const HOLDER: &str = "hostguard.dev/holder";
/// How often the Lease is given back when it keeps moving.
const TRIES: usize = 3;

/// Who wants the lock.
#[derive(Clone, Debug)]
pub struct Holder {
    /// No two processes have the same.
    pub identity: String,
    pub who: String,
    pub host: String,
    pub verb: &'static str,
    /// The id of the change set.
    pub changes: String,
    /// The wall clock, for people; nothing is decided by it alone.
    pub now: fn() -> Timestamp,
}

/// Who has it already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub who: String,
    pub host: String,
    pub verb: String,
    pub changes: String,
    pub since: String,
    /// Unless it is renewed; `None`: until its process ends.
    pub seconds_left: Option<u64>,
}

/// Why there is no lock.
#[derive(Clone, Debug)]
pub enum NotTaken {
    Held(Box<Held>),
    Failed(Refusal),
    Interrupted,
}

/// The lock, held.
pub struct Lock {
    key: Key,
    identity: String,
    now: fn() -> Timestamp,
    fence: u64,
    own: Option<Box<dyn Send + Sync>>,
    held: Mutex<Lease>,
    changed: Notify,
}

#[derive(Default)]
struct Lease {
    /// As it was last seen; `None` where the world has a lock of its own.
    object: Option<Value>,
    /// No write begins after this.
    until: Option<Instant>,
    lost: bool,
}

/// Which lock, and how long to try.
pub struct Place<'a> {
    pub namespace: &'a str,
    pub plan: &'a str,
    /// How long somebody else's lock is waited for.
    pub patience: Duration,
    pub stop: &'a AtomicBool,
}

impl Place<'_> {
    pub fn key(&self) -> Key {
        Key::namespaced(Kind::Lease, self.namespace, format!("hostguard-{}", self.plan))
    }

    /// The writes that holding it takes, for the check of permissions.
    pub(super) fn writes(&self) -> Vec<Change> {
        let (object, before) = (json!({}), std::sync::Arc::new(json!({})));
        let patch = json!({});
        let update = Op::Update {
            before: before.clone(),
            patch,
        };
        [Op::Create { object }, update, Op::Delete { before }]
            .map(|op| change(self.key(), op))
            .into()
    }
}

impl Lock {
    /// Takes it, or says who has it. One that seems to be dead is watched for as long as it lasts, then taken.
    pub async fn take(
        provider: &dyn Provider,
        place: &Place<'_>,
        holder: &Holder,
        events: &mut (dyn FnMut(Event) + Send),
    ) -> Result<Lock, NotTaken> {
        let lock = |own, fence, held| Lock {
            key: place.key(),
            identity: holder.identity.clone(),
            now: holder.now,
            fence,
            own,
            held: Mutex::new(held),
            changed: Notify::new(),
        };
        let start = Instant::now();
        let said = holder.said();
        // A version, and since when it is seen unchanged.
        let mut seen: Option<(String, Instant)> = None;
        let mut told = false;
        loop {
            if place.stop.load(Ordering::SeqCst) {
                return Err(NotTaken::Interrupted);
            }
            let mut wait = start.elapsed() < place.patience;
            match provider.lock(place.plan, &said.to_string()) {
                OwnLock::Taken(own) => return Ok(lock(Some(own), 0, Lease::default())),
                OwnLock::Failed(message) => {
                    let why = Why::Other;
                    return Err(NotTaken::Failed(Refusal { why, message }));
                }
                OwnLock::Held(text) => {
                    if !wait {
                        return Err(NotTaken::Held(Box::new(Held::read(&text, None))));
                    }
                    if !std::mem::replace(&mut told, true) {
                        events(Event::Locked(&Held::read(&text, None)));
                    }
                    sleep(LOOK).await;
                    continue;
                }
                OwnLock::None => {}
            }
            let found = look(provider, place).await.map_err(NotTaken::Failed)?;
            let free = found.as_ref().is_none_or(|lease| identity(lease).is_empty());
            let mine = found.as_ref().is_some_and(|lease| identity(lease) == holder.identity);
            let version = found.as_ref().map(version).unwrap_or_default();
            let since = match &seen {
                Some((last, since)) if *last == version => *since,
                _ => seen.insert((version, Instant::now())).1,
            };
            let lasts = found.as_ref().map_or(DURATION, lasts);
            if free || mine || since.elapsed() >= lasts {
                let sent = Instant::now();
                match provider.perform(&holder.taking(place, found.as_ref())).await {
                    Ok(Some(object)) if identity(&object) == holder.identity => {
                        let held = Lease {
                            until: Some(sent + DURATION),
                            object: Some(object.clone()),
                            lost: false,
                        };
                        return Ok(lock(None, transitions(&object), held));
                    }
                    // Somebody was faster, or it is not known: what is there then says so.
                    Ok(_) => {}
                    Err(refusal) if passes(refusal.why) => {}
                    Err(refusal) => return Err(NotTaken::Failed(refusal)),
                }
                sleep(LOOK).await;
                continue;
            }
            let lease = found.expect("a lock that is not free is there");
            let left = seconds_left(&lease, (holder.now)());
            let held = Held::read(annotation(&lease), Some(left));
            // A dead one is watched; the wall clock only says that this is worth the while.
            wait |= left == 0;
            if !wait {
                return Err(NotTaken::Held(Box::new(held)));
            }
            if !std::mem::replace(&mut told, true) {
                events(Event::Locked(&held));
            }
            sleep(LOOK).await;
        }
    }

    /// Grows with every holder; 0 where the world has a lock of its own.
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// Does the work, and renews the lock meanwhile.
    pub async fn during<T>(&self, provider: &dyn Provider, work: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            done = work => done,
            () = self.keep(provider) => unreachable!("a lock is kept until the work is done"),
        }
    }

    /// Waits until a write may begin. `false`: never again, the lock is lost.
    pub async fn may_write(&self) -> bool {
        let asked = Instant::now();
        loop {
            let changed = self.changed.notified();
            {
                let mut held = self.held.lock().expect("nobody panics holding it");
                let now = Instant::now();
                match held.until {
                    _ if held.lost => return false,
                    None => return true,
                    Some(until) if now < until => return true,
                    // renewals whose answers take longer than a Lease lasts would be waited for forever
                    Some(until) => held.lost = now > until + GIVE_UP || asked.elapsed() > GIVE_UP,
                }
            }
            tokio::select! {
                () = changed => {}
                () = sleep(LOOK) => {}
            }
        }
    }

    pub fn is_lost(&self) -> bool {
        self.held.lock().expect("nobody panics holding it").lost
    }

    /// Renews until it is dropped, or the lock is somebody else's.
    async fn keep(&self, provider: &dyn Provider) {
        if self.own.is_some() {
            return std::future::pending().await;
        }
        loop {
            sleep(RENEW).await;
            if !self.renew(provider).await {
                self.held.lock().expect("nobody panics holding it").lost = true;
                self.changed.notify_waiters();
                return std::future::pending().await;
            }
        }
    }

    /// `false`: it is not ours any more. What is not known is tried again.
    async fn renew(&self, provider: &dyn Provider) -> bool {
        let sent = Instant::now();
        let patch = json!({"spec": {"renewTime": micro_time((self.now)())}});
        if let Ok(Some(object)) = provider.perform(&self.update(patch)).await {
            let mut held = self.held.lock().expect("nobody panics holding it");
            (held.object, held.until) = (Some(object), Some(sent + DURATION));
            drop(held);
            self.changed.notify_waiters();
            return true;
        }
        self.look_again(provider).await
    }

    /// Learns the version that the Lease has now. `false`: somebody else has it, or it is gone.
    async fn look_again(&self, provider: &dyn Provider) -> bool {
        let scope = scope(&self.key.namespace);
        let Ok(state) = provider.read(&scope).await else {
            return true;
        };
        match state.get(&self.key) {
            Observed::Present(lease) if identity(&lease) == self.identity => {
                self.held.lock().expect("nobody panics holding it").object = Some(lease.into_owned());
                true
            }
            Observed::Unreadable(_) => true,
            Observed::Present(_) | Observed::Absent => false,
        }
    }

    fn update(&self, patch: Value) -> Change {
        let held = self.held.lock().expect("nobody panics holding it");
        let before = held.object.clone().unwrap_or_default().into();
        change(self.key.clone(), Op::Update { before, patch })
    }

    /// Gives it back, and takes the Lease away where the plan has no record any more. That this fails is no harm: it
    /// runs out by itself.
    pub async fn release(self, provider: &dyn Provider, gone: bool) {
        if self.own.is_some() || self.is_lost() {
            return;
        }
        for _ in 0..TRIES {
            let give_back = self.update(json!({"spec": {"holderIdentity": null}}));
            let change = match &give_back.op {
                Op::Update { before, .. } if gone => change(self.key.clone(), Op::Delete { before: before.clone() }),
                _ => give_back,
            };
            if provider.perform(&change).await.is_ok() || !self.look_again(provider).await {
                return;
            }
        }
    }
}

impl Holder {
    /// What others are told.
    fn said(&self) -> Value {
        json!({
            "who": self.who, "host": self.host, "verb": self.verb, "changes": self.changes,
            "since": seconds((self.now)()),
        })
    }

    /// The write that makes it ours.
    fn taking(&self, place: &Place<'_>, found: Option<&Value>) -> Change {
        let now = micro_time((self.now)());
        let spec = json!({
            "holderIdentity": self.identity,
            "leaseDurationSeconds": DURATION.as_secs(),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": found.map_or(0, transitions) + 1,
        });
        let annotations = json!({HOLDER: self.said().to_string()});
        let key = place.key();
        let op = match found {
            Some(before) => Op::Update {
                before: before.clone().into(),
                patch: json!({"metadata": {"annotations": annotations}, "spec": spec}),
            },
            None => Op::Create {
                object: json!({
                    "apiVersion": "coordination.k8s.io/v1",
                    "kind": "Lease",
                    "metadata": {
                        "name": key.name, "namespace": key.namespace,
                        "labels": {PLAN_LABEL: place.plan}, "annotations": annotations,
                    },
                    "spec": spec,
                }),
            },
        };
        change(key, op)
    }
}

impl Held {
    fn read(text: &str, seconds_left: Option<u64>) -> Held {
        let said: Value = serde_json::from_str(text).unwrap_or_default();
        let of = |name: &str| said[name].as_str().unwrap_or("somebody").to_string();
        Held {
            who: of("who"),
            host: of("host"),
            verb: of("verb"),
            changes: of("changes"),
            since: of("since"),
            seconds_left,
        }
    }
}

fn change(key: Key, op: Op) -> Change {
    Change::bare(key, op, "lock")
}

/// Whether a refusal says only that somebody else was there, or nothing.
fn passes(why: Why) -> bool {
    match why {
        Why::Changed | Why::Gone | Why::AnswerLost | Why::Swallowed | Why::Throttled => true,
        Why::Denied | Why::Invalid | Why::Other => false,
    }
}

fn scope(namespace: &str) -> Scope {
    Scope {
        kinds: [Kind::Lease].into(),
        inventory_namespace: namespace.to_string(),
        cloud: None,
    }
}

async fn look(provider: &dyn Provider, place: &Place<'_>) -> Result<Option<Value>, Refusal> {
    let failed = |why, message| Err(Refusal { why, message });
    match provider.read(&scope(place.namespace)).await {
        Err(error) => failed(Why::Other, error.message),
        Ok(state) => match state.get(&place.key()) {
            Observed::Absent => Ok(None),
            Observed::Present(lease) => Ok(Some(lease.into_owned())),
            Observed::Unreadable(why) => failed(Why::Denied, format!("{}: {why}", place.key())),
        },
    }
}

fn identity(lease: &Value) -> &str {
    lease
        .pointer("/spec/holderIdentity")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn annotation(lease: &Value) -> &str {
    let annotations = lease.pointer("/metadata/annotations");
    annotations
        .and_then(|all| all.get(HOLDER)?.as_str())
        .unwrap_or_default()
}

fn version(lease: &Value) -> String {
    let of = |name: &str| lease.pointer(name).map(Value::to_string).unwrap_or_default();
    of("/metadata/uid") + &of("/metadata/resourceVersion")
}

fn transitions(lease: &Value) -> u64 {
    lease
        .pointer("/spec/leaseTransitions")
        .and_then(Value::as_u64)
        .unwrap_or(0)
}

fn lasts(lease: &Value) -> Duration {
    let seconds = lease.pointer("/spec/leaseDurationSeconds").and_then(Value::as_u64);
    seconds.map_or(DURATION, Duration::from_secs)
}

/// By the wall clock: only for people, and to tell whether watching is worth the while.
fn seconds_left(lease: &Value, now: Timestamp) -> u64 {
    let renewed = lease.pointer("/spec/renewTime").and_then(Value::as_str);
    let Some(renewed) = renewed.and_then(|text| text.parse::<Timestamp>().ok()) else {
        return 0;
    };
    let end = renewed.as_millisecond() + i64::try_from(lasts(lease).as_millis()).unwrap_or(i64::MAX / 2);
    u64::try_from((end - now.as_millisecond()).max(0))
        .unwrap_or(0)
        .div_ceil(1000)
}

/// As Kubernetes writes a MicroTime.
fn micro_time(time: Timestamp) -> String {
    format!("{time:.6}")
}

/// To the second, for people.
pub(super) fn seconds(time: Timestamp) -> String {
    format!("{time:.0}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_kubernetes_writes_them() {
        let time: Timestamp = "2026-11-28T08:49:16.123456789Z".parse().unwrap();
        assert_eq!(micro_time(time), "2026-11-28T08:49:16.123456Z");
        assert_eq!(seconds(time), "2026-11-28T08:49:16Z");
        let lease = json!({"spec": {"renewTime": "2026-11-28T08:49:10.000000Z", "leaseDurationSeconds": 8}});
        assert_eq!(seconds_left(&lease, time), 2);
        assert_eq!(seconds_left(&lease, "2026-11-28T09:00:00Z".parse().unwrap()), 0);
    }
}

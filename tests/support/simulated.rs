//! A cluster in memory, as strict as an API server, that misbehaves where its script says so.
//!
//! [`Simulated`] is the cluster, a [`Process`] is one run of hostguard against it. A call of a process takes its time,
//! has its effect in one moment, and takes its time again; at that moment the script may have a fault. What a change
//! means is `State::write`, and what controllers make of it `State::settled`: nothing of that is said twice. That
//! refusals are those of a real server is what `semantics.rs` is for. Time is tokio's: paused, it costs nothing.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hostguard::changes::{Change, Op, merge};
use hostguard::error::{Error, codes};
use hostguard::history::RUN_LABEL;
use hostguard::inventory::INVENTORY_LABEL;
use hostguard::provider::{Denied, Provider, Refusal, Why};
use hostguard::resource::{Key, Kind, SET_BY_SERVER};
use hostguard::state::{Scope, State};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::edits::{Edit, TOUCHED, edited};

thread_local! {
    /// Where the wall clock of this thread begins.
    static EPOCH: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// A runtime whose time is paused: it goes on only when everybody waits for it. The wall clock begins.
pub fn paused() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async { EPOCH.set(Some(Instant::now())) });
    runtime
}

/// The wall clock, which goes with the time of [`paused`].
pub fn now() -> Timestamp {
    let epoch = EPOCH.get().expect("the runtime is a paused one");
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    start + Instant::now().duration_since(epoch)
}

/// When a write that nobody waits for any more comes true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landing {
    Never,
    Now,
    /// After that many further calls of anybody, if its precondition still holds.
    After(usize),
}

/// What happens at one call of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process is gone, before or after what it asks for is done; writes in flight land or do not.
    Crash { after: bool, flying: Landing },
    /// No answer comes. A read fails.
    Lost(Landing),
    /// Somebody wrote the object a moment before: 409.
    Conflict,
    /// 429, for longer than anybody waits.
    Throttled,
    /// The connection was refused, or the server says before it does anything that it cannot.
    Failed,
    /// Success, and nothing was stored.
    Swallowed,
    /// A read answers with what was there that many writes ago.
    Stale(usize),
    /// Somebody else was faster.
    Edit(Edit),
}

/// How controllers behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controllers {
    /// Done before anybody can look.
    AtOnce,
    /// One object at a time, with that many calls of anybody in between.
    Slow(usize),
}

/// What one run meets.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// By number of the call.
    pub faults: BTreeMap<usize, Fault>,
    /// Milliseconds before and after the effect of each call, over and over; none is no time at all.
    pub delays: Vec<(u64, u64)>,
}

/// Who wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    Process(String),
    Controllers,
    Others,
}

/// One write that had an effect.
#[derive(Clone, Debug)]
pub struct Moment {
    pub by: By,
    pub change: Arc<Change>,
    /// The object before and after.
    pub before: Option<Arc<Value>>,
    pub after: Option<Arc<Value>>,
    /// Everything, afterwards.
    pub state: State,
    pub at: Instant,
}

/// One call, as the process made it.
#[derive(Clone, Debug)]
pub struct Call {
    pub by: String,
    pub number: usize,
    pub asked: Asked,
    /// When it was sent.
    pub begun: Instant,
    /// What was answered, once it was.
    pub answered: Option<Result<(), Option<Why>>>,
}

#[derive(Clone, Debug)]
pub enum Asked {
    Read,
    May,
    Perform(Arc<Change>),
}

/// The cluster.
pub struct Simulated(Mutex<World>);

struct World {
    state: State,
    /// What lists answer with, by kind; made when it is asked for.
    lists: BTreeMap<Kind, State>,
    controllers: Controllers,
    /// Calls since the last turn of a slow controller.
    idle: usize,
    /// Objects made so far: each has another uid.
    born: usize,
    /// Calls of anybody so far.
    turns: usize,
    /// Writes that come true at that turn, although nobody waits for them.
    late: Vec<(usize, String, Change)>,
    moments: Vec<Moment>,
    calls: Vec<Call>,
    start: State,
    touched: usize,
}

/// A number that grows with every write, whatever is deleted: what etcd calls its revision. `State` takes the next
/// version from what is there, so something has to be there.
pub fn revision() -> Key {
    Key::namespaced(Kind::ConfigMap, "kube-system", "revision")
}

pub fn change(key: &Key, op: Op) -> Change {
    Change::bare(key.clone(), op, "simulated")
}

impl Simulated {
    /// A cluster that holds this; all kinds were listed.
    pub fn new(state: &State, controllers: Controllers) -> Arc<Simulated> {
        let key = revision();
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": key.name, "namespace": key.namespace}});
        let state = state.after(&change(&key, Op::Create { object }));
        Arc::new(Simulated(Mutex::new(World {
            start: state.clone(),
            state,
            lists: BTreeMap::new(),
            controllers,
            idle: 0,
            born: 0,
            turns: 0,
            late: Vec::new(),
            moments: Vec::new(),
            calls: Vec::new(),
            touched: 0,
        })))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another run of hostguard.
    pub fn process(self: &Arc<Simulated>, name: &str, script: Script) -> Process {
        Process {
            cluster: self.clone(),
            name: name.to_string(),
            script,
            calls: AtomicUsize::new(0),
            dead: AtomicBool::new(false),
            died: Notify::new(),
            flying: Mutex::new(BTreeMap::new()),
        }
    }

    /// Everything that is there now, without what only this cluster needs.
    pub fn state(&self) -> State {
        self.world().state.without(&revision())
    }

    /// Every write that had an effect, in its order.
    pub fn moments(&self) -> Vec<Moment> {
        self.world().moments.clone()
    }

    /// Every call, in the order in which they were sent.
    pub fn calls(&self) -> Vec<Call> {
        self.world().calls.clone()
    }

    /// Somebody else does something, while no call is under way.
    pub fn edit(&self, edit: Edit) {
        self.world().edit(edit);
    }

    /// Nothing is under way any more: late writes land, and controllers are done.
    pub fn calm(&self) {
        let mut world = self.world();
        world.controllers = Controllers::AtOnce;
        for (_, name, change) in std::mem::take(&mut world.late) {
            let _ = world.perform(&By::Process(name), &change); // one that comes too late is refused
        }
        world.settle(usize::MAX);
    }
}

impl World {
    /// Time passes: what is late comes true, controllers do something.
    fn turn(&mut self) {
        self.turns += 1;
        let (due, late) = std::mem::take(&mut self.late)
            .into_iter()
            .partition(|(at, ..)| *at <= self.turns);
        self.late = late;
        for (_, name, change) in due {
            let _ = self.perform(&By::Process(name), &change); // one that comes too late is refused
        }
        self.idle += 1;
        if let Controllers::Slow(calls) = self.controllers
            && self.idle > calls
        {
            self.settle(1);
        }
    }

    /// What an API server checks and does.
    fn perform(&mut self, by: &By, asked: &Change) -> Result<Option<Value>, Refusal> {
        let key = &asked.key;
        let refuse = |why, what: String| Err(Refusal { why, message: what });
        let of = |object: &Value, field: &str| object["metadata"][field].clone();
        let there = self.state.present(key).map(Cow::into_owned);
        let op = match (&asked.op, &there) {
            (Op::Create { .. }, Some(_)) => return refuse(Why::Changed, format!("{key} already exists")),
            (Op::Update { .. } | Op::Delete { .. }, None) => return refuse(Why::Gone, format!("{key} not found")),
            (Op::Create { object }, None) => {
                let home = Key::cluster(Kind::Namespace, key.namespace.clone());
                if key.kind.api().namespaced && self.state.present(&home).is_none() {
                    return refuse(Why::Gone, format!("namespaces {:?} not found", key.namespace));
                }
                Op::Create {
                    object: self.newborn(object),
                }
            }
            (Op::Update { before, patch }, Some(there)) => {
                if of(before, "resourceVersion") != of(there, "resourceVersion") {
                    return refuse(Why::Changed, format!("{key}: the object has been modified"));
                }
                let mut after = there.clone();
                merge(&mut after, patch);
                if bare(&after) == bare(there) {
                    return Ok(Some(after)); // nothing is stored, and the version stays
                }
                asked.op.clone()
            }
            (Op::Delete { before }, Some(there)) => {
                let same = ["uid", "resourceVersion"]
                    .iter()
                    .all(|field| of(before, field) == of(there, field));
                if !same {
                    return refuse(Why::Changed, format!("{key}: the precondition does not hold"));
                }
                let held = there["metadata"]["finalizers"]
                    .as_array()
                    .is_some_and(|all| !all.is_empty());
                match (held, &there["metadata"]["deletionTimestamp"]) {
                    (false, _) => asked.op.clone(),
                    (true, Value::Null) => Op::Update {
                        before: there.clone().into(),
                        patch: json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
                    },
                    (true, _) => return Ok(Some(there.clone())),
                }
            }
        };
        let written = Change { op, ..asked.clone() };
        self.write(by, &written);
        if self.controllers == Controllers::AtOnce {
            let answer = self.state.present(key).map(Cow::into_owned);
            self.settle(usize::MAX);
            return Ok(answer);
        }
        self.idle = 0;
        Ok(self.state.present(key).map(Cow::into_owned))
    }

    /// What a server makes of an object that is to be created: a uid that none had, and nothing that only it may set.
    fn newborn(&mut self, object: &Value) -> Value {
        let mut object = object.clone();
        self.born += 1;
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.retain(|field, _| !SET_BY_SERVER.contains(&field.as_str()));
            metadata.insert("uid".into(), json!(format!("uid-made-{}", self.born)));
        }
        object
    }

    fn write(&mut self, by: &By, change: &Change) {
        let before = self.state.present(&change.key).map(Cow::into_owned);
        self.state.write(change);
        self.record(by, change, before);
    }

    fn record(&mut self, by: &By, change: &Change, before: Option<Value>) {
        let of_revision = Op::Update {
            before: Value::Null.into(),
            patch: json!({"data": {"writes": self.moments.len().to_string()}}),
        };
        self.state.write(&self::change(&revision(), of_revision));
        self.lists.remove(&change.key.kind);
        self.moments.push(Moment {
            by: by.clone(),
            change: Arc::new(change.clone()),
            before: before.map(Arc::new),
            after: self.state.present(&change.key).map(Cow::into_owned).map(Arc::new),
            state: self.state.clone(),
            at: Instant::now(),
        });
    }

    /// Controllers bring so many objects to what they should be.
    fn settle(&mut self, most: usize) {
        self.idle = 0;
        let settled = self.state.settled();
        if most == usize::MAX && self.controllers == Controllers::AtOnce && settled == self.state {
            return;
        }
        let kinds = Kind::ALL
            .into_iter()
            .filter(|kind| State::is_settled_by(*kind) && *kind != Kind::Pod);
        let mut left = most;
        for kind in kinds {
            let objects = |state: &State| -> BTreeMap<Key, Value> {
                let listed = state.list(kind).into_iter().flatten();
                listed.map(|(key, object)| (key.clone(), object.into_owned())).collect()
            };
            let (there, wanted) = (objects(&self.state), objects(&settled));
            let keys: BTreeSet<&Key> = there.keys().chain(wanted.keys()).collect();
            for key in keys {
                let op = match (there.get(key), wanted.get(key)) {
                    (None, Some(object)) => Op::Create {
                        object: self.newborn(object),
                    },
                    (Some(before), None) => Op::Delete {
                        before: before.clone().into(),
                    },
                    (Some(before), Some(after)) if before != after => Op::Update {
                        before: before.clone().into(),
                        patch: patch(before, after),
                    },
                    _ => continue,
                };
                if left == 0 {
                    return;
                }
                left -= 1;
                self.write(&By::Controllers, &change(key, op));
            }
        }
    }

    /// What a list of this kind answers.
    fn list(&mut self, kind: Kind, namespace: &str) -> State {
        let state = &self.state;
        let list = self.lists.entry(kind).or_insert_with(|| listed(state, kind, namespace));
        list.clone()
    }

    fn read(&mut self, scope: &Scope, ago: usize) -> State {
        let mut answer = State::new(self.state.facts.clone());
        let kinds = scope.kinds.iter().filter(|kind| !kind.cloud());
        if ago > 0 && !self.moments.is_empty() {
            let past = self.moments.len().checked_sub(ago + 1);
            let past = past.map_or(&self.start, |at| &self.moments[at].state);
            for kind in kinds {
                answer.merge(listed(past, *kind, &scope.inventory_namespace));
            }
            return answer;
        }
        for kind in kinds {
            answer.merge(self.list(*kind, &scope.inventory_namespace));
        }
        answer
    }

    fn edit(&mut self, edit: Edit) {
        self.touched += 1;
        let Some(change) = edited(&self.state, edit, self.touched) else {
            return;
        };
        let change = match change.op {
            Op::Create { object } => Change {
                op: Op::Create {
                    object: self.newborn(&object),
                },
                key: change.key,
                ..change
            },
            _ => change,
        };
        self.write(&By::Others, &change);
        if self.controllers == Controllers::AtOnce {
            self.settle(usize::MAX);
        }
    }
}

/// One kind of a state, as a server lists it: ConfigMaps in one namespace, and only those with the label.
fn listed(state: &State, kind: Kind, namespace: &str) -> State {
    let mut one = State::new(state.facts.clone());
    let labelled = |object: &Value, label: &str| object["metadata"]["labels"].get(label).is_some();
    let shown = |key: &Key, object: &Value| match kind {
        Kind::ConfigMap => key.namespace == namespace && labelled(object, INVENTORY_LABEL),
        Kind::Run => key.namespace == namespace && labelled(object, RUN_LABEL),
        Kind::Lease => key.namespace == namespace,
        _ => true,
    };
    let objects = match kind {
        Kind::Pod => Vec::new(),
        _ => {
            let all = state.list(kind).into_iter().flatten();
            all.filter(|(key, object)| shown(key, object))
                .map(|(_, object)| object.into_owned())
                .collect()
        }
    };
    one.listed(kind, objects).expect("what is there has names");
    one
}

/// The merge patch that makes one object of the other.
fn patch(before: &Value, after: &Value) -> Value {
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        return after.clone();
    };
    let mut made = json!({});
    for (name, value) in after {
        match before.get(name) {
            Some(there) if there == value => {}
            Some(there) => made[name] = patch(there, value),
            None => made[name] = value.clone(),
        }
    }
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        made[name] = Value::Null;
    }
    made
}

/// A server keeps no empty maps of labels and annotations.
fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|_, value| !value.as_object().is_some_and(serde_json::Map::is_empty));
    }
    object
}

/// One run of hostguard: a provider until it is killed.
pub struct Process {
    cluster: Arc<Simulated>,
    name: String,
    script: Script,
    calls: AtomicUsize,
    dead: AtomicBool,
    died: Notify,
    /// Writes that were sent and had no effect yet.
    flying: Mutex<BTreeMap<usize, Arc<Change>>>,
}

impl Process {
    /// Comes when the process is killed.
    pub async fn died(&self) {
        self.died.notified().await;
    }

    fn by(&self) -> By {
        By::Process(self.name.clone())
    }

    fn flying(&self) -> MutexGuard<'_, BTreeMap<usize, Arc<Change>>> {
        self.flying.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is dead waits for ever.
    async fn alive(&self) {
        if self.dead.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    /// Kills the process: writes in flight land or do not.
    pub async fn crash(&self, flying: Landing) {
        self.dead.store(true, Ordering::SeqCst);
        let flying_now = std::mem::take(&mut *self.flying());
        {
            let mut world = self.cluster.world();
            for change in flying_now.into_values() {
                world.land(&self.name, (*change).clone(), flying);
            }
        }
        self.died.notify_one();
        std::future::pending::<()>().await;
    }

    /// One call: its time, its effect or its fault, its time.
    async fn call<T>(
        &self,
        asked: Asked,
        effect: impl FnOnce(&mut World, Option<Fault>) -> Result<T, Option<Why>>,
    ) -> Result<T, Option<Why>> {
        self.alive().await;
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        let fault = self.script.faults.get(&number).copied();
        let delays = match self.script.delays.len() {
            0 => (0, 0),
            many => self.script.delays[number % many],
        };
        let log = {
            let mut world = self.cluster.world();
            world.calls.push(Call {
                by: self.name.clone(),
                number,
                asked: asked.clone(),
                begun: Instant::now(),
                answered: None,
            });
            world.calls.len() - 1
        };
        if let Asked::Perform(change) = &asked {
            self.flying().insert(number, change.clone());
        }
        pass(delays.0).await;
        self.alive().await;
        if let Some(Fault::Crash { after: false, flying }) = fault {
            self.crash(flying).await;
        }
        self.flying().remove(&number);
        let answer = {
            let mut world = self.cluster.world();
            world.turn();
            if let Some(Fault::Edit(edit)) = fault {
                world.edit(edit);
            }
            effect(&mut world, fault)
        };
        if let Some(Fault::Crash { after: true, flying }) = fault {
            self.crash(flying).await;
        }
        pass(delays.1).await;
        self.alive().await;
        self.cluster.world().calls[log].answered = Some(answer.as_ref().map(|_| ()).map_err(|why| *why));
        answer
    }
}

async fn pass(milliseconds: u64) {
    if milliseconds > 0 {
        sleep(Duration::from_millis(milliseconds)).await;
    }
}

impl World {
    fn land(&mut self, name: &str, change: Change, landing: Landing) {
        match landing {
            Landing::Never => {}
            Landing::Now => {
                let _ = self.perform(&By::Process(name.to_string()), &change); // nobody hears the answer
            }
            Landing::After(calls) => {
                let at = self.turns + calls;
                self.late.push((at, name.to_string(), change));
            }
        }
    }
}

fn unreachable(what: &str) -> Error {
    Error::failed(codes::UNREACHABLE, format!("the cluster does not answer: {what}"))
}

#[async_trait]
impl Provider for Process {
    fn owns(&self, kind: Kind) -> bool {
        !kind.cloud()
    }

    async fn read(&self, scope: &Scope) -> Result<State, Error> {
        let effect = |world: &mut World, fault: Option<Fault>| match fault {
            Some(Fault::Lost(_) | Fault::Throttled | Fault::Failed) => Err(None),
            Some(Fault::Stale(ago)) => Ok(world.read(scope, ago)),
            _ => Ok(world.read(scope, 0)),
        };
        self.call(Asked::Read, effect).await.map_err(|_| unreachable("list"))
    }

    async fn may(&self, _: &[&Change]) -> Result<Vec<Denied>, Error> {
        let effect = |_: &mut World, fault: Option<Fault>| match fault {
            Some(Fault::Lost(_) | Fault::Throttled | Fault::Failed) => Err(None),
            _ => Ok(Vec::new()),
        };
        self.call(Asked::May, effect)
            .await
            .map_err(|_| unreachable("selfsubjectaccessreviews"))
    }

    async fn perform(&self, change: &Change) -> Result<Option<Value>, Refusal> {
        let mut said = String::new();
        let effect = |world: &mut World, fault: Option<Fault>| {
            let mut refuse = |why: Why, what: &str| {
                said = what.to_string();
                Err(Some(why))
            };
            match fault {
                Some(Fault::Lost(landing)) => {
                    world.land(&self.name, change.clone(), landing);
                    return refuse(Why::AnswerLost, "no answer came");
                }
                Some(Fault::Throttled) => return refuse(Why::Throttled, "too many requests"),
                Some(Fault::Failed) => return refuse(Why::Other, "internal error"),
                Some(Fault::Swallowed) => return refuse(Why::Swallowed, "success, but it is not as written"),
                Some(Fault::Conflict) => world.bump(&change.key),
                _ => {}
            }
            world.perform(&self.by(), change).map_err(|refusal| {
                said = refusal.message;
                Some(refusal.why)
            })
        };
        let answer = self.call(Asked::Perform(Arc::new(change.clone())), effect).await;
        answer.map_err(|why| Refusal {
            why: why.expect("each refusal of a write has a class"),
            message: said,
        })
    }
}

impl World {
    /// Somebody else gives the object another version.
    fn bump(&mut self, key: &Key) {
        let Some(before) = self.state.present(key).map(Cow::into_owned) else {
            return;
        };
        self.touched += 1;
        let patch = json!({"metadata": {"annotations": {TOUCHED: self.touched.to_string()}}});
        self.write(
            &By::Others,
            &change(
                key,
                Op::Update {
                    before: before.into(),
                    patch,
                },
            ),
        );
    }
}

//! Many steps in one look: a thousand worlds that differ in one policy each are not built one by one.

use super::{Frame, Next, Search};
use crate::changes::Change;
use crate::sequence::batch::{Batch, Company};

/// Steps of one leap.
const LEAP: usize = 1_024;

/// How many steps are looked at in one.
#[derive(Debug, Default)]
pub(super) struct Stride {
    /// Of the last leap, if it went well.
    last: usize,
    /// Leaps in vain so far, and steps to be looked at one by one before the next leap.
    in_vain: u32,
    patience: usize,
}

impl Stride {
    /// Few at first: where the first of them is worse, the others were looked at in vain.
    fn next(&mut self) -> usize {
        if self.patience > 0 {
            self.patience -= 1;
            return 1;
        }
        (self.last * 4).clamp(4, LEAP)
    }

    fn went_well(&mut self, steps: usize) {
        (self.last, self.in_vain) = (steps, 0);
    }

    fn failed(&mut self) {
        self.in_vain = (self.in_vain + 1).min(8);
        (self.last, self.patience) = (0, 1 << self.in_vain);
    }
}

impl Search<'_> {
    /// The steps that would go next one after another, as far as no flow meets two of them. Whatever part of them is made,
    /// each flow fares as before them or as after, so where both are no worse than the ends, so is all in between.
    pub(super) fn leap(&mut self, frame: &Frame) -> Option<Next> {
        if self.touches.is_empty() {
            return None;
        }
        let most = self.stride.next();
        let leap = if most > 1 { self.apart(frame, most) } else { Vec::new() };
        if leap.len() < 2 {
            return None;
        }
        self.looked += 1;
        let steps: Vec<&Change> = leap.iter().map(|at| &self.steps[*at]).collect();
        let (prefix, effect) = frame.prefix.with(&steps);
        let (opens, closes) = (
            effect.opens || frame.prefix.pending.opens,
            effect.closes || frame.prefix.pending.closes,
        );
        // One by one, some of them might have to wait for others.
        let turns = !effect.none() && opens && closes;
        let at_once = self.look(leap[0], &prefix, &effect, &frame.accepted);
        match at_once {
            Ok((accepted, interrupts)) if !turns && accepted.is_empty() && interrupts.is_empty() => {
                self.stride.went_well(leap.len());
                let plain = |at: &usize| self.step(*at, false, Vec::new(), Vec::new());
                Some(Next {
                    steps: leap.iter().map(plain).collect(),
                    at: leap,
                    prefix,
                    accepted: Vec::new(),
                })
            }
            Ok(_) | Err(_) => {
                self.stride.failed();
                None
            }
        }
    }

    /// The longest start of what would be taken one by one in which no flow meets two steps.
    fn apart(&self, frame: &Frame, most: usize) -> Vec<usize> {
        let mut batch = Batch::new(Company::of(frame.prefix.state()));
        let (mut done, mut leap) = (frame.done.clone(), Vec::new());
        let mut candidates = self.candidates(&done).into_iter();
        while leap.len() < most
            && let Some(at) = candidates.next()
        {
            let step = &self.steps[at];
            if frame.prefix.keeps_back(step) || !batch.take(step, &self.touches[at]) {
                break;
            }
            leap.push(at);
            done.insert(done.partition_point(|other| *other < at), at);
            if self.frees[at] {
                candidates = self.candidates(&done).into_iter();
            }
        }
        leap
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::changes::{FieldChange, Op};
    use crate::resource::{FieldPath, Key, Kind, Origin};
    use crate::sequence::footprint::Around;
    use crate::sequence::prefix::Prefix;
    use crate::sequence::{Step, Terms, judge};
    use crate::state::{ClusterFacts, Serving, State};

    const NODES: usize = 6;

    fn policy(name: &str, spec: Value) -> Value {
        json!({
            "apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy",
            "metadata": {"name": name, "uid": name, "resourceVersion": "1"}, "spec": spec,
        })
    }

    /// On the way in, normal or before DNAT, about one port.
    fn some_policy(name: &str, random: &mut fastrand::Rng) -> Value {
        let action = if random.bool() { "Allow" } else { "Deny" };
        let role = random.u8(0..3);
        let mut spec = json!({
            "tier": "default", "order": random.u8(..), "selector": format!("role == 'r{role}'"), "types": ["Ingress"],
            "ingress": [{"action": action, "protocol": "TCP", "destination": {"ports": [random.u16(8_000..8_020)]}}],
        });
        if random.u8(0..3) == 0 {
            spec["preDNAT"] = true.into();
            spec["applyOnForward"] = true.into();
        }
        policy(name, spec)
    }

    fn cluster(policies: Vec<Value>) -> State {
        let mut state = State::new(ClusterFacts {
            name: "c".into(),
            serving: Serving::Native,
            felix_fields: None,
            snapshot: None,
        });
        let labels = |at: usize| json!({"role": format!("r{}", at % 2)});
        let node = |at: usize| {
            let address = format!("10.0.0.{}", at + 1);
            json!({
                "kind": "Node", "metadata": {"name": format!("n{at}"), "uid": "u", "labels": labels(at)}, "spec": {},
                "status": {"addresses": [{"type": "InternalIP", "address": address}]},
            })
        };
        let endpoint = |at: usize| {
            let address = format!("10.0.0.{}", at + 1);
            json!({
                "kind": "HostEndpoint", "metadata": {"name": format!("n{at}-all"), "labels": labels(at)},
                "spec": {
                    "node": format!("n{at}"), "interfaceName": "*", "expectedIPs": [address],
                    "profiles": ["projectcalico-default-allow"],
                },
            })
        };
        for kind in Kind::ALL.into_iter().filter(|kind| !kind.cloud()) {
            let objects = match kind {
                Kind::Node => (0..NODES).map(node).collect(),
                Kind::HostEndpoint => (0..NODES).map(endpoint).collect(),
                Kind::GlobalNetworkPolicy => policies.clone(),
                _ => Vec::new(),
            };
            state.listed(kind, objects).expect("made objects have names");
        }
        state
    }

    fn bare(key: Key, op: Op) -> Change {
        Change::bare(key, op, "test")
    }

    /// Policies come, go and change, and host endpoints get another role.
    fn some_steps(state: &State, there: &[Value], random: &mut fastrand::Rng) -> Vec<Change> {
        let mut steps = Vec::new();
        for at in 0..random.usize(4..14) {
            let name = format!("new{at:02}");
            let object = some_policy(&name, random);
            steps.push(bare(
                Key::cluster(Kind::GlobalNetworkPolicy, name),
                Op::Create { object },
            ));
        }
        for old in there {
            let name = old["metadata"]["name"].as_str().expect("a name");
            let key = Key::cluster(Kind::GlobalNetworkPolicy, name);
            let before = Arc::new(state.present(&key).expect("it is there").clone());
            match random.u8(0..4) {
                0 | 1 => steps.push(bare(key, Op::Delete { before })),
                2 => {
                    let path = FieldPath::dotted("spec.ingress");
                    let change = FieldChange {
                        before: path.get(&before).cloned(),
                        after: Some(some_policy(name, random)["spec"]["ingress"].clone()),
                        path,
                        taken_from: None,
                    };
                    let origin = Origin {
                        section: "test".into(),
                        span: None,
                    };
                    steps.push(Change::update(key, before, vec![change], origin));
                }
                _ => {}
            }
        }
        if random.bool() {
            let key = Key::cluster(Kind::HostEndpoint, "n0-all");
            let before = Arc::new(state.present(&key).expect("it is there").clone());
            let patch = json!({"metadata": {"labels": {"role": "r2"}}});
            steps.push(bare(key, Op::Update { before, patch }));
        }
        steps
    }

    /// The order, and how many looks it took; with leaps or without.
    fn found(state: &State, steps: &[Change], leaps: bool) -> (Option<Vec<String>>, usize) {
        let end = state.after_all(steps).settled();
        let start = Prefix::start(state, &end);
        let (terms, around) = (Terms::default(), Around::new([state, start.settled_state(), &end]));
        let judge = judge(state, &end, &terms, &start);
        let mut search = Search::new(&judge, steps, &[]);
        if leaps {
            search = search.in_leaps(&around);
        }
        let words = |step: &Step| format!("{} {} {:?}", step.change.key, step.wait, step.interrupts);
        let (found, looked) = search.counted(&start);
        (found.ok().map(|steps| steps.iter().map(words).collect()), looked)
    }

    #[test]
    fn leaps_lead_to_the_order_that_is_found_one_by_one() {
        let (mut orders, mut stuck, mut looks) = (0, 0, [0, 0]);
        for seed in 0..150 {
            let mut random = fastrand::Rng::with_seed(seed);
            let there: Vec<Value> = (0..6).map(|at| some_policy(&format!("old{at}"), &mut random)).collect();
            let state = cluster(there.clone());
            let steps = some_steps(&state, &there, &mut random);
            let (plain, leaping) = (found(&state, &steps, false), found(&state, &steps, true));
            assert_eq!(plain.0, leaping.0, "seed {seed}");
            if plain.0.is_some() {
                orders += 1;
                looks = [looks[0] + plain.1, looks[1] + leaping.1];
            } else {
                stuck += 1;
            }
        }
        eprintln!(
            "{orders} orders, {stuck} stuck, {} looks one by one, {} in leaps",
            looks[0], looks[1]
        );
        assert!(
            orders > 50 && looks[1] * 4 < looks[0] * 3,
            "{orders} orders, {looks:?} looks"
        );
    }

    #[test]
    fn hundreds_of_policies_are_a_few_looks() {
        let state = cluster(Vec::new());
        let step = |at: u16| {
            let name = format!("p{at:03}");
            let rule = json!({"action": "Deny", "protocol": "TCP", "destination": {"ports": [20_000 + at]}});
            let spec = json!({"tier": "default", "order": at, "selector": "role == 'r1'", "types": ["Ingress"], "ingress": [
                rule,
            ]});
            let object = policy(&name, spec);
            bare(Key::cluster(Kind::GlobalNetworkPolicy, name), Op::Create { object })
        };
        // All but these ports are open before and after.
        let allow = json!({"tier": "default", "order": 1_000, "selector": "role == 'r1'", "types": ["Ingress"],
            "ingress": [{"action": "Allow"}]});
        let object = policy("last", allow);
        let mut steps = vec![bare(
            Key::cluster(Kind::GlobalNetworkPolicy, "last"),
            Op::Create { object },
        )];
        steps.extend((0..300).map(step));
        let (order, looks) = found(&state, &steps, true);
        assert_eq!(order.expect("it is safe").len(), steps.len());
        assert!(looks < 30, "{looks} looks");
    }
}

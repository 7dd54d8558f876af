//! The search for an order: greedy by key, with bounded backtracking.
//!
//! Among the steps whose needs are met, the first by key that makes nothing worse goes next; steps that only arm what
//! is there already (labels, automatic host endpoints) come after the others, and what opens the firewall in front of it
//! all comes last. An order without interruptions is looked for first.

mod alike;
mod leap;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::batch::Touch;
use super::footprint::Around;
use super::judge::{Breach, Findings, Judge, Wrong};
use super::prefix::{Effect, Prefix};
use super::{Acceptance, Step};
use crate::changes::{Change, Op};
use crate::resource::{Key, Kind};
use alike::Alike;
use leap::Stride;

/// Prefixes that can be gone back to.
const DEPTH: usize = 64;
/// Steps that are looked at in vain before the search is given up, beyond four for each step.
const SPARE: usize = 200;

/// Why no order was found: the longest prefix that was, and what is wrong with each step that could come next.
#[derive(Clone, Debug)]
pub struct Stuck {
    pub done: Vec<Key>,
    pub blocked: Vec<Blocked>,
    /// What the plan forbids would be so once everything is done, whatever the order.
    pub broken_promise: bool,
    /// The number of steps that are looked at ran out before every order was looked at.
    pub gave_up: bool,
}

/// A step that would make it worse.
#[derive(Clone, Debug)]
pub struct Blocked {
    pub step: Key,
    pub breaches: Vec<Breach>,
    /// Another step that is left, after which this one would be safe.
    pub safe_after: Option<Key>,
}

pub struct Search<'a> {
    judge: &'a Judge<'a>,
    steps: &'a [Change],
    accepted: &'a [Acceptance],
    needs: Vec<Vec<usize>>,
    /// Whether another step needs this one.
    frees: Vec<bool>,
    interruptions: bool,
    /// What each step can influence; empty where steps are looked at one by one.
    touches: Vec<Touch>,
    stride: Stride,
    alike: Alike,
    looked: usize,
    dead: BTreeSet<Vec<usize>>,
    best: Option<(Vec<usize>, Prefix, Vec<Breach>)>,
}

/// Steps that may go next, and what comes of them.
struct Next {
    /// In their order.
    at: Vec<usize>,
    prefix: Prefix,
    steps: Vec<Step>,
    accepted: Vec<Breach>,
}

struct Frame {
    prefix: Prefix,
    done: Vec<usize>,
    steps: Vec<Rc<Step>>,
    accepted: Vec<Breach>,
    /// Candidates that were tried already.
    tried: BTreeSet<usize>,
    /// Many at once were.
    leapt: bool,
}

impl<'a> Search<'a> {
    pub fn new(judge: &'a Judge<'a>, steps: &'a [Change], accepted: &'a [Acceptance]) -> Search<'a> {
        let places: BTreeMap<&Key, usize> = steps.iter().enumerate().map(|(i, step)| (&step.key, i)).collect();
        let needs = steps.iter().map(|step| {
            let needs = step.needs.iter().filter_map(|need| places.get(&need.key).copied());
            needs.collect()
        });
        let needs: Vec<Vec<usize>> = needs.collect();
        let mut frees = vec![false; steps.len()];
        for on in needs.iter().flatten() {
            frees[*on] = true;
        }
        Search {
            judge,
            steps,
            accepted,
            needs,
            frees,
            interruptions: false,
            touches: Vec::new(),
            stride: Stride::default(),
            alike: Alike::default(),
            looked: 0,
            dead: BTreeSet::new(),
            best: None,
        }
    }

    /// Looks at many steps at once where no flow meets two of them.
    pub fn in_leaps(mut self, around: &Around<'_>) -> Search<'a> {
        self.touches = self.steps.iter().map(|step| around.touch(step)).collect();
        self
    }

    /// An order of all steps.
    pub fn run(&mut self, start: &Prefix) -> Result<Vec<Step>, Stuck> {
        if self.judge.breaks_a_promise_in_the_end() {
            return Err(Stuck {
                done: Vec::new(),
                blocked: Vec::new(),
                broken_promise: true,
                gave_up: false,
            });
        }
        let cut = self.cut_in_the_end();
        if !cut.is_empty() {
            return Err(self.blame(start, &cut)); // whatever the order is
        }
        if let Some(steps) = self.attempt(start) {
            return Ok(steps);
        }
        let gave_up = self.exhausted();
        self.interruptions = true;
        (self.looked, self.dead, self.best) = (0, BTreeSet::new(), None);
        match self.attempt(start) {
            Some(steps) => Ok(steps),
            None => Err(self.stuck(gave_up)),
        }
    }

    /// What must stay and is cut off once everything is done, other than what is accepted at some step.
    fn cut_in_the_end(&self) -> Vec<Breach> {
        let cut = self.judge.locked_out_in_the_end();
        let accepted = |breach: &Breach| self.accepted.iter().any(|a| a.packet == breach.packet_text());
        cut.into_iter().filter(|breach| !accepted(breach)).collect()
    }

    /// The first step, in the order given, after which each of these is cut off.
    fn blame(&self, start: &Prefix, cut: &[Breach]) -> Stuck {
        let (mut prefix, mut left) = (start.clone(), cut.to_vec());
        let mut blocked = Vec::new();
        for step in self.steps {
            let (next, effect) = prefix.with(&[step]);
            prefix = next;
            if !effect.differs {
                continue;
            }
            let now = self.judge.judge(&prefix.settled.world).locked_out;
            let (cut_here, later) = left
                .into_iter()
                .partition(|breach| now.iter().any(|other| other.covers(breach) || breach.covers(other)));
            left = later;
            if !cut_here.is_empty() {
                blocked.push(Blocked {
                    step: step.key.clone(),
                    breaches: cut_here,
                    safe_after: None,
                });
            }
        }
        if let (Some(step), false) = (self.steps.last(), left.is_empty()) {
            blocked.push(Blocked {
                step: step.key.clone(),
                breaches: left,
                safe_after: None,
            });
        }
        Stuck {
            done: Vec::new(),
            blocked,
            broken_promise: false,
            gave_up: false,
        }
    }

    fn exhausted(&self) -> bool {
        self.looked > SPARE + self.steps.len() * 4
    }

    fn attempt(&mut self, start: &Prefix) -> Option<Vec<Step>> {
        let mut stack = vec![Frame {
            prefix: start.clone(),
            done: Vec::new(),
            steps: Vec::new(),
            accepted: Vec::new(),
            tried: BTreeSet::new(),
            leapt: false,
        }];
        while let Some(frame) = stack.last_mut() {
            if frame.done.len() == self.steps.len() {
                let frame = stack.pop().expect("looked at above");
                return Some(frame.steps.iter().map(|step| (**step).clone()).collect());
            }
            if self.best.as_ref().is_none_or(|best| best.0.len() < frame.done.len()) {
                self.best = Some((frame.done.clone(), frame.prefix.clone(), frame.accepted.clone()));
            }
            match self.next(frame) {
                Some(next) => {
                    match next.at.as_slice() {
                        [one] => drop(frame.tried.insert(*one)),
                        _ => frame.leapt = true,
                    }
                    let mut done = frame.done.clone();
                    done.extend(&next.at);
                    done.sort_unstable();
                    if self.dead.contains(&done) {
                        continue;
                    }
                    let mut steps = frame.steps.clone();
                    steps.extend(next.steps.into_iter().map(Rc::new));
                    let mut accepted = frame.accepted.clone();
                    accepted.extend(next.accepted);
                    stack.push(Frame {
                        prefix: next.prefix,
                        done,
                        steps,
                        accepted,
                        tried: BTreeSet::new(),
                        leapt: false,
                    });
                    if stack.len() > DEPTH {
                        stack.remove(0);
                    }
                }
                None => {
                    let frame = stack.pop().expect("looked at above");
                    self.dead.insert(frame.done);
                    if self.exhausted() {
                        return None;
                    }
                }
            }
        }
        None
    }

    /// The first step that may go next and was not tried from here, or many at once.
    fn next(&mut self, frame: &Frame) -> Option<Next> {
        let candidates = self.candidates(&frame.done);
        if !self.touches.is_empty() && !frame.leapt && frame.tried.is_empty() {
            let many = self.alike(frame, &candidates);
            let many = many.or_else(|| self.leap(frame, &candidates));
            if many.is_some() {
                return many;
            }
        }
        for at in candidates {
            if frame.tried.contains(&at) {
                continue;
            }
            if let Ok(next) = self.judged(&frame.prefix, &frame.accepted, at) {
                self.remember(frame, &next);
                return Some(next);
            }
        }
        None
    }

    /// Steps whose needs are met, in the order in which they are tried.
    fn candidates(&self, done: &[usize]) -> Vec<usize> {
        let ready = self.ready(done);
        let (opening, others): (Vec<usize>, Vec<usize>) = ready.into_iter().partition(|at| opens(&self.steps[*at]));
        let (arming, plain): (Vec<usize>, Vec<usize>) = others.into_iter().partition(|at| arms(&self.steps[*at]));
        plain.into_iter().chain(arming).chain(opening).collect()
    }

    /// Steps whose needs are met, in the order given.
    fn ready(&self, done: &[usize]) -> Vec<usize> {
        let is_done = |at: &usize| done.binary_search(at).is_ok();
        (0..self.steps.len())
            .filter(|at| !is_done(at) && self.needs[*at].iter().all(is_done))
            .collect()
    }

    /// One more step, with a wait before it where it must not come sooner; or what would be wrong.
    fn judged(&mut self, prefix: &Prefix, accepted: &[Breach], at: usize) -> Result<Next, Vec<Breach>> {
        self.looked += 1;
        let (unwaited, effect) = prefix.with(&[&self.steps[at]]);
        if !prefix.keeps_back(&self.steps[at]) {
            let turns = (effect.opens && prefix.pending.closes) || (effect.closes && prefix.pending.opens);
            let at_once = self.look(at, &unwaited, &effect, accepted);
            if let Ok((accepted, interrupts)) = &at_once
                && !turns
            {
                return Ok(self.take(at, unwaited, false, accepted.clone(), interrupts.clone()));
            }
            if prefix.pending.none() && prefix.is_settled() {
                return Err(at_once.err().unwrap_or_default());
            }
        }
        let (waited, effect) = prefix.waited().with(&[&self.steps[at]]);
        let (accepted, interrupts) = self.look(at, &waited, &effect, accepted)?;
        let mut waited = waited;
        waited.pending = effect;
        Ok(self.take(at, waited, true, accepted, interrupts))
    }

    /// What has to be accepted, and what is interrupted; or what is wrong.
    fn look(
        &mut self,
        at: usize,
        prefix: &Prefix,
        effect: &Effect,
        accepted: &[Breach],
    ) -> Result<(Vec<Breach>, Vec<Breach>), Vec<Breach>> {
        if !effect.differs {
            return Ok((Vec::new(), Vec::new())); // as good as the prefix before
        }
        let judged = |world| match effect.none() {
            true => self.judge.judge_beside_nodes(world),
            // where nothing moves it is no worse than the prefix before was
            false => self.judge.judge_on(world, Some(&effect.ports)),
        };
        let mut findings = judged(&prefix.written.world);
        if !prefix.is_settled() {
            let settled = judged(&prefix.settled.world);
            findings = Findings {
                exposed: [findings.exposed, settled.exposed].concat(),
                locked_out: [findings.locked_out, settled.locked_out].concat(),
                interrupted: [findings.interrupted, settled.interrupted].concat(),
                forbidden: [findings.forbidden, settled.forbidden].concat(),
            };
        }
        let key = self.steps[at].key.to_string();
        let (mut now, mut wrong): (Vec<Breach>, Vec<Breach>) = (Vec::new(), Vec::new());
        for breach in findings.worst() {
            if accepted.iter().chain(&now).any(|known| known.covers(breach)) {
                continue;
            }
            let packet = breach.packet_text();
            if self.accepted.iter().any(|a| a.step == key && a.packet == packet) {
                now.push(breach.clone());
            } else if !wrong.iter().any(|known| known.covers(breach)) {
                wrong.push(breach.clone());
            }
        }
        if !self.interruptions {
            wrong.extend(findings.interrupted.iter().cloned());
        }
        if wrong.is_empty() {
            Ok((now, findings.interrupted))
        } else {
            Err(wrong)
        }
    }

    /// These steps at once, with the waits before them, if none is worse, interrupts or has to be accepted.
    fn several(
        &mut self,
        frame: &Frame,
        (at, waits): (Vec<usize>, &[bool]),
        prefix: Prefix,
        effect: &Effect,
    ) -> Option<Next> {
        let (accepted, interrupts) = self.look(at[0], &prefix, effect, &frame.accepted).ok()?;
        let plain = accepted.is_empty() && interrupts.is_empty();
        let step = |(at, wait): (&usize, &bool)| self.step(*at, *wait, Vec::new(), Vec::new());
        plain.then(|| Next {
            steps: at.iter().zip(waits).map(step).collect(),
            at,
            prefix,
            accepted,
        })
    }

    fn take(&self, at: usize, prefix: Prefix, wait: bool, accepted: Vec<Breach>, interrupts: Vec<Breach>) -> Next {
        Next {
            at: vec![at],
            prefix,
            steps: vec![self.step(at, wait, accepted.clone(), interrupts)],
            accepted,
        }
    }

    fn step(&self, at: usize, wait: bool, accepted: Vec<Breach>, interrupts: Vec<Breach>) -> Step {
        Step {
            change: self.steps[at].clone(),
            wait,
            together: false,
            accepted,
            interrupts,
        }
    }

    fn stuck(&mut self, gave_up: bool) -> Stuck {
        let gave_up = gave_up || self.exhausted();
        let Some((done, prefix, accepted)) = self.best.take() else {
            return Stuck {
                done: Vec::new(),
                blocked: Vec::new(),
                broken_promise: false,
                gave_up,
            };
        };
        let ready = self.ready(&done);
        let mut blocked = Vec::new();
        for &at in &ready {
            let Err(breaches) = self.judged(&prefix, &accepted, at) else {
                continue;
            };
            let breaches: Vec<Breach> = breaches
                .into_iter()
                .filter(|breach| breach.wrong != Wrong::Interrupted)
                .collect();
            let helps = |other: &usize| {
                let (with, _) = prefix.with(&[&self.steps[*other]]);
                let (both, _) = with.waited().with(&[&self.steps[at]]);
                let findings = self.judge.judge(&both.settled.world);
                !findings
                    .worst()
                    .any(|found| breaches.iter().any(|breach| breach.covers(found)))
            };
            let safe_after = ready.iter().find(|other| **other != at && helps(other));
            blocked.push(Blocked {
                step: self.steps[at].key.clone(),
                safe_after: safe_after.map(|other| self.steps[*other].key.clone()),
                breaches,
            });
        }
        Stuck {
            done: done.iter().map(|at| self.steps[*at].key.clone()).collect(),
            blocked,
            broken_promise: false,
            gave_up,
        }
    }

    /// What of these steps can still be made once one of them failed: those that open nothing and make nothing worse.
    /// The others with the reason.
    pub fn rest(mut self, start: &Prefix) -> (Vec<Step>, Vec<(Key, String)>) {
        self.interruptions = true;
        let (mut prefix, mut accepted) = (start.clone(), Vec::new());
        let (mut done, mut steps): (Vec<usize>, Vec<Step>) = (Vec::new(), Vec::new());
        loop {
            let ready = self.ready(&done);
            let found = ready.into_iter().find_map(|at| {
                let next = self.judged(&prefix, &accepted, at).ok()?;
                let (_, effect) = prefix.with(&[&self.steps[at]]);
                (!effect.opens).then_some(next)
            });
            let Some(next) = found else { break };
            done.extend(&next.at);
            done.sort_unstable();
            prefix = next.prefix;
            accepted.extend(next.accepted);
            steps.extend(next.steps);
        }
        let left = (0..self.steps.len()).filter(|at| done.binary_search(at).is_err());
        let why = "an earlier step failed, and without it this one is not known to be safe";
        let left = left.map(|at| (self.steps[at].key.clone(), why.to_string()));
        (steps, left.collect())
    }
}

/// Steps that switch on what is there already: they come last among those that can.
fn arms(step: &Change) -> bool {
    let adds = step.origin.section != "inventory";
    adds && matches!(
        step.key.kind,
        Kind::Node | Kind::KubeControllersConfiguration | Kind::HostEndpoint
    )
}

/// Steps that let packets in at the firewall in front of the nodes.
fn opens(step: &Change) -> bool {
    step.key.kind == Kind::SecurityGroupRule && !matches!(step.op, Op::Delete { .. })
}

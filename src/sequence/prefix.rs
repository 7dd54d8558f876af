//! What is there after the first steps of an order: as written, and once controllers have caught up.

use std::cell::OnceCell;
use std::rc::Rc;

use super::Ends;
use super::unseen::decides_nothing;
use crate::changes::Change;
use crate::exposure::{Known, MoveWay, Ports, Reading, World, moves};
use crate::net::PortSet;
use crate::resource::Kind;
use crate::state::{Object, State};

/// A state with its world.
#[derive(Clone)]
pub struct Seen {
    /// Made when it is first asked for, where it is what controllers make of another.
    state: OnceCell<Rc<State>>,
    pub world: Rc<Known>,
}

impl Seen {
    fn new(state: State, world: Rc<Known>) -> Seen {
        Seen {
            state: OnceCell::from(Rc::new(state)),
            world,
        }
    }
}

/// What is there after some steps.
#[derive(Clone)]
pub struct Prefix {
    /// As written since controllers were last waited for, with endpoints of Services that were made.
    pub written: Seen,
    /// Once they have caught up.
    pub settled: Seen,
    /// Whether steps since then opened or closed something.
    pub pending: Effect,
    /// Whether controllers have something to do about host endpoints that is no step's doing, and were not waited for.
    behind: bool,
    shared: Rc<Shared>,
}

/// One for all prefixes.
struct Shared {
    /// What was read of objects.
    reading: Rc<Reading>,
    /// Once everything is done; most of what controllers make on the way is in it.
    end: State,
}

impl Shared {
    fn settled(&self, state: &State) -> State {
        state.settled_like(&self.end)
    }
}

/// What a step does to who can reach what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    pub opens: bool,
    pub closes: bool,
    /// Whether anything that decides about packets is another than before: failsafe ports and what nodes send out of
    /// the cluster may be, without any packet to a node faring otherwise.
    pub differs: bool,
    /// Where packets to nodes fare otherwise; none of a protocol that has none.
    pub ports: Ports,
}

impl Effect {
    /// Whether every packet to a node fares as before.
    pub fn none(&self) -> bool {
        !self.opens && !self.closes
    }

    fn and(mut self, other: Effect) -> Effect {
        for (protocol, ports) in other.ports {
            let entry = self.ports.entry(protocol).or_insert_with(PortSet::empty);
            *entry = entry.union(&ports);
        }
        Effect {
            ports: self.ports,
            opens: self.opens || other.opens,
            closes: self.closes || other.closes,
            differs: self.differs || other.differs,
        }
    }

    fn between(before: &Rc<Known>, after: &Rc<Known>) -> Effect {
        let moves = moves(before, after);
        let mut ports = Ports::new();
        for moved in &moves {
            let entry = ports.entry(moved.subject.protocol).or_insert_with(PortSet::empty);
            *entry = entry.union(&moved.subject.ports);
        }
        Effect {
            opens: moves.iter().any(|m| m.way == MoveWay::More),
            closes: moves.iter().any(|m| m.way == MoveWay::Less),
            differs: !Rc::ptr_eq(before, after),
            ports,
        }
    }
}

impl Prefix {
    /// Before the first step.
    pub fn start(ends: &Ends<'_>) -> Prefix {
        let state = ends.state;
        let shared = Rc::new(Shared {
            reading: ends.reading.clone(),
            end: ends.end.clone(),
        });
        let written = Seen::new(state.clone(), ends.before.clone());
        let mut prefix = Prefix {
            settled: settle(&written, state, &shared),
            written,
            pending: Effect::default(),
            behind: false,
            shared,
        };
        prefix.behind = endpoints(state) != endpoints(prefix.settled_state());
        prefix
    }

    /// What was read of objects so far.
    pub fn reading(&self) -> &Reading {
        &self.shared.reading
    }

    pub fn state(&self) -> &Rc<State> {
        self.written.state.get().expect("what is written is there")
    }

    pub fn settled_state(&self) -> &Rc<State> {
        let settled = || Rc::new(self.shared.settled(self.state()));
        self.settled.state.get_or_init(settled)
    }

    /// The same once controllers have been waited for.
    pub fn waited(&self) -> Prefix {
        self.settled_state();
        Prefix {
            written: self.settled.clone(),
            settled: self.settled.clone(),
            pending: Effect::default(),
            behind: false,
            shared: self.shared.clone(),
        }
    }

    /// Whether that step must wait for controllers that are behind from the start: while they act, it would be in between
    /// what is judged, even where it makes no difference to what was there or to what they make of it.
    pub fn keeps_back(&self, step: &Change) -> bool {
        self.behind && !decides_nothing(self.state(), step)
    }

    /// Whether controllers have nothing to do that decides about packets.
    pub fn is_settled(&self) -> bool {
        Rc::ptr_eq(&self.written.world, &self.settled.world)
    }

    /// With these steps more, and what they do.
    pub fn with(&self, steps: &[&Change]) -> (Prefix, Effect) {
        let state = self.state().after_all(steps.iter().copied());
        // without endpoints nobody reaches it, so this is the worse of the two
        let state = if steps.iter().any(|step| step.key.kind == Kind::Service) {
            state.served_like(&self.shared.end)
        } else {
            state
        };
        // Steps that decide nothing each before them all do not do so together either: none is on what others look at.
        let (written, settled) = if steps.iter().all(|step| decides_nothing(self.state(), step)) {
            let settled = Seen {
                state: OnceCell::new(),
                world: self.settled.world.clone(),
            };
            (Seen::new(state, self.written.world.clone()), settled)
        } else {
            let written = next(&self.written, &state, &self.shared);
            let settled = if steps.iter().any(|step| State::is_settled_by(step.key.kind)) {
                settle(&written, &state, &self.shared)
            } else {
                self.settled_with(steps, &written, &state)
            };
            (written, settled)
        };
        let effect = self.effect(&written, &settled);
        let prefix = Prefix {
            written,
            settled,
            pending: self.pending.clone().and(effect.clone()),
            behind: self.behind,
            shared: self.shared.clone(),
        };
        (prefix, effect)
    }

    /// What controllers make of it with steps that they do not look at: the same as without, and the steps.
    fn settled_with(&self, steps: &[&Change], written: &Seen, state: &State) -> Seen {
        let before = self.settled_state();
        if **before == **self.state() {
            return Seen::new(state.clone(), written.world.clone());
        }
        next(&self.settled, &before.after_all(steps.iter().copied()), &self.shared)
    }

    fn effect(&self, written: &Seen, settled: &Seen) -> Effect {
        let mut effect = Effect::default();
        if !Rc::ptr_eq(&written.world, &self.written.world) {
            effect = effect.and(Effect::between(&self.written.world, &written.world));
        }
        let alike = Rc::ptr_eq(&self.settled.world, &self.written.world) && Rc::ptr_eq(&settled.world, &written.world);
        if !alike && !Rc::ptr_eq(&settled.world, &self.settled.world) {
            effect = effect.and(Effect::between(&self.settled.world, &settled.world));
        }
        effect
    }
}

/// Host endpoints as they are; none where they could not be read, which controllers leave as they are.
fn endpoints(state: &State) -> Vec<&Object> {
    state.kept(Kind::HostEndpoint).into_iter().flatten().collect()
}

/// The state's world; the one before if nothing that decides differs.
fn next(before: &Seen, state: &State, shared: &Shared) -> Seen {
    let world = Known::next(&before.world, World::of_state_with(state, &shared.reading));
    Seen::new(state.clone(), world)
}

fn settle(written: &Seen, state: &State, shared: &Shared) -> Seen {
    let settled = shared.settled(state);
    if settled == *state {
        return written.clone();
    }
    next(written, &settled, shared)
}

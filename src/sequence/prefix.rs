//! What is there after the first steps of an order: as written, and once controllers have caught up.

use std::rc::Rc;

use crate::changes::{Change, Op};
use crate::exposure::{Known, MoveWay, World, moves, same};
use crate::resource::Kind;
use crate::state::State;

/// A state with its world.
#[derive(Clone)]
pub struct Seen {
    pub state: Rc<State>,
    pub world: Rc<Known>,
}

/// What is there after some steps.
#[derive(Clone)]
pub struct Prefix {
    /// As written since controllers were last waited for.
    pub written: Seen,
    /// Once they have caught up.
    pub settled: Seen,
    /// Whether steps since then opened or closed something.
    pub pending: Effect,
}

/// What a step does to who can reach what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    pub opens: bool,
    pub closes: bool,
    /// Whether anything that decides about packets is another than before: failsafe ports and what nodes send out of
    /// the cluster may be, without any packet to a node faring otherwise.
    pub differs: bool,
}

impl Effect {
    /// Whether every packet to a node fares as before.
    pub fn none(self) -> bool {
        !self.opens && !self.closes
    }

    fn and(self, other: Effect) -> Effect {
        Effect {
            opens: self.opens || other.opens,
            closes: self.closes || other.closes,
            differs: self.differs || other.differs,
        }
    }

    fn between(before: &Rc<Known>, after: &Rc<Known>) -> Effect {
        let moves = moves(before, after);
        Effect {
            opens: moves.iter().any(|m| m.way == MoveWay::More),
            closes: moves.iter().any(|m| m.way == MoveWay::Less),
            differs: !Rc::ptr_eq(before, after),
        }
    }
}

impl Seen {
    pub fn new(state: State) -> Seen {
        Seen {
            world: Rc::new(Known::new(World::of_state(&state))),
            state: Rc::new(state),
        }
    }
}

impl Prefix {
    /// Before the first step.
    pub fn start(state: &State) -> Prefix {
        let written = Seen::new(state.clone());
        Prefix {
            settled: settle(&written),
            written,
            pending: Effect::default(),
        }
    }

    /// The same once controllers have been waited for.
    pub fn waited(&self) -> Prefix {
        Prefix {
            written: self.settled.clone(),
            settled: self.settled.clone(),
            pending: Effect::default(),
        }
    }

    /// Whether controllers have something to do.
    pub fn is_settled(&self) -> bool {
        Rc::ptr_eq(&self.written.state, &self.settled.state)
    }

    /// With one more step, and what that step does.
    pub fn with(&self, step: &Change) -> (Prefix, Effect) {
        let state = self.written.state.after(step);
        if decides_nothing(step) {
            let written = Seen {
                state: Rc::new(state),
                world: self.written.world.clone(),
            };
            let settled = if self.is_settled() {
                written.clone()
            } else {
                Seen {
                    state: Rc::new(self.settled.state.after(step)),
                    world: self.settled.world.clone(),
                }
            };
            let pending = self.pending;
            return (
                Prefix {
                    written,
                    settled,
                    pending,
                },
                Effect::default(),
            );
        }
        let written = next(&self.written, state);
        let settled = settle(&written);
        let mut effect = Effect::default();
        if !Rc::ptr_eq(&written.world, &self.written.world) {
            effect = effect.and(Effect::between(&self.written.world, &written.world));
        }
        let alike = Rc::ptr_eq(&self.settled.world, &self.written.world) && Rc::ptr_eq(&settled.world, &written.world);
        if !alike {
            effect = effect.and(Effect::between(&self.settled.world, &settled.world));
        }
        let pending = self.pending.and(effect);
        (
            Prefix {
                written,
                settled,
                pending,
            },
            effect,
        )
    }
}

/// The state's world; the one before if nothing that decides differs.
fn next(before: &Seen, state: State) -> Seen {
    let world = World::of_state(&state);
    let world = if same(&before.world, &world) {
        before.world.clone()
    } else {
        Rc::new(Known::new(world))
    };
    Seen {
        state: Rc::new(state),
        world,
    }
}

fn settle(written: &Seen) -> Seen {
    let state = written.state.settled();
    if state == *written.state {
        return written.clone();
    }
    next(written, state)
}

/// Whether a step is on something that no packet ever meets.
fn decides_nothing(step: &Change) -> bool {
    match step.key.kind {
        Kind::ConfigMap | Kind::ClusterInformation | Kind::Deployment | Kind::StatefulSet => true,
        // a namespace that is made has no pods
        Kind::Namespace => matches!(step.op, Op::Create { .. }),
        _ => false,
    }
}

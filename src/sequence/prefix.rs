//! What is there after the first steps of an order: as written, and once controllers have caught up.

use std::rc::Rc;

use crate::changes::{Change, Op};
use crate::exposure::{Known, MoveWay, Reading, World, moves, same};
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
    /// What was read of objects; one for all prefixes.
    reading: Rc<Reading>,
}

/// What a step does to who can reach what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    pub opens: bool,
    pub closes: bool,
}

impl Effect {
    pub fn none(self) -> bool {
        !self.opens && !self.closes
    }

    fn and(self, other: Effect) -> Effect {
        Effect {
            opens: self.opens || other.opens,
            closes: self.closes || other.closes,
        }
    }

    fn between(before: &Known, after: &Known) -> Effect {
        let moves = moves(before, after);
        Effect {
            opens: moves.iter().any(|m| m.way == MoveWay::More),
            closes: moves.iter().any(|m| m.way == MoveWay::Less),
        }
    }
}

impl Prefix {
    /// Before the first step.
    pub fn start(state: &State) -> Prefix {
        let reading = Rc::new(Reading::default());
        let written = Seen {
            world: Rc::new(Known::new(World::of_state_with(state, &reading))),
            state: Rc::new(state.clone()),
        };
        Prefix {
            settled: settle(&written, &reading),
            written,
            pending: Effect::default(),
            reading,
        }
    }

    /// The same once controllers have been waited for.
    pub fn waited(&self) -> Prefix {
        Prefix {
            written: self.settled.clone(),
            settled: self.settled.clone(),
            pending: Effect::default(),
            reading: self.reading.clone(),
        }
    }

    /// Whether controllers have something to do.
    pub fn is_settled(&self) -> bool {
        Rc::ptr_eq(&self.written.state, &self.settled.state)
    }

    /// With one more step, and what that step does.
    pub fn with(&self, step: &Change) -> (Prefix, Effect) {
        let state = self.written.state.after(step);
        let (written, settled) = if decides_nothing(step) {
            let written = Seen {
                state: Rc::new(state),
                world: self.written.world.clone(),
            };
            let settled = self.settled_alike(&written, |settled| Seen {
                state: Rc::new(settled.state.after(step)),
                world: settled.world.clone(),
            });
            (written, settled)
        } else if State::is_settled_by(step.key.kind) {
            let written = next(&self.written, state, &self.reading);
            let settled = settle(&written, &self.reading);
            (written, settled)
        } else {
            // Controllers look at nothing of the step: they make the same of what is there with it as without it.
            let written = next(&self.written, state, &self.reading);
            let settled = self.settled_alike(&written, |settled| {
                next(settled, settled.state.after(step), &self.reading)
            });
            (written, settled)
        };
        let effect = self.effect(&written, &settled);
        let prefix = Prefix {
            written,
            settled,
            pending: self.pending.and(effect),
            reading: self.reading.clone(),
        };
        (prefix, effect)
    }

    /// What was settled before with a step that controllers do not look at.
    fn settled_alike(&self, written: &Seen, with: impl FnOnce(&Seen) -> Seen) -> Seen {
        if self.is_settled() {
            written.clone()
        } else {
            with(&self.settled)
        }
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

/// The state's world; the one before if nothing that decides differs.
fn next(before: &Seen, state: State, reading: &Reading) -> Seen {
    let world = World::of_state_with(&state, reading);
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

fn settle(written: &Seen, reading: &Reading) -> Seen {
    let state = written.state.settled();
    if state == *written.state {
        return written.clone();
    }
    next(written, state, reading)
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

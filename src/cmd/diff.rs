//! `hostguard diff BASE HEAD`: what the change of a plan does, apart from what differs anyway. Writes nothing, anywhere.

use super::plan::accepted;
use super::prepare::{Intent, Prepared, name_inputs, names, predicted};
use super::{Console, Failure, files, world};
use crate::cli::{DiffArgs, Format};
use crate::compile;
use crate::diff::{End, Options, between};
use crate::error::{Error, Kind, Style, codes, show_error};
use crate::exposure::{self, Reading, World};
use crate::plan::Plan;
use crate::render::diff::{self as render, Diff, Side as Shown};
use crate::state::State;

/// One of the two plans and where it leads to.
struct Side<'a> {
    file: &'a str,
    intent: Intent,
    prepared: Prepared,
    /// Once all steps are written, before controllers see them.
    written: State,
}

pub(super) async fn run(args: &DiffArgs, console: &mut dyn Console) -> Result<u8, Failure> {
    let [base, head] = intents(args)?;
    let (of_base, of_head) = (base.offline()?, head.offline()?);
    for (intent, plan) in [(&base, &of_base), (&head, &of_head)] {
        files::show_warnings(intent, plan, console);
    }
    let provider = world::open(&args.world, of_head.name()).await?;
    let options = Options {
        inventory_namespace: args.world.inventory_namespace.clone(),
        ..Options::default()
    };
    let scope = |plan: &Plan| compile::scope(plan, &options.inventory_namespace);
    let scope = world::scope(&args.world, scope(&of_base).with(scope(&of_head)));
    let state = provider.read(&scope).await?;
    let accepted = accepted(&args.risk);
    let side = |file, intent: Intent| -> Result<Side, Failure> {
        let mut prepared = intent.prepare(&state, &options)?;
        prepared.look(&intent, &state, &accepted);
        Ok(Side {
            file,
            written: state.after_all(&prepared.difference.set.steps),
            intent,
            prepared,
        })
    };
    let (mut base, mut head) = (side(&args.base, base)?, side(&args.head, head)?);
    accepts_nothing(&mut base, &mut head)?;
    let differs = show(&state, &base, &head, args.output.format, console);
    let mut unreadable = base.prepared.unreadable(&state);
    for error in head.prepared.unreadable(&state) {
        if !unreadable.contains(&error) {
            unreadable.push(error);
        }
    }
    for error in &unreadable {
        console.story(&show_error(None, error, Style::default()));
    }
    match unreadable.is_empty() {
        false => Ok(Kind::Failed.exit_code()),
        true if differs && args.detailed_exitcode => Ok(2),
        true => Ok(0),
    }
}

/// What is accepted is accepted of both plans, and need be met by one of them only.
fn accepts_nothing(base: &mut Side, head: &mut Side) -> Result<(), Failure> {
    let taken = |side: &mut Side| -> Vec<Error> {
        let unused = |error: &mut Error| error.code == codes::ACCEPTED_NOTHING;
        side.prepared.refused.extract_if(.., unused).collect()
    };
    let (of_base, of_head) = (taken(base), taken(head));
    // a plan that gets no order may have met it all the same; one without steps meets nothing
    let may_meet = |side: &Side, unused: &[Error], error: &Error| {
        let steps = !side.prepared.difference.set.steps.is_empty();
        steps && (side.prepared.sequence.is_none() || !unused.contains(error))
    };
    let met = |error: &&Error| may_meet(base, &of_base, error) || may_meet(head, &of_head, error);
    let mut unmet: Vec<Error> = Vec::new();
    for error in of_base.iter().chain(&of_head).filter(|error| !met(error)) {
        if !unmet.contains(error) {
            unmet.push(error.clone());
        }
    }
    match unmet.is_empty() {
        true => Ok(()),
        false => Err(Failure::World(None, unmet)),
    }
}

/// The two plans; where a file is empty, the nothing that `destroy` wants of the other.
fn intents(args: &DiffArgs) -> Result<[Intent; 2], Failure> {
    let plan = |loaded| Intent::Plan(Box::new(loaded));
    let nothing = |of: &Intent| -> Result<Intent, Failure> {
        let other = of.offline()?;
        let mut plan = Plan::nothing(other.name());
        plan.cluster = other.cluster;
        Ok(Intent::Nothing {
            plan: Box::new(plan),
            source: None,
        })
    };
    match files::load_two(&args.base, &args.head, &args.inputs)? {
        [Some(base), Some(head)] => Ok([plan(base), plan(head)]),
        [None, Some(head)] => {
            let head = plan(head);
            Ok([nothing(&head)?, head])
        }
        [Some(base), None] => {
            let base = plan(base);
            let head = nothing(&base)?;
            Ok([base, head])
        }
        [None, None] => {
            let message = format!("{} and {} are both empty", args.base, args.head);
            let error = Error::failed(codes::ONE_PLAN, message);
            Err(error.fix("name a plan as BASE, as HEAD, or both").into())
        }
    }
}

/// Prints the answer, and tells whether there is a difference.
fn show(state: &State, base: &Side, head: &Side, format: Format, console: &mut dyn Console) -> bool {
    let (before, after) = (base.settled(state), head.settled(state));
    let reading = Reading::default();
    let world = World::of_state_with(&before, &reading);
    let world_after = World::of_state_with(&after, &reading);
    let rows = exposure::difference(&world, &world_after);
    let inside = exposure::difference_inside(&world, &world_after);
    let mut named = names(Some((&base.prepared.plan, &base.prepared.lookups)), &after);
    // the head's value where both have the name
    name_inputs(&mut named, &head.prepared.plan, &head.prepared.lookups);
    let assumptions = world_after.assumptions();
    let between = between(&base.end(), &head.end());
    let diff = Diff {
        facts: &state.facts,
        cluster_uid: state.cluster_uid(),
        base: base.shown(),
        head: head.shown(),
        between: &between,
        exposure: &rows,
        inside: inside.as_deref(),
        names: &named,
        assumptions: &assumptions,
    };
    console.answer(&match format {
        Format::Json => render::json(&diff),
        Format::Markdown => render::markdown(&diff),
        Format::Text | Format::Sarif | Format::Junit | Format::Html => render::text(&diff),
    });
    diff.differs()
}

impl Side<'_> {
    /// Once controllers have caught up as well.
    fn settled(&self, state: &State) -> State {
        predicted(state, &self.prepared.difference)
    }

    fn end(&self) -> End<'_> {
        End {
            set: &self.prepared.difference.set,
            graph: &self.prepared.compiled.graph,
            state: &self.written,
        }
    }

    fn shown(&self) -> Shown<'_> {
        let prepared = &self.prepared;
        Shown {
            file: self.file,
            plan: prepared.plan.name(),
            wanted: matches!(self.intent, Intent::Plan(_)),
            source: self.intent.source(),
            findings: &prepared.findings,
            lowered: prepared.plan.gates.lowered().collect(),
            refused: &prepared.refused,
            conflicts: &prepared.difference.conflicts,
            unreadable: &prepared.difference.set.unreadable,
            expectations: &prepared.promised.outcomes,
            kept: &prepared.promised.kept,
        }
    }
}

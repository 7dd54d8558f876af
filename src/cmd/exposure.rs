//! `hostguard exposure` and `hostguard why`: who can reach what, live or predicted, and the walk of one packet.

use super::packet::{in_front, packet};
use super::prepare::{Intent, Prepared, names, places, predicted};
use super::{Console, Failure, files, world};
use crate::cli::{ExposureArgs, Format, Looked as LookedArgs, Why};
use crate::compile;
use crate::diff::Options;
use crate::escape::escape;
use crate::exposure::{self, By, Exposure, Reach, World, walk};
use crate::plan::Plan;
use crate::render::walk::Ending;
use crate::render::{self, Looked, Names};
use crate::state::State;

/// What there is to look at.
struct Looking {
    state: State,
    names: Names,
    /// The heading of the answer.
    about: String,
    /// The plan that leads there.
    after: Option<After>,
}

/// The way from what is there to what a plan leaves.
struct After {
    intent: Intent,
    before: State,
    prepared: Prepared,
}

async fn look(looked: &LookedArgs, after: Option<&String>, console: &mut dyn Console) -> Result<Looking, Failure> {
    let namespace = looked.world.inventory_namespace.clone();
    let Some(file) = after else {
        let provider = world::open(&looked.world, "exposure").await?;
        let scope = compile::scope(&Plan::nothing("exposure"), &namespace);
        let state = provider.read(&world::scope(&looked.world, scope)).await?;
        let about = format!("cluster {} as it is", state.facts.name);
        return Ok(Looking {
            names: names(None, &state),
            state,
            about,
            after: None,
        });
    };
    let intent = Intent::Plan(Box::new(files::load(file, &looked.inputs)?));
    let offline = intent.offline()?;
    files::show_warnings(&intent, &offline, console);
    let provider = world::open(&looked.world, offline.name()).await?;
    let scope = world::scope(&looked.world, compile::scope(&offline, &namespace));
    let state = provider.read(&scope).await?;
    let options = Options {
        inventory_namespace: namespace,
        ..Options::default()
    };
    let prepared = intent.prepare(&state, &options)?;
    let about = format!("cluster {} as plan {} leaves it", state.facts.name, offline.name());
    let end = predicted(&state, &prepared.difference);
    Ok(Looking {
        names: names(Some((&prepared.plan, &prepared.lookups)), &end),
        state: end,
        about,
        after: Some(After {
            intent,
            before: state,
            prepared,
        }),
    })
}

impl Looking {
    fn looked(&self) -> Looked<'_> {
        Looked {
            cluster: &self.state.facts.name,
            plan: self.after.as_ref().map(|after| after.prepared.plan.name()),
        }
    }
}

pub(super) async fn exposure(args: &ExposureArgs, console: &mut dyn Console) -> Result<u8, Failure> {
    let mut looking = look(&args.looked, args.looked.after.as_ref(), console).await?;
    if args.output.format == Format::Html
        && let Some(after) = &mut looking.after
    {
        after.prepared.look(&after.intent, &after.before, &[]);
        let answer = after.prepared.answer("plan", &after.intent, &after.before);
        console.answer(&render::html::plan(&answer));
        return Ok(0);
    }
    let world = World::of_state(&looking.state);
    let exposure = exposure::exposure(&world);
    let inside = exposure::exposure_inside(&world);
    let answer = match args.output.format {
        Format::Text | Format::Sarif | Format::Junit => text(&looking, &world, &exposure, inside.as_deref()),
        Format::Markdown => {
            let (looked, assumed) = (looking.looked(), world.assumptions());
            let rows = (exposure.reaches.as_slice(), inside.as_deref());
            render::markdown::exposed(&looked, rows, &looking.names, &assumed)
        }
        Format::Html => {
            let (looked, assumed) = (looking.looked(), world.assumptions());
            let rows = (exposure.reaches.as_slice(), inside.as_deref());
            render::html::exposed(&looked, rows, &looking.names, &assumed)
        }
        Format::Json => {
            let (looked, assumed) = (looking.looked(), world.assumptions());
            let rows = (exposure.reaches.as_slice(), inside.as_deref());
            render::exposure_json(&looked, rows, &looking.names, &assumed)
        }
    };
    console.answer(&answer);
    Ok(0)
}

fn text(looking: &Looking, world: &World, outside: &Exposure, inside: Option<&[Reach]>) -> String {
    let head = format!("exposure of {}", escape(&looking.about));
    let assumed = render::exposure::assumed(&world.assumptions());
    let assumed = render::wrap(&assumed, 74).join("\n    ");
    let rows = render::exposure::exposure(outside, &looking.names);
    let inside = inside.map(|rows| render::exposure::exposure_inside(rows, &looking.names));
    let inside = inside.unwrap_or_else(|| format!("  {}\n", render::exposure::TOO_MANY));
    format!("{head}\n  {assumed}\nfor sources outside it\n{rows}for clients in it\n{inside}")
}

pub(super) async fn why(args: &Why, console: &mut dyn Console) -> Result<u8, Failure> {
    let after = args.plan.as_ref().or(args.looked.after.as_ref());
    let looking = look(&args.looked, after, console).await?;
    let packet = packet(&args.from, &args.to, &looking.state)?;
    let world = World::of_state(&looking.state);
    let walked = walk(&world, &packet);
    let front = in_front(&looking.state, packet.destination);
    let ending = Ending::of(&walked, &packet, &world.receiver(&packet), front.as_deref());
    let place = |by: &By| {
        let after = looking.after.as_ref()?;
        places(&after.intent, &after.prepared.plan, &looking.state, by)
    };
    let answer = match args.output.format {
        Format::Text | Format::Markdown | Format::Sarif | Format::Junit | Format::Html => {
            let port = packet.port.map(|port| format!(":{port}")).unwrap_or_default();
            let ends = format!("{} -> {}{port}", packet.source, packet.destination);
            let head = format!("{} {ends}, {}", packet.protocol, looking.about);
            let head = render::wrap(&escape(&head), 80).join("\n  ");
            format!("{head}\n{}", render::walk::walk(&walked, &ending, &place))
        }
        Format::Json => render::walk_json(&looking.looked(), &packet, (&walked, &ending), &place),
    };
    console.answer(&answer);
    Ok(0)
}

//! `hostguard graph`: the resources of a plan, what becomes of each, and why one comes after another. Writes nothing.

use super::prepare::Intent;
use super::{Console, Failure, files, world};
use crate::cli::{Drawn, Graph};
use crate::compile;
use crate::diff::Options;
use crate::render::{graph, svg};

pub(super) async fn run(args: &Graph, console: &mut dyn Console) -> Result<u8, Failure> {
    let intent = Intent::Plan(Box::new(files::load(&args.plan, &args.inputs)?));
    let offline = intent.offline()?;
    files::show_warnings(&intent, &offline, console);
    let provider = world::open(&args.world, offline.name()).await?;
    let namespace = args.world.inventory_namespace.clone();
    let state = provider
        .read(&world::scope(&args.world, compile::scope(&offline, &namespace)))
        .await?;
    let options = Options {
        inventory_namespace: namespace,
        ..Options::default()
    };
    let mut prepared = intent.prepare(&state, &options)?;
    prepared.look(&intent, &state, &[]);
    let drawing = graph::drawing(&prepared.answer("plan", &intent, &state));
    console.answer(&match args.output {
        Drawn::Mermaid => graph::mermaid(&drawing),
        Drawn::Dot => graph::dot(&drawing),
        Drawn::Svg => svg::file(&drawing),
    });
    Ok(0)
}

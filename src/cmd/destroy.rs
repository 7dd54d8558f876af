//! `hostguard destroy`: the same engine, wanting what the record says was there before.

use super::apply::{carry_out, finish_document};
use super::plan::{Asked, accepted, show_intent, words_back};
use super::prepare::Intent;
use super::{Console, Failure, files, world, worst};
use crate::cli::Destroy;
use crate::compile;
use crate::diff::Options;
use crate::plan::Plan;

pub(super) async fn run(args: &Destroy, console: &mut dyn Console) -> Result<u8, Failure> {
    let intent = match (&args.plan, &args.name) {
        (Some(file), _) => files::nothing_of(file)?,
        (None, name) => Intent::Nothing {
            plan: Box::new(Plan::nothing(name.as_deref().unwrap_or_default())),
            source: None,
        },
    };
    let plan = intent.offline()?;
    let provider = world::open(&args.world, plan.name()).await?;
    let options = Options {
        inventory_namespace: args.world.inventory_namespace.clone(),
        ..Options::default()
    };
    let scope = world::scope(&args.world, compile::scope(&plan, &options.inventory_namespace));
    let asked = Asked {
        intent,
        provider,
        scope,
        options,
        accepted: accepted(&args.risk),
        words: Some(words_back(
            &["destroy"],
            (args.plan.as_ref(), args.name.as_ref()),
            &args.world,
            &args.risk,
        )),
    };
    let shown = show_intent("destroy", asked, &args.output, console).await?;
    if args.dry_run {
        finish_document(&shown, "destroy", (None, &[]), args.output.format, console);
        return Ok(worst(shown.blocked.into_iter()).map_or(0, |kind| kind.exit_code()));
    }
    carry_out(shown, "destroy", &args.doing, args.output.format, console).await
}

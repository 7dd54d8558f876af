//! `hostguard history`: the runs of a plan that are kept; `hostguard revert`: takes one of them back.

use super::apply::{carry_out, check_deletions, finish_document};
use super::carry::runs_of;
use super::plan::{Asked, accepted, show_intent, words_back};
use super::prepare::Intent;
use super::{Console, Failure, files, world};
use crate::cli::{Format, History, Named, Revert};
use crate::compile;
use crate::diff::Options;
use crate::error::{Error, codes};
use crate::history::Past;
use crate::inventory::Unusable;
use crate::plan::Plan;
use crate::provider::Provider;
use crate::render;
use crate::resource::Kind;
use crate::state::{Observed, Scope};

pub(super) async fn run(args: &History, console: &mut dyn Console) -> Result<u8, Failure> {
    let plan = named(&args.plan)?;
    let plan = plan.name();
    let provider = world::open(&args.world, plan).await?;
    let runs = runs(provider.as_ref(), &args.world.inventory_namespace, plan).await?;
    match args.output.format {
        Format::Json => console.answer(&render::history::json(plan, &runs)),
        _ => console.answer(&render::history::text(plan, &runs)),
    }
    Ok(0)
}

pub(super) async fn revert(args: &Revert, console: &mut dyn Console) -> Result<u8, Failure> {
    let plan = Box::new(named(&args.plan)?);
    let provider = world::open(&args.world, plan.name()).await?;
    let mut runs = runs(provider.as_ref(), &args.world.inventory_namespace, plan.name()).await?;
    let at = find(&runs, plan.name(), &args.run)?;
    let later = runs.split_off(at + 1);
    let run = Box::new(runs.pop().expect("it was found at its place"));
    let options = Options {
        inventory_namespace: args.world.inventory_namespace.clone(),
        ..Options::default()
    };
    let scope = world::scope(&args.world, compile::scope(&plan, &options.inventory_namespace));
    let asked = Asked {
        intent: Intent::Before { plan, run, later },
        provider,
        scope,
        options,
        accepted: accepted(&args.risk),
        words: Some(words_back(
            &["revert", &args.run],
            (args.plan.plan.as_ref(), args.plan.name.as_ref()),
            &args.world,
            &args.risk,
        )),
    };
    let shown = show_intent("revert", asked, &args.output, console).await?;
    if args.dry_run {
        finish_document(&shown, "revert", (None, &[]), args.output.format, console);
        return Ok(super::worst(shown.blocked.into_iter()).map_or(0, |kind| kind.exit_code()));
    }
    check_deletions(&shown, args.allow_delete)?;
    carry_out(shown, "revert", &args.doing, args.output.format, console).await
}

/// The name of a plan, and where it is given by its file, the cluster it is for.
fn named(named: &Named) -> Result<Plan, Failure> {
    match (&named.plan, &named.name) {
        (Some(file), _) => files::nothing_of(file)?.offline(),
        (None, name) => Ok(Plan::nothing(name.as_deref().unwrap_or_default())),
    }
}

/// The runs of a plan, oldest first.
async fn runs(provider: &dyn Provider, namespace: &str, plan: &str) -> Result<Vec<Past>, Failure> {
    let scope = Scope {
        kinds: [Kind::Run].into(),
        inventory_namespace: namespace.to_string(),
        cloud: None,
    };
    let state = provider.read(&scope).await?;
    if let Observed::Unreadable(why) = state.get(&Past::key(namespace, plan, 0)) {
        let error = Error::failed(
            codes::UNREADABLE,
            format!("the runs in namespace {namespace} could not be read: {why}"),
        );
        return Err(Failure::from(error.fix(why.way_out(Kind::Run))));
    }
    let read = |(key, object): (crate::resource::Key, serde_json::Value)| match Past::read(&object) {
        Some(Ok(past)) => Ok(past),
        Some(Err(Unusable::Newer { found })) => Err(unreadable(&key.name, &format!("its format is {found}"))),
        Some(Err(Unusable::Broken(why))) => Err(unreadable(&key.name, &why)),
        None => Err(unreadable(&key.name, "it is no account of a run")),
    };
    runs_of(&state, plan).into_iter().map(read).collect()
}

fn unreadable(name: &str, why: &str) -> Failure {
    let error = Error::failed(
        codes::RUN_UNREADABLE,
        format!("ConfigMap {name} cannot be read as a run"),
    );
    Failure::from(
        error
            .cause(why)
            .fix("restore it, or delete it: only history and `revert` need it"),
    )
}

/// By number, or by the beginning of its change set's id where only one has it.
fn find(runs: &[Past], plan: &str, wanted: &str) -> Result<usize, Failure> {
    let by_id = |past: &Past| {
        let id = past.intent.id.as_str();
        wanted.len() >= 6 && (id.starts_with(wanted) || id.trim_start_matches("sha256:").starts_with(wanted))
    };
    let number = wanted.parse::<u64>().ok();
    let fits = |past: &Past| number == Some(past.intent.number) || (number.is_none() && by_id(past));
    let found: Vec<usize> = (0..runs.len()).filter(|at| fits(&runs[*at])).collect();
    match found.as_slice() {
        [one] => Ok(*one),
        found => {
            let what = if found.is_empty() {
                "no run"
            } else {
                "more than one run"
            };
            let error = Error::failed(codes::NO_SUCH_RUN, format!("{what} of plan {plan} is `{wanted}`"));
            let kept: Vec<String> = runs.iter().map(|past| past.intent.number.to_string()).collect();
            let kept = if kept.is_empty() {
                "none".to_string()
            } else {
                kept.join(", ")
            };
            Err(Failure::from(
                error
                    .cause(format!("kept: {kept}"))
                    .fix(format!("see `hostguard history --name {plan}`")),
            ))
        }
    }
}

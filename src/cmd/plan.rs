//! `hostguard plan`: what would change. Writes nothing, anywhere.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::prepare::{Intent, Prepared};
use super::{Console, Failure, files, saved, world};
use crate::cli::{Format, Output, Plan, Proposal, Risk, World};
use crate::compile;
use crate::diff::Options;
use crate::error::{Kind, Style, show_error};
use crate::escape::escape;
use crate::provider::Provider;
use crate::render::{self, Words};
use crate::sequence::Acceptance;
use crate::state::{Scope, State};

pub(super) async fn run(args: &Plan, console: &mut dyn Console) -> Result<u8, Failure> {
    let saved = args.out.as_deref().map(|file| file.display().to_string());
    let shown = show(&args.proposal, ("plan", saved), console).await?;
    if let Some(file) = &args.out {
        saved::write(file, &shown, args, console)?;
    }
    let changes = !shown.prepared.difference.set.steps.is_empty() || shown.prepared.difference.record.changes();
    let blocked = shown.blocked.iter().map(|kind| kind.exit_code());
    let code = match blocked.min_by_key(|code| rank(*code)) {
        Some(code) => code,
        None if changes && args.detailed_exitcode => 2,
        None => 0,
    };
    // The process ends here; taking thousands of objects apart first would be its last milliseconds.
    std::mem::forget(shown);
    Ok(code)
}

/// When several hold, plan answers with the first of 1, 8, 3.
fn rank(code: u8) -> u8 {
    match code {
        1 => 0,
        8 => 1,
        _ => 2,
    }
}

/// A plan that was read, compared and shown.
pub(super) struct Shown {
    pub intent: Intent,
    pub provider: Arc<dyn Provider>,
    pub scope: Scope,
    pub options: Options,
    pub accepted: Vec<Acceptance>,
    pub state: State,
    pub prepared: Prepared,
    /// Why it cannot be applied; said already.
    pub blocked: Vec<Kind>,
    /// Warnings of the server; said already.
    pub warned: BTreeSet<String>,
}

/// What is asked, and of whom.
pub(super) struct Asked {
    pub intent: Intent,
    pub provider: Arc<dyn Provider>,
    pub scope: Scope,
    pub options: Options,
    pub accepted: Vec<Acceptance>,
    /// The words to ask again with.
    pub words: Option<Words>,
}

/// How to ask for the same again: by the file it is saved in, or by the same words. Not where it came from: what is
/// reviewed on a snapshot is applied to the cluster.
fn words(args: &Proposal, saved: Option<String>) -> Option<Words> {
    if let Some(file) = saved {
        return Some(Words {
            file,
            saved: true,
            ..Words::default()
        });
    }
    let files = args.inputs.files.iter().map(|file| file.display().to_string());
    let mut more = pairs("--force-conflicts", args.force_conflicts.clone());
    more.extend(said(&args.world, &args.risk));
    let from_file = args.plan != "-";
    from_file.then(|| Words {
        file: args.plan.clone(),
        saved: false,
        inputs: [
            pairs("--set", args.inputs.set.clone()),
            pairs("--inputs", files.collect()),
        ]
        .concat(),
        more,
        back: None,
    })
}

/// How to ask for the same again where something is taken back.
pub(super) fn words_back(
    verb: &[&str],
    (file, name): (Option<&String>, Option<&String>),
    world: &World,
    risk: &Risk,
) -> Words {
    let mut back: Vec<String> = ["hostguard"].iter().chain(verb).map(|word| word.to_string()).collect();
    match (file, name) {
        (Some(file), _) => back.push(file.to_string()),
        (None, name) => back.extend(name.into_iter().flat_map(|name| ["--name".to_string(), name.clone()])),
    }
    back.extend(said(world, risk));
    Words {
        back: Some(back),
        ..Words::default()
    }
}

/// What decides about the steps, whatever the verb.
fn said(world: &World, risk: &Risk) -> Vec<String> {
    let accepted = risk.accepted.iter().map(|(step, packet)| format!("{step}={packet}"));
    let mut said = pairs("--accept", accepted.collect());
    if world.inventory_namespace != "hostguard" {
        said.extend(pairs("--inventory-namespace", vec![world.inventory_namespace.clone()]));
    }
    said.extend(world.with_cloud.then(|| "--with-cloud".to_string()));
    said.extend(pairs("--region", world.region.iter().cloned().collect()));
    said
}

fn pairs(option: &str, values: Vec<String>) -> Vec<String> {
    let pair = |value| [option.to_string(), value];
    values.into_iter().flat_map(pair).collect()
}

pub(super) fn accepted(risk: &Risk) -> Vec<Acceptance> {
    let pairs = risk.accepted.iter().cloned();
    pairs.map(|(step, packet)| Acceptance { step, packet }).collect()
}

/// Says once what a server warned of, and where something other than the usual place was asked.
pub(super) fn show_warnings(provider: &dyn Provider, warned: &mut BTreeSet<String>, console: &mut dyn Console) {
    for place in provider.places() {
        if warned.insert(place.clone()) {
            console.story(&format!("asked: {}", escape(&place)));
        }
    }
    for warning in provider.warnings() {
        if !warned.contains(&warning) {
            console.story(&format!("the server warns: {}", escape(&warning)));
            warned.insert(warning);
        }
    }
}

/// Reads the plan and the world, and prints the answer; with the file that it will be saved in.
pub(super) async fn show(
    args: &Proposal,
    (verb, saved): (&'static str, Option<String>),
    console: &mut dyn Console,
) -> Result<Shown, Failure> {
    let intent = Intent::Plan(Box::new(files::load(&args.plan, &args.inputs)?));
    let offline = intent.offline()?;
    files::show_warnings(&intent, &offline, console);
    let provider = world::open(&args.world, offline.name()).await?;
    let options = Options {
        inventory_namespace: args.world.inventory_namespace.clone(),
        force_conflicts: args.force_conflicts.iter().cloned().collect(),
    };
    let scope = world::scope(&args.world, compile::scope(&offline, &options.inventory_namespace));
    let asked = Asked {
        intent,
        provider,
        scope,
        options,
        accepted: accepted(&args.risk),
        words: words(args, saved),
    };
    show_intent(verb, asked, &args.output, console).await
}

/// The answer. What apply and destroy say in JSON or Markdown comes with the report, as one document.
pub(super) fn print(answer: &render::Answer, format: Format, console: &mut dyn Console) {
    match format {
        Format::Text => console.answer(&render::text(answer)),
        Format::Sarif => console.answer(&render::sarif(answer)),
        Format::Junit => console.answer(&render::junit(answer)),
        Format::Json if answer.verb == "plan" => console.answer(&render::json(answer)),
        Format::Markdown if answer.verb == "plan" => console.answer(&render::markdown::plan(answer)),
        Format::Json | Format::Markdown | Format::Html => {}
    }
}

/// When it was read, where nothing else says it: the time in an answer about a snapshot is the snapshot's.
pub(super) fn read_now(state: &State) -> Option<String> {
    let live = state.facts.snapshot.is_none();
    live.then(|| format!("as read at {:.0}", Timestamp::now()))
}

/// What keeps it from being applied. Conflicts and refusals are part of the answer; what could not be read is said here.
pub(super) fn blocked(prepared: &Prepared, state: &State, console: &mut dyn Console) -> Vec<Kind> {
    let unreadable = prepared.unreadable(state);
    for error in &unreadable {
        console.story(&show_error(None, error, Style::default()));
    }
    let answered = prepared.difference.conflicts.iter().chain(&prepared.refused);
    unreadable.iter().chain(answered).map(|error| error.kind).collect()
}

/// Reads the world, compares, and prints the answer; then what keeps it from being applied.
pub(super) async fn show_intent(
    verb: &'static str,
    asked: Asked,
    output: &Output,
    console: &mut dyn Console,
) -> Result<Shown, Failure> {
    let Asked {
        intent,
        provider,
        scope,
        options,
        accepted,
        words,
    } = asked;
    let state = provider.read(&scope).await?;
    let read = read_now(&state);
    let scope = scope.after(&state);
    let mut warned = BTreeSet::new();
    show_warnings(provider.as_ref(), &mut warned, console);
    let mut prepared = intent.prepare(&state, &options)?;
    prepared.look(&intent, &state, &accepted);
    (prepared.read, prepared.words) = (read, words);
    print(&prepared.answer(verb, &intent, &state), output.format, console);
    let blocked = blocked(&prepared, &state, console);
    Ok(Shown {
        intent,
        provider,
        scope,
        options,
        accepted,
        state,
        prepared,
        blocked,
        warned,
    })
}

//! One file per verb. Opens providers, reads files, owns the clock; everything it decides is in the stages it calls.

mod actor;
mod apply;
mod carry;
mod check;
mod destroy;
mod diff;
mod explain;
mod exposure;
mod files;
mod gates;
mod graph;
mod history;
mod idle;
mod mistaken;
mod order;
mod packet;
mod plan;
mod prepare;
mod promises;
mod rights;
mod saved;
mod schema;
mod show;
mod snapshot;
mod stale;
mod traps;
mod world;

use crate::cli::{Cli, Format, Verb};
use crate::error::{Diagnostic, Error, Kind, Style, show_diagnostics, show_error};
use crate::render;
use crate::source::Source;

/// Where answers and the story go, and who can be asked. `main` is the only real one.
pub trait Console: Send {
    /// The answer, to standard output, as it is.
    fn answer(&mut self, text: &str);
    /// A line of the story, to standard error.
    fn story(&mut self, line: &str);
    /// Why the answer could not be written, other than that nobody reads on.
    fn broken(&self) -> Option<String>;
    /// Whether a person can be asked.
    fn can_ask(&self) -> bool;
    /// Asks, and returns the line typed.
    fn ask(&mut self, question: &str) -> String;
}

/// What a verb ends with when it does not end well.
pub enum Failure {
    /// Mistakes in a plan.
    Plan(Source, Vec<Diagnostic>),
    /// Conflicts with the world, or failures at the edge, with the plan they point into.
    World(Option<Source>, Vec<Error>),
    /// Errors after the answer was given: they go to the story alone.
    Answered(Vec<Error>),
    /// All was said already; only the kind of end is left.
    Said(Kind),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::World(None, vec![error])
    }
}

/// Runs a verb and says how it ended, as an exit code.
pub async fn run(cli: Cli, console: &mut dyn Console) -> u8 {
    let form = form_of(&cli.verb);
    let about = about(&cli.verb);
    let ended = match cli.verb {
        Verb::Check(args) => check::run(&args, console),
        Verb::Plan(args) => plan::run(&args, console).await,
        Verb::Apply(args) => apply::run(&args, console).await,
        Verb::Diff(args) => diff::run(&args, console).await,
        Verb::Show(args) => show::run(&args, console),
        Verb::Destroy(args) => destroy::run(&args, console).await,
        Verb::History(args) => history::run(&args, console).await,
        Verb::Revert(args) => history::revert(&args, console).await,
        Verb::Exposure(args) => exposure::exposure(&args, console).await,
        Verb::Why(args) => exposure::why(&args, console).await,
        Verb::Graph(args) => graph::run(&args, console).await,
        Verb::Snapshot(args) => snapshot::run(&args, console).await,
        Verb::Schema(args) => schema::run(&args, console),
        Verb::Explain(args) => explain::run(&args, console),
    };
    match ended {
        Ok(code) => code,
        Err(failure) => fail(failure, form, &about, console),
    }
}

/// The form that the answer of a verb has, and the name of its schema.
type Form = (Format, &'static str);

fn form_of(verb: &Verb) -> Form {
    match verb {
        Verb::Plan(args) => (args.proposal.output.format, render::ANSWER_VERSION),
        Verb::Apply(args) => (args.proposal.output.format, render::ANSWER_VERSION),
        Verb::Diff(args) => (args.output.format, render::diff::DIFF_VERSION),
        Verb::Show(args) => (args.output.format, render::ANSWER_VERSION),
        Verb::Destroy(args) => (args.output.format, render::ANSWER_VERSION),
        Verb::History(args) => (args.output.format, render::history::HISTORY_VERSION),
        Verb::Revert(args) => (args.output.format, render::ANSWER_VERSION),
        Verb::Exposure(args) => (args.output.format, render::EXPOSURE_VERSION),
        Verb::Why(args) => (args.output.format, render::WHY_VERSION),
        Verb::Check(args) => (args.output.format, render::CHECK_VERSION),
        Verb::Graph(_) | Verb::Snapshot(_) | Verb::Schema(_) | Verb::Explain(_) => {
            (Format::Text, render::ANSWER_VERSION)
        }
    }
}

/// The file that a comment is about.
fn about(verb: &Verb) -> String {
    match verb {
        Verb::Plan(args) => args.proposal.plan.clone(),
        Verb::Apply(args) => args.proposal.plan.clone(),
        Verb::Show(args) => args.file.display().to_string(),
        Verb::Exposure(args) => args.looked.after.clone().unwrap_or_else(|| "exposure".to_string()),
        Verb::Diff(args) => args.head.clone(),
        Verb::Destroy(args) => args.plan.clone().or(args.name.clone()).unwrap_or_default(),
        Verb::Revert(args) => args.plan.plan.clone().or(args.plan.name.clone()).unwrap_or_default(),
        _ => String::new(),
    }
}

/// Prints a failure once, and as an answer too where answers are JSON and none was given. The kind of the first in
/// rank is the exit code.
fn fail(failure: Failure, (format, schema): Form, about: &str, console: &mut dyn Console) -> u8 {
    match failure {
        Failure::Plan(source, diagnostics) => {
            console.story(show_diagnostics(&source, &diagnostics, Style::default()).trim_end());
            match format {
                Format::Json => console.answer(&render::diagnostics_json(&diagnostics, &source, schema)),
                Format::Markdown => {
                    let place = |problem: &Diagnostic| source.locate(problem.span());
                    let plan = files::plan_name(about);
                    console.answer(&render::markdown::diagnostics_markdown(&plan, &diagnostics, &place));
                }
                Format::Sarif => console.answer(&render::checked_sarif(&[wrong(&source, &diagnostics)])),
                Format::Junit => console.answer(&render::checked_junit(&[wrong(&source, &diagnostics)])),
                Format::Text | Format::Html => {}
            }
            Kind::Failed.exit_code()
        }
        Failure::World(source, errors) => {
            for error in &errors {
                console.story(&show_error(source.as_ref(), error, Style::default()));
            }
            match format {
                Format::Json => console.answer(&render::error_json(&errors, source.as_ref(), schema)),
                Format::Markdown => console.answer(&render::markdown::error_markdown(
                    &files::plan_name(about),
                    &errors,
                    source.as_ref(),
                )),
                Format::Sarif => console.answer(&render::error_sarif(&errors, source.as_ref())),
                Format::Junit => console.answer(&render::error_junit(&errors, source.as_ref())),
                Format::Text | Format::Html => {}
            }
            worst(errors.iter().map(|error| error.kind))
                .unwrap_or(Kind::Failed)
                .exit_code()
        }
        Failure::Answered(errors) => {
            for error in &errors {
                console.story(&show_error(None, error, Style::default()));
            }
            worst(errors.iter().map(|error| error.kind))
                .unwrap_or(Kind::Failed)
                .exit_code()
        }
        Failure::Said(kind) => kind.exit_code(),
    }
}

fn wrong<'a>(source: &'a Source, problems: &'a [Diagnostic]) -> render::Checked<'a> {
    render::Checked {
        source,
        plans: Vec::new(),
        problems,
        errors: &[],
    }
}

/// The kind that counts when several hold.
fn worst(kinds: impl Iterator<Item = Kind>) -> Option<Kind> {
    kinds.min_by_key(|kind| kind.rank())
}

//! One file per verb. Opens providers, reads files, owns the clock; everything it decides is in the stages it calls.

mod apply;
mod check;
mod destroy;
mod explain;
mod exposure;
mod files;
mod plan;
mod prepare;
mod promises;
mod rights;
mod schema;
mod snapshot;
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
    let format = format_of(&cli.verb);
    let ended = match cli.verb {
        Verb::Check(args) => check::run(&args, console),
        Verb::Plan(args) => plan::run(&args, console).await,
        Verb::Apply(args) => apply::run(&args, console).await,
        Verb::Destroy(args) => destroy::run(&args, console).await,
        Verb::Exposure(args) => exposure::exposure(&args, console).await,
        Verb::Why(args) => exposure::why(&args, console).await,
        Verb::Snapshot(args) => snapshot::run(&args, console).await,
        Verb::Schema(args) => schema::run(&args, console),
        Verb::Explain(args) => explain::run(&args, console),
    };
    match ended {
        Ok(code) => code,
        Err(failure) => fail(failure, format, console),
    }
}

/// The form that the answer of a verb has.
fn format_of(verb: &Verb) -> Format {
    match verb {
        Verb::Plan(args) => args.output.format,
        Verb::Apply(args) => args.plan.output.format,
        Verb::Destroy(args) => args.output.format,
        Verb::Check(_) | Verb::Exposure(_) | Verb::Why(_) | Verb::Snapshot(_) | Verb::Schema(_) | Verb::Explain(_) => {
            Format::Text
        }
    }
}

/// Prints a failure once, and as an answer too where answers are JSON and none was given. The kind of the first in
/// rank is the exit code.
fn fail(failure: Failure, format: Format, console: &mut dyn Console) -> u8 {
    match failure {
        Failure::Plan(source, diagnostics) => {
            console.story(show_diagnostics(&source, &diagnostics, Style::default()).trim_end());
            if format == Format::Json {
                console.answer(&render::diagnostics_json(&diagnostics, &source));
            }
            Kind::Failed.exit_code()
        }
        Failure::World(source, errors) => {
            for error in &errors {
                console.story(&show_error(source.as_ref(), error, Style::default()));
            }
            if format == Format::Json {
                console.answer(&render::error_json(&errors, source.as_ref()));
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

/// The kind that counts when several hold.
fn worst(kinds: impl Iterator<Item = Kind>) -> Option<Kind> {
    kinds.min_by_key(|kind| kind.rank())
}

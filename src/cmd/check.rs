//! `hostguard check`: plans alone, offline. Every mistake of every file in one run.

use super::gates::today;
use super::{Console, Failure, files};
use crate::cli::{Check, Format};
use crate::error::{Diagnostic, Error, Kind, Severity, Style, show_diagnostics, show_error};
use crate::gate;
use crate::plan::Plan;
use crate::render::{self, Checked};
use crate::source::Source;

/// A file, and what is known of it.
struct File {
    source: Source,
    plans: Vec<Plan>,
    problems: Vec<Diagnostic>,
    /// Why it could not be read.
    errors: Vec<Error>,
}

impl File {
    fn is_wrong(&self) -> bool {
        !self.errors.is_empty() || self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }

    fn checked(&self) -> Checked<'_> {
        Checked {
            source: &self.source,
            plans: self.plans.iter().map(Plan::name).collect(),
            problems: &self.problems,
            errors: &self.errors,
        }
    }
}

pub(super) fn run(args: &Check, console: &mut dyn Console) -> Result<u8, Failure> {
    let mut files: Vec<File> = Vec::new();
    for name in &args.plans {
        let file = look(name, args)?;
        show(&file, args.output.format, console);
        files.push(file);
    }
    let checked: Vec<Checked<'_>> = files.iter().map(File::checked).collect();
    match args.output.format {
        Format::Text | Format::Markdown | Format::Html => {}
        Format::Json => console.answer(&render::checked_json(&checked)),
        Format::Junit => console.answer(&render::checked_junit(&checked)),
        Format::Sarif => console.answer(&render::checked_sarif(&checked)),
    }
    if files.iter().any(File::is_wrong) {
        Err(Failure::Said(Kind::Failed))
    } else {
        Ok(0)
    }
}

/// What a file holds. Only a wrong command line is a failure here.
fn look(name: &str, args: &Check) -> Result<File, Failure> {
    let file = |source, problems, errors| File {
        source,
        plans: Vec::new(),
        problems,
        errors,
    };
    let loaded = files::load(name, &args.inputs).and_then(|loaded| Ok((loaded.check_all()?, loaded.source)));
    match loaded {
        Ok((plans, source)) => {
            let mut problems: Vec<Diagnostic> = plans.iter().flat_map(|plan| plan.warnings.clone()).collect();
            problems.extend(plans.iter().flat_map(expired));
            let mut file = file(source, problems, Vec::new());
            if !file.is_wrong() {
                file.plans = plans;
            }
            Ok(file)
        }
        Err(Failure::Plan(source, problems)) => Ok(file(source, problems, Vec::new())),
        Err(Failure::World(_, errors)) if errors.iter().all(|error| error.kind == Kind::Failed) => {
            Ok(file(Source::new(name, ""), Vec::new(), errors))
        }
        Err(other) => Err(other),
    }
}

/// Waivers whose last day has passed.
fn expired(plan: &Plan) -> Vec<Diagnostic> {
    let found = gate::expired(plan, today()).into_iter();
    let problem = |finding: gate::Finding| {
        let problem = Diagnostic::error(finding.code, finding.span?, finding.message, "expired");
        Some(problem.fix(finding.fix?))
    };
    found.filter_map(problem).collect()
}

fn show(file: &File, format: Format, console: &mut dyn Console) {
    for error in &file.errors {
        console.story(&show_error(None, error, Style::default()));
    }
    if !file.problems.is_empty() {
        console.story(show_diagnostics(&file.source, &file.problems, Style::default()).trim_end());
    }
    if format == Format::Text {
        for plan in &file.plans {
            console.answer(&format!("{}: plan {} is valid\n", file.source.name(), plan.name()));
        }
    }
}

//! `hostguard check`: plans alone, offline. Every mistake of every file in one run.

use super::{Console, Failure, files};
use crate::cli::{Check, Format};
use crate::error::{Kind, Style, show_diagnostics};
use crate::render;

pub(super) fn run(args: &Check, console: &mut dyn Console) -> Result<u8, Failure> {
    let mut failed = false;
    for file in &args.plans {
        match files::load(file, &args.inputs).and_then(|loaded| Ok((loaded.check_all()?, loaded.source))) {
            Ok((plans, source)) => {
                for plan in &plans {
                    if !plan.warnings.is_empty() {
                        console.story(show_diagnostics(&source, &plan.warnings, Style::default()).trim_end());
                    }
                    console.answer(&format!("{}: plan {} is valid\n", source.name(), plan.name()));
                }
            }
            Err(failure) => {
                failed = true;
                super::fail(failure, (Format::Text, render::ANSWER_VERSION), console);
            }
        }
    }
    if failed {
        Err(Failure::Said(Kind::Failed))
    } else {
        Ok(0)
    }
}

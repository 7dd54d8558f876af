//! `hostguard show FILE`: a saved change set, in any form, without a cluster.

use super::plan::print;
use super::{Console, Failure, saved};
use crate::cli::ShowArgs;
use crate::render::Words;

pub(super) fn run(args: &ShowArgs, console: &mut dyn Console) -> Result<u8, Failure> {
    let mut saved = saved::of_file(&args.file)?;
    let expires = saved
        .expires
        .map(|time| format!(", expires {time:.0}"))
        .unwrap_or_default();
    console.story(&format!("saved {} by hostguard {}{expires}", saved.created, saved.tool));
    saved.prepared.read = Some(format!("as saved at {}", saved.created));
    saved.prepared.words = Some(Words {
        file: args.file.display().to_string(),
        saved: true,
        ..Words::default()
    });
    let answer = saved.prepared.answer("plan", &saved.intent, &saved.state);
    print(&answer, args.output.format, console);
    Ok(0)
}

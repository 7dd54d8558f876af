//! `hostguard show FILE`: a saved change set, in any form, without a cluster.

use super::plan::print;
use super::{Console, Failure, saved};
use crate::cli::ShowArgs;

pub(super) fn run(args: &ShowArgs, console: &mut dyn Console) -> Result<u8, Failure> {
    let saved = saved::of_file(&args.file)?;
    let expires = saved
        .expires
        .map(|time| format!(", expires {time:.0}"))
        .unwrap_or_default();
    console.story(&format!("saved {} by hostguard {}{expires}", saved.created, saved.tool));
    let answer = saved.prepared.answer("plan", &saved.intent, &saved.state);
    print(&answer, args.output.format, console);
    Ok(0)
}

//! Who runs this, where, and from which commit: for the lock and for history.

use jiff::Timestamp;

use crate::apply::Holder;
use crate::history::By;

/// The first that is set counts. GitHub Actions, GitLab CI, Azure Pipelines, Jenkins, then the shell.
const WHO: [&str; 7] = [
    "HOSTGUARD_ACTOR",
    "GITHUB_ACTOR",
    "GITLAB_USER_LOGIN",
    "BUILD_REQUESTEDFOREMAIL",
    "BUILD_USER_ID",
    "USER",
    "LOGNAME",
];
const COMMIT: [&str; 5] = [
    "HOSTGUARD_COMMIT",
    "GITHUB_SHA",
    "CI_COMMIT_SHA",
    "BUILD_SOURCEVERSION",
    "GIT_COMMIT",
];
/// What is told of a name: it comes from the environment, and goes into objects that others read.
const LONGEST: usize = 100;

fn first(names: &[&str]) -> Option<String> {
    let set = names.iter().filter_map(|name| std::env::var(name).ok());
    let text = set
        .map(|value| value.trim().to_string())
        .find(|value| !value.is_empty())?;
    Some(text.chars().take(LONGEST).collect())
}

pub(super) fn by() -> By {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = host.map(|name| name.trim().to_string()).filter(|name| !name.is_empty());
    By {
        who: first(&WHO).unwrap_or_else(|| "somebody".to_string()),
        host: host
            .or_else(|| first(&["HOSTNAME"]))
            .unwrap_or_else(|| "somewhere".to_string()),
        commit: first(&COMMIT),
        tool: env!("CARGO_PKG_VERSION").to_string(),
    }
}

/// The same as one who wants the lock.
pub(super) fn holder(by: &By, verb: &'static str, changes: &str) -> Holder {
    let nonce = format!("{}-{:08x}", std::process::id(), fastrand::u32(..));
    Holder {
        identity: format!("{}@{}/{nonce}", by.who, by.host),
        who: by.who.clone(),
        host: by.host.clone(),
        verb,
        changes: changes.to_string(),
        now: Timestamp::now,
    }
}

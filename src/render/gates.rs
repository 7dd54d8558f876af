//! Findings in lines: those that refuse are errors and shown as such, the rest with its level and its waiver.

use super::{Answer, numbered};
use crate::changes::Note;
use crate::escape::escape;
use crate::gate::Finding;
use crate::plan::Level;

/// How many there are of each kind.
pub fn counts(answer: &Answer) -> String {
    let of = |which: &dyn Fn(&Finding) -> bool| answer.findings.iter().filter(|finding| which(finding)).count();
    let waived = of(&|finding| finding.waived.is_some());
    let counts = [
        (of(&|finding| finding.refuses()), "error"),
        (
            of(&|finding| finding.waived.is_none() && finding.level == Level::Warning),
            "warning",
        ),
    ];
    let mut parts: Vec<String> = counts
        .iter()
        .filter(|(many, _)| *many > 0)
        .map(|(many, what)| numbered(*many, what))
        .collect();
    parts.extend((waived > 0).then(|| format!("{waived} waived")));
    match parts.is_empty() {
        true => "gates pass".to_string(),
        false => format!("gates: {}", parts.join(", ")),
    }
}

/// What does not refuse, and what of it the plan has lowered.
pub fn lines(answer: &Answer) -> Vec<String> {
    let parts = parts(answer).into_iter();
    parts
        .map(|(head, text)| format!("{head} {text}").trim().to_string())
        .collect()
}

/// The same, what we say of it apart from what it is about.
pub fn parts(answer: &Answer) -> Vec<(String, String)> {
    let said = answer.findings.iter().filter(|finding| !finding.refuses());
    let mut parts: Vec<(String, String)> = said.map(part).collect();
    let lowered = answer.lowered.iter();
    let lowered = lowered.map(|(code, level)| (format!("the plan lowers {code} to {}", level.as_str()), String::new()));
    parts.extend(lowered);
    parts
}

/// `warning [HG0533] nodes.guarded: n2 lacks …`, `waived until 2026-12-31 [HG1001] tcp/80 …; team-shop: public shop front`
pub(super) fn line(finding: &Finding) -> String {
    let (head, text) = part(finding);
    format!("{head} {text}")
}

fn part(finding: &Finding) -> (String, String) {
    let (code, message) = (finding.code, escape(&finding.message));
    match &finding.waived {
        None => (format!("{} [{code}]", finding.level.as_str()), message),
        Some(waived) => (
            format!("waived until {} [{code}]", waived.expires),
            format!("{message}; {}: {}", escape(&waived.owner), escape(&waived.reason)),
        ),
    }
}

/// Notes that are no findings.
pub fn other_notes<'a>(answer: &Answer<'a>) -> impl Iterator<Item = &'a Note> {
    let findings = answer.findings;
    answer.set.notes.iter().filter(move |note| {
        let same = |finding: &Finding| {
            let message = finding.message.strip_prefix(note.about.as_str());
            note.code == Some(finding.code.as_str())
                && message.and_then(|text| text.strip_prefix(": ")) == Some(&note.text)
        };
        !findings.iter().any(same)
    })
}

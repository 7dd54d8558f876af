//! Findings in lines: those that refuse are errors and shown as such, the rest with its level and its waiver.

use super::Answer;
use crate::changes::Note;
use crate::escape::escape;
use crate::gate::Finding;

/// What does not refuse, and what of it the plan has lowered.
pub fn lines(answer: &Answer) -> Vec<String> {
    let said = answer.findings.iter().filter(|finding| !finding.refuses());
    let mut lines: Vec<String> = said.map(line).collect();
    let lowered = answer.lowered.iter();
    lines.extend(lowered.map(|(code, level)| format!("the plan lowers {code} to {}", level.as_str())));
    lines
}

/// `warning [HG0533] nodes.guarded: n2 lacks …`, `waived until 2026-12-31 [HG1001] tcp/80 …; team-shop: public shop front`
pub(super) fn line(finding: &Finding) -> String {
    let (code, message) = (finding.code, escape(&finding.message));
    match &finding.waived {
        None => format!("{} [{code}] {message}", finding.level.as_str()),
        Some(waived) => format!(
            "waived until {} [{code}] {message}; {}: {}",
            waived.expires,
            escape(&waived.owner),
            escape(&waived.reason)
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

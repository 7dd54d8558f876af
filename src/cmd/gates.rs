//! What is found of a plan, with the levels and waivers of today: put where it refuses, and where it is shown.

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::prepare::{Intent, Prepared};
use super::promises::Worlds;
use crate::changes::Note;
use crate::error::{Code, codes};
use crate::exposure::Assumption;
use crate::gate::{self, Finding, Looked};
use crate::render;
use crate::state::State;

/// Codes of notes that are findings too.
const NOTED: &[Code] = &[
    codes::LABEL_BY_HAND,
    codes::NODE_PORT_ELSEWHERE,
    codes::OTHER_FAMILY,
    codes::CLOUD_OPEN_ANYWAY,
];

/// The day in UTC.
pub(super) fn today() -> Date {
    jiff::Timestamp::now().to_zoned(TimeZone::UTC).date()
}

/// Asks the gates, then the plan's own rules about the answer that comes of it.
pub(super) fn look(
    prepared: &mut Prepared,
    (intent, state): (&Intent, &State),
    (before, end, after): Worlds<'_>,
    idle: Vec<Finding>,
) {
    // What destroy takes back was there before.
    if matches!(intent, Intent::Nothing { .. }) {
        return;
    }
    let mut found = gate::look(&Looked {
        plan: &prepared.plan,
        steps: &prepared.difference.set.steps,
        rows: &prepared.exposure,
        end,
        before,
        after,
        expected: prepared.resolved.open().collect(),
        firewall: !prepared.assumptions.contains(&Assumption::FirewallInFront),
    });
    found.extend(idle);
    found.extend(prepared.difference.set.notes.iter().filter_map(noted));
    let promised = std::mem::take(&mut prepared.refused);
    let settle = |prepared: &mut Prepared, found: Vec<Finding>| {
        prepared.findings = gate::settle(&prepared.plan, today(), found);
        let refusing = prepared.findings.iter().filter(|finding| finding.refuses());
        let mut errors: Vec<_> = refusing.map(Finding::error).collect();
        errors.sort_by(|a, b| (a.span, a.code, &a.message).cmp(&(b.span, b.code, &b.message)));
        errors.extend(promised.iter().cloned());
        prepared.refused = errors;
    };
    settle(prepared, found.clone());
    if !prepared.plan.gates.rules.is_empty() {
        let answer = render::json_value(&prepared.answer("plan", intent, state));
        found.extend(gate::rules(&prepared.plan, &answer));
        settle(prepared, found);
    }
    let findings = &prepared.findings;
    let said =
        |note: &Note| noted(note).is_none_or(|own| findings.iter().any(|finding| finding.message == own.message));
    prepared.difference.set.notes.retain(said);
}

/// A note as a finding, if it is one.
fn noted(note: &Note) -> Option<Finding> {
    let code = NOTED.iter().find(|code| Some(code.as_str()) == note.code)?;
    let message = format!("{}: {}", note.about, note.text);
    let subject = match message.split_once(" anyway, by") {
        // one rule of others each
        Some((what, _)) if *code == codes::CLOUD_OPEN_ANYWAY => what.to_string(),
        _ => note.about.clone(),
    };
    let fix = match *code {
        codes::LABEL_BY_HAND => "have the node pool or a host endpoint template set the label, or take `all`",
        codes::NODE_PORT_ELSEWHERE => "guard the port on these nodes too, or on a group with `all: true`",
        codes::OTHER_FAMILY => "name networks of both families in the policy, or deny without networks",
        _ => "close it where it was made, or guard these ports at the nodes",
    };
    Some(Finding::new(*code, subject, message).fix(fix))
}

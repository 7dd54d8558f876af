//! The answer as JUnit XML, for CI: expectations, guards, flows that may never move, gates and rules as test cases.
//!
//! In the form that Jenkins' xUnit plugin has a schema for, which GitLab and others read too. No times and no host: the
//! same answer is the same text. Characters that XML cannot have are escaped before.

use std::collections::BTreeSet;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

use super::{Answer, Checked};
use crate::error::{Code, Error, Severity, codes};
use crate::escape::escape;
use crate::gate::Finding;
use crate::plan::{GATES, Level};
use crate::source::{Source, Span};

/// Bytes of one text.
const TEXT: usize = 4_000;

/// A group of test cases.
struct Suite {
    name: &'static str,
    cases: Vec<Case>,
}

struct Case {
    name: String,
    outcome: Outcome,
}

enum Outcome {
    Passes,
    /// Worth a word; it passes.
    Says(String),
    /// Code, message, everything else.
    Fails(String, String, String),
    Skipped(String),
}

/// What a plan and a cluster come to.
pub fn junit(answer: &Answer) -> String {
    let errors: Vec<&Error> = answer.conflicts.iter().chain(answer.refused).collect();
    let place = |span: Option<Span>| Some(answer.source?.locate(span?));
    let mut taken: BTreeSet<usize> = BTreeSet::new();
    let mut failing = |codes: &[Code], span: Span| -> Option<Outcome> {
        let at = errors
            .iter()
            .position(|error| codes.contains(&error.code) && error.span == Some(span))?;
        taken.insert(at);
        Some(failure(errors[at], place(errors[at].span)))
    };
    let mut expectations = Vec::new();
    for outcome in answer.expectations {
        let is = if outcome.open { "open" } else { "blocked" };
        let name = format!("{} -> {}, {}: {is}", outcome.from, outcome.to, outcome.at);
        let why = [codes::EXPECTATION, codes::NOBODY, codes::UNREADABLE];
        let outcome = match outcome.fails {
            Some(_) => failing(&why, outcome.span).unwrap_or_else(|| unmet(codes::EXPECTATION)),
            None => Outcome::Passes,
        };
        expectations.push(Case { name, outcome });
    }
    let mut kept = Vec::new();
    for line in answer.kept {
        let never = if line.never_open { "opens" } else { "closes" };
        let name = format!("{} -> {}, {}: never {never}", line.from, line.to, line.at);
        let why = [codes::NEVER_OPEN, codes::NEVER_CLOSE, codes::NOBODY, codes::UNREADABLE];
        let outcome = match line.fails {
            Some(_) => failing(&why, line.span).unwrap_or_else(|| unmet(why[usize::from(!line.never_open)])),
            None => Outcome::Passes,
        };
        kept.push(Case { name, outcome });
    }
    let guards = [codes::GUARD_NO_ENDPOINT, codes::GUARD_BROKEN, codes::NO_NODE_PORT];
    let guards = answer.guards.iter().map(|(name, span)| Case {
        name: format!("policies.{name}"),
        outcome: failing(&guards, *span).unwrap_or(Outcome::Passes),
    });
    let guards: Vec<Case> = guards.collect();
    let mut plan: Vec<Case> = Vec::new();
    for (at, error) in errors.iter().enumerate() {
        let is_gate = answer
            .findings
            .iter()
            .any(|f| f.code == error.code && f.message == error.message);
        if !taken.contains(&at) && !is_gate {
            plan.push(Case {
                name: format!("{} {}", error.code, error.message),
                outcome: failure(error, place(error.span)),
            });
        }
    }
    plan.extend(answer.set.unreadable.iter().map(|(key, why)| Case {
        name: format!("{} {key}", codes::UNREADABLE),
        outcome: Outcome::Fails(
            codes::UNREADABLE.to_string(),
            format!("{key} could not be read: {why}"),
            String::new(),
        ),
    }));
    if plan.is_empty() {
        plan.push(Case {
            name: "can be applied".to_string(),
            outcome: Outcome::Passes,
        });
    }
    let (gates, rules) = (gates(answer), rules(answer));
    let suites = [
        ("plan", plan),
        ("expectations", expectations),
        ("guards", guards),
        ("never", kept),
        ("gates", gates),
        ("rules", rules),
    ];
    let suites = suites.map(|(name, cases)| Suite { name, cases });
    document(answer.plan, &suites)
}

fn unmet(code: Code) -> Outcome {
    Outcome::Fails(code.to_string(), "it does not hold".to_string(), String::new())
}

/// Every gate is a case: one that finds nothing passes.
fn gates(answer: &Answer) -> Vec<Case> {
    let own = [codes::RULE, codes::RULE_UNANSWERED];
    let mut cases = Vec::new();
    for (code, _) in GATES.iter().filter(|(code, _)| !own.contains(code)) {
        let found: Vec<&Finding> = answer.findings.iter().filter(|finding| finding.code == *code).collect();
        let title = codes::explain(code.as_str()).map_or("", |row| row.title);
        let off = answer
            .lowered
            .iter()
            .any(|(lowered, level)| lowered == code && *level == Level::Off);
        if found.is_empty() {
            let outcome = if off {
                Outcome::Skipped("off in the plan".into())
            } else {
                Outcome::Passes
            };
            let name = format!("{code} {title}");
            cases.push(Case { name, outcome });
        }
        cases.extend(found.into_iter().map(|finding| case(finding, answer)));
    }
    let fixed = answer
        .findings
        .iter()
        .filter(|finding| finding.code == codes::WAIVER_EXPIRED);
    cases.extend(fixed.map(|finding| case(finding, answer)));
    cases
}

fn rules(answer: &Answer) -> Vec<Case> {
    let case = |name: &&str| {
        let subject = format!("gates.rules.{name}");
        let found = answer.findings.iter().find(|finding| finding.subject == subject);
        match found {
            Some(finding) => case(finding, answer),
            None => Case {
                name: subject,
                outcome: Outcome::Passes,
            },
        }
    };
    answer.rules.iter().map(case).collect()
}

fn case(finding: &Finding, answer: &Answer) -> Case {
    let place = finding.span.and_then(|span| Some(answer.source?.locate(span)));
    let outcome = match &finding.waived {
        Some(waived) => Outcome::Skipped(format!(
            "waived until {} by {}: {}",
            waived.expires, waived.owner, waived.reason
        )),
        None if finding.refuses() => failure(&finding.error(), place),
        None => Outcome::Says(format!("{}: {}", finding.level.as_str(), finding.message)),
    };
    Case {
        name: format!("{} {}", finding.code, finding.subject),
        outcome,
    }
}

fn failure(error: &Error, place: Option<String>) -> Outcome {
    let mut lines: Vec<String> = place.into_iter().collect();
    lines.extend(error.causes.iter().map(|cause| format!("caused by: {}", escape(cause))));
    lines.extend(error.consequence.iter().map(|text| escape(text)));
    lines.extend(error.fix.iter().map(|fix| format!("fix: {}", escape(fix))));
    lines.push(format!("see: hostguard explain {}", error.code));
    Outcome::Fails(error.code.to_string(), error.message.clone(), lines.join("\n"))
}

/// Errors that leave no answer.
pub fn error_junit(errors: &[Error], source: Option<&Source>) -> String {
    let cases = errors.iter().map(|error| Case {
        name: format!("{} {}", error.code, error.message),
        outcome: failure(error, error.span.and_then(|span| Some(source?.locate(span)))),
    });
    let name = source.map_or("hostguard", Source::name);
    document(
        name,
        &[Suite {
            name: "plan",
            cases: cases.collect(),
        }],
    )
}

/// Plans alone, a case each mistake or a passing one for each plan without.
pub fn checked_junit(checked: &[Checked<'_>]) -> String {
    let mut cases = Vec::new();
    for file in checked {
        let source = file.source;
        cases.extend(file.errors.iter().map(|error| Case {
            name: format!("{} {}", error.code, error.message),
            outcome: failure(error, None),
        }));
        for problem in file.problems {
            let place = source.locate(problem.span());
            let outcome = match problem.severity {
                Severity::Warning => Outcome::Says(format!("warning: {}", problem.message)),
                Severity::Error => {
                    let mut error = Error::failed(problem.code, problem.message.clone());
                    (error.consequence, error.fix) = (problem.consequence.clone(), problem.fix.clone());
                    failure(&error, Some(place.clone()))
                }
            };
            let name = format!("{place} {}", problem.code);
            cases.push(Case { name, outcome });
        }
        cases.extend(file.plans.iter().map(|plan| Case {
            name: format!("{}: plan {plan} is valid", source.name()),
            outcome: Outcome::Passes,
        }));
    }
    document("check", &[Suite { name: "plan", cases }])
}

fn document(about: &str, suites: &[Suite]) -> String {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    let written = write(&mut writer, about, suites);
    written.expect("memory can be written");
    let mut text = String::from_utf8(writer.into_inner()).expect("what was written is text");
    text.push('\n');
    text
}

type Written = Result<(), std::io::Error>;

fn write(writer: &mut Writer<Vec<u8>>, about: &str, suites: &[Suite]) -> Written {
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let all = || suites.iter().flat_map(|suite| &suite.cases);
    let mut root = BytesStart::new("testsuites");
    root.push_attribute(("name", safe(&format!("hostguard {about}")).as_str()));
    counts(&mut root, all());
    writer.write_event(Event::Start(root))?;
    for suite in suites.iter().filter(|suite| !suite.cases.is_empty()) {
        let mut start = BytesStart::new("testsuite");
        start.push_attribute(("name", suite.name));
        counts(&mut start, suite.cases.iter());
        start.push_attribute(("skipped", skipped(&suite.cases).to_string().as_str()));
        writer.write_event(Event::Start(start))?;
        for case in &suite.cases {
            self::test(writer, about, suite.name, case)?;
        }
        writer.write_event(Event::End(BytesEnd::new("testsuite")))?;
    }
    writer.write_event(Event::End(BytesEnd::new("testsuites")))
}

fn counts<'c>(element: &mut BytesStart<'_>, cases: impl Iterator<Item = &'c Case>) {
    let (mut tests, mut failures) = (0, 0);
    for case in cases {
        tests += 1;
        failures += usize::from(matches!(case.outcome, Outcome::Fails(..)));
    }
    element.push_attribute(("tests", tests.to_string().as_str()));
    element.push_attribute(("failures", failures.to_string().as_str()));
    element.push_attribute(("errors", "0"));
}

fn skipped(cases: &[Case]) -> usize {
    cases
        .iter()
        .filter(|case| matches!(case.outcome, Outcome::Skipped(_)))
        .count()
}

fn test(writer: &mut Writer<Vec<u8>>, about: &str, suite: &str, case: &Case) -> Written {
    let mut start = BytesStart::new("testcase");
    start.push_attribute(("classname", safe(&format!("{about}.{suite}")).as_str()));
    start.push_attribute(("name", safe(&case.name).as_str()));
    if matches!(case.outcome, Outcome::Passes) {
        return writer.write_event(Event::Empty(start));
    }
    writer.write_event(Event::Start(start))?;
    match &case.outcome {
        Outcome::Passes => {}
        Outcome::Says(text) => {
            writer.write_event(Event::Start(BytesStart::new("system-out")))?;
            writer.write_event(Event::Text(BytesText::new(&safe(text))))?;
            writer.write_event(Event::End(BytesEnd::new("system-out")))?;
        }
        Outcome::Skipped(text) => {
            let mut skipped = BytesStart::new("skipped");
            skipped.push_attribute(("message", safe(text).as_str()));
            writer.write_event(Event::Empty(skipped))?;
        }
        Outcome::Fails(code, message, text) => {
            let mut failure = BytesStart::new("failure");
            failure.push_attribute(("type", code.as_str()));
            failure.push_attribute(("message", safe(message).as_str()));
            writer.write_event(Event::Start(failure))?;
            writer.write_event(Event::Text(BytesText::new(&lines(text))))?;
            writer.write_event(Event::End(BytesEnd::new("failure")))?;
        }
    }
    writer.write_event(Event::End(BytesEnd::new("testcase")))
}

/// One line of text that XML can have, cut.
fn safe(text: &str) -> String {
    let mut safe = String::new();
    for c in escape(text).chars() {
        if safe.len() > TEXT {
            safe.push_str("...");
            break;
        }
        // the only ones that XML 1.0 forbids and `escape` leaves
        safe.push(if matches!(c, '\u{fffe}' | '\u{ffff}') {
            '\u{fffd}'
        } else {
            c
        });
    }
    safe
}

fn lines(text: &str) -> String {
    text.lines().map(safe).collect::<Vec<_>>().join("\n")
}

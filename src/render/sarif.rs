//! Findings as SARIF 2.1.0, for code scanning: what is wrong, how much, where in the plan.
//!
//! Within what GitHub takes ("SARIF support for code scanning": 25,000 results and rules a run, of which it shows 5,000
//! results; 10 MB). Texts from outside are escaped, and cannot be links or placeholders. A fingerprint is made of what a
//! finding is about, never of its line, so that a finding that moves stays the same one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Answer, Checked};
use crate::changes::hex_digest;
use crate::error::{Diagnostic, Error, Severity, codes};
use crate::escape::escape;
use crate::gate::{Finding, Waived};
use crate::plan::Level;
use crate::source::{Source, Span};

/// Results, most serious first.
const RESULTS: usize = 5_000;
/// Bytes of one text, and of all.
const TEXT: usize = 1_000;
const MOST: usize = 9_500_000;

/// One thing to be said, whatever it comes from.
#[derive(Clone, Debug)]
struct Found<'a> {
    code: &'a str,
    level: Level,
    /// What it is about, for its fingerprint.
    about: String,
    message: String,
    source: Option<&'a Source>,
    span: Option<Span>,
    /// Other places that explain it.
    related: Vec<(Span, &'a str)>,
    /// An object of the cluster.
    object: Option<String>,
    waived: Option<&'a Waived>,
}

impl<'a> Found<'a> {
    fn of_error(error: &'a Error, source: Option<&'a Source>) -> Found<'a> {
        let parts = [&error.consequence, &error.fix];
        Found {
            code: error.code.as_str(),
            level: Level::Error,
            about: error.message.clone(),
            message: sentence(&error.message, &error.causes, parts),
            source,
            span: error.span,
            related: Vec::new(),
            object: None,
            waived: None,
        }
    }

    fn of_diagnostic(problem: &'a Diagnostic, source: &'a Source) -> Found<'a> {
        let level = match problem.severity {
            Severity::Error => Level::Error,
            Severity::Warning => Level::Warning,
        };
        let others = problem.labels.iter().skip(1);
        Found {
            code: problem.code.as_str(),
            level,
            about: problem.message.clone(),
            message: sentence(&problem.message, &[], [&problem.consequence, &problem.fix]),
            source: Some(source),
            span: Some(problem.span()),
            related: others.map(|label| (label.span, label.text.as_str())).collect(),
            object: None,
            waived: None,
        }
    }

    fn of_finding(finding: &'a Finding, source: Option<&'a Source>) -> Found<'a> {
        let parts = [&finding.consequence, &finding.fix];
        Found {
            code: finding.code.as_str(),
            level: finding.level,
            about: finding.subject.clone(),
            message: sentence(&finding.message, &finding.causes, parts),
            source,
            span: finding.span,
            related: Vec::new(),
            object: None,
            waived: finding.waived.as_ref(),
        }
    }

    fn fingerprint(&self) -> String {
        let file = self.source.map(Source::name);
        hex_digest(&json!([self.code, file, self.about]))["sha256:".len()..][..16].to_string()
    }
}

/// `message; caused by: …; consequence; fix: …`
fn sentence(message: &str, causes: &[String], [consequence, fix]: [&Option<String>; 2]) -> String {
    let mut parts = vec![message.to_string()];
    parts.extend(causes.iter().map(|cause| format!("caused by: {cause}")));
    parts.extend(consequence.clone());
    parts.extend(fix.as_ref().map(|fix| format!("fix: {fix}")));
    parts.join("; ")
}

/// What a plan and a cluster come to.
pub fn sarif(answer: &Answer) -> String {
    document(found(answer))
}

/// Everything that is wrong or worth saying, each thing once.
fn found<'a>(answer: &'a Answer<'a>) -> Vec<Found<'a>> {
    let source = answer.source;
    let mut found: Vec<Found<'a>> = answer.findings.iter().map(|f| Found::of_finding(f, source)).collect();
    let is_finding = |error: &&Error| {
        let mut findings = answer.findings.iter();
        findings.any(|finding| finding.code == error.code && finding.message == error.message)
    };
    let errors = answer
        .conflicts
        .iter()
        .chain(answer.refused)
        .filter(|error| !is_finding(error));
    found.extend(errors.map(|error| Found::of_error(error, source)));
    if let Some(source) = source {
        found.extend(
            answer
                .warnings
                .iter()
                .map(|warning| Found::of_diagnostic(warning, source)),
        );
    }
    let unreadable = answer.set.unreadable.iter();
    found.extend(unreadable.map(|(key, why)| Found {
        code: codes::UNREADABLE.as_str(),
        level: Level::Error,
        about: key.to_string(),
        message: format!("{key} could not be read: {why}"),
        source,
        span: None,
        related: Vec::new(),
        object: Some(key.to_string()),
        waived: None,
    }));
    let live = answer.set.findings.iter();
    found.extend(live.map(|finding| Found {
        code: finding.code,
        level: Level::Warning,
        about: format!("{} {}", finding.key, finding.path),
        message: sentence(
            &format!("{} {}: {}", finding.key, finding.path, finding.message),
            &[],
            [&finding.consequence, &None],
        ),
        source,
        span: None,
        related: Vec::new(),
        object: Some(finding.key.to_string()),
        waived: None,
    }));
    found
}

/// Errors that leave no answer.
pub fn error_sarif(errors: &[Error], source: Option<&Source>) -> String {
    document(errors.iter().map(|error| Found::of_error(error, source)).collect())
}

/// What is wrong with plans alone.
pub fn checked_sarif(checked: &[Checked<'_>]) -> String {
    let mut found = Vec::new();
    for file in checked {
        let problems = file.problems.iter();
        found.extend(problems.map(|problem| Found::of_diagnostic(problem, file.source)));
        let errors = file.errors.iter();
        found.extend(errors.map(|error| Found::of_error(error, Some(file.source))));
    }
    document(found)
}

fn document(mut found: Vec<Found<'_>>) -> String {
    found.sort_by(|a, b| {
        let rank = |found: &Found<'_>| (found.waived.is_some(), std::cmp::Reverse(found.level));
        let place = |found: &Found<'_>| (found.source.map(Source::name).map(str::to_string), found.span);
        (rank(a), place(a), a.code, &a.message).cmp(&(rank(b), place(b), b.code, &b.message))
    });
    let all = found.len();
    found.truncate(RESULTS);
    let rules: BTreeSet<&str> = found.iter().map(|found| found.code).collect();
    let rules: Vec<&str> = rules.into_iter().collect();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut lines = Lines::default();
    let mut results: Vec<Value> = Vec::new();
    let mut bytes = 0;
    for found in &found {
        let nth = seen.entry(found.fingerprint()).or_insert(0);
        *nth += 1;
        let rule = rules.iter().position(|code| *code == found.code).unwrap_or_default();
        let result = result(found, rule, *nth, &mut lines);
        bytes += result.to_string().len();
        if bytes > MOST {
            break;
        }
        results.push(result);
    }
    let left_out = all - results.len();
    let mut run = json!({
        "tool": {"driver": {
            "name": "hostguard",
            "semanticVersion": env!("CARGO_PKG_VERSION"),
            "informationUri": env!("CARGO_PKG_REPOSITORY"),
            "rules": rules.iter().map(|code| rule(code)).collect::<Vec<_>>(),
        }},
        "columnKind": "unicodeCodePoints",
        "automationDetails": {"id": "hostguard/"},
        "results": results,
    });
    if left_out > 0 {
        let text = format!("{left_out} more results have no room here; -o json has all.");
        run["invocations"] = json!([{
            "executionSuccessful": true,
            "toolExecutionNotifications": [{"level": "warning", "message": {"text": text}}],
        }]);
    }
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [run],
    });
    format!("{log}\n")
}

fn rule(code: &str) -> Value {
    let (title, text) = codes::explain(code).map_or(("", ""), |row| (row.title, row.text));
    let (title, text) = match codes::calico(code) {
        Some(rule) => (rule.title, rule.explain),
        None => (title, text),
    };
    json!({
        "id": code,
        "shortDescription": {"text": title},
        "fullDescription": {"text": text},
        "help": {"text": format!("{text}\n\nhostguard explain {code}")},
        "properties": {"tags": ["calico", "host-protection", "security"]},
    })
}

fn result(found: &Found<'_>, rule: usize, nth: usize, lines: &mut Lines) -> Value {
    let level = match found.level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Note => "note",
        Level::Off => "none",
    };
    let mut result = json!({
        "ruleId": found.code,
        "ruleIndex": rule,
        "level": level,
        "message": {"text": inert(&found.message)},
        "locations": [location(found.source, found.span, found.object.as_deref(), lines)],
        "partialFingerprints": {"primaryLocationLineHash": format!("{}:{nth}", found.fingerprint())},
    });
    let related: Vec<Value> = found
        .related
        .iter()
        .map(|(span, text)| {
            let mut place = location(found.source, Some(*span), None, lines);
            place["message"] = json!({"text": inert(text)});
            place
        })
        .collect();
    if !related.is_empty() {
        result["relatedLocations"] = json!(related);
    }
    if let Some(waived) = found.waived {
        let reason = format!("{}: {} (until {})", waived.owner, waived.reason, waived.expires);
        result["suppressions"] = json!([{
            "kind": "inSource",
            "status": "accepted",
            "justification": inert(&reason),
            "location": location(found.source, Some(waived.span), None, lines),
        }]);
    }
    result
}

/// A place in the plan; what has none is about the plan as a whole, and stands at its beginning.
fn location(source: Option<&Source>, span: Option<Span>, object: Option<&str>, lines: &mut Lines) -> Value {
    let mut location = json!({});
    if let Some(source) = source {
        let span = span.unwrap_or_default();
        let (start, end) = (lines.place(source, span.start), lines.place(source, span.end));
        location["physicalLocation"] = json!({
            "artifactLocation": {"uri": uri(source.name())},
            "region": {
                "startLine": start.0,
                "startColumn": start.1,
                "endLine": end.0,
                "endColumn": end.1,
            },
        });
    }
    if let Some(object) = object {
        location["logicalLocations"] = json!([{"fullyQualifiedName": inert(object), "kind": "object"}]);
    }
    location
}

/// Starts of lines of the texts asked about: a place is looked up, not counted.
#[derive(Default)]
struct Lines(BTreeMap<String, Vec<usize>>);

impl Lines {
    fn place(&mut self, source: &Source, offset: usize) -> (usize, usize) {
        let text = source.text();
        let starts = self.0.entry(source.name().to_string()).or_insert_with(|| {
            let after = text.match_indices('\n').map(|(at, _)| at + 1);
            std::iter::once(0).chain(after).collect()
        });
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = starts.partition_point(|start| *start <= offset);
        let start = starts.get(line - 1).copied().unwrap_or_default();
        (line, text[start..offset].chars().count() + 1)
    }
}

/// A path as a URI reference.
fn uri(path: &str) -> String {
    let mut uri = String::new();
    for byte in path.strip_prefix("./").unwrap_or(path).bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => uri.push(char::from(byte)),
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    if uri.starts_with('/') {
        format!("file://{uri}")
    } else {
        uri
    }
}

/// Text from outside: no control characters, no link, no placeholder, no mention, of bounded length.
fn inert(text: &str) -> String {
    let mut inert = String::new();
    let (mut earlier, mut before) = (' ', ' ');
    for c in escape(text).chars() {
        if inert.len() > TEXT {
            inert.push_str("...");
            break;
        }
        // `\u{1b}` is how a control character is written
        let placeholder = before == '{' && earlier != 'u' && c.is_ascii_digit();
        let link = before == ']' && matches!(c, '(' | '[');
        if placeholder || link {
            inert.push(' ');
        }
        inert.push(c);
        if c == '@' {
            inert.push(' ');
        }
        (earlier, before) = (before, c);
    }
    inert
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_is_neither_link_nor_placeholder_nor_mention() {
        for (hostile, text) in [
            ("[click](https://example.com)", "[click] (https://example.com)"),
            ("![x](y)", "![x] (y)"),
            ("{0} {name}", "{ 0} {name}"),
            ("@admin and a@b.example", "@ admin and a@ b.example"),
            ("\u{1b}[2J\u{202e}", "\\u{1b}[2J\\u{202e}"),
            ("a\n## b", "a\\n## b"),
        ] {
            assert_eq!(inert(hostile), text);
        }
        assert!(inert(&"ü".repeat(5_000)).len() < TEXT + 10);
    }

    #[test]
    fn paths_are_uri_references() {
        assert_eq!(uri("./plans/eks.yaml"), "plans/eks.yaml");
        assert_eq!(uri("my plans/ü#1.yaml"), "my%20plans/%C3%BC%231.yaml");
        assert_eq!(uri("/srv/p.yaml"), "file:///srv/p.yaml");
        assert_eq!(uri("javascript:x"), "javascript%3Ax");
    }

    #[test]
    fn places_are_those_of_the_source() {
        let source = Source::new("p", "a: b\nbüro: x\n\nend");
        let mut lines = Lines::default();
        for offset in 0..20 {
            let place = source.place(offset);
            assert_eq!(lines.place(&source, offset), (place.line, place.column), "{offset}");
        }
    }

    #[test]
    fn the_worst_come_first_and_the_rest_is_counted() {
        let source = Source::new("p.yaml", "x".repeat(100));
        let error = |i: usize| Error::failed(codes::UNREADABLE, format!("{i} {}", "\u{1b}".repeat(2_000)));
        let errors: Vec<Error> = (0..30_000).map(error).collect();
        let text = error_sarif(&errors, Some(&source));
        assert!(text.len() < 10_000_000, "{}", text.len());
        let log: Value = serde_json::from_str(&text).expect("JSON");
        let shown = log["runs"][0]["results"].as_array().map_or(0, Vec::len);
        assert!(shown > 1_000 && shown <= RESULTS, "{shown}");
        let said = log.pointer("/runs/0/invocations/0/toolExecutionNotifications/0/message/text");
        let said = said.and_then(Value::as_str).unwrap_or_default();
        assert!(said.starts_with(&format!("{} more results", 30_000 - shown)), "{said}");
    }
}

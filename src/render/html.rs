//! Exposure as one page that needs nothing else: no scripts, no network, light and dark, wide and narrow.
//!
//! Every text is written by [`markup`]; the page forbids itself whatever is not its own style.

use std::fmt::Write;

use super::exposure::assumed;
use super::json_exposure::Looked;
use super::rows::{self, Found, Line};
use super::sources::Names;
use super::{Answer, exposure, gates, graph, order, svg, text};
use crate::escape::markup;
use crate::exposure::{Assumption, Movement, Reach};

/// What a page may do.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

const STYLE: &str = "\
:root { color-scheme: light dark; --text: #1f2328; --faint: #59636e; --line: #d1d9e0; --ground: #fff; \
--opens: #d1242f; --closes: #1a7f37; --unknown: #9a6700 }
@media (prefers-color-scheme: dark) { :root { --text: #f0f6fc; --faint: #9198a1; --line: #3d444d; --ground: #0d1117; \
--opens: #f85149; --closes: #3fb950; --unknown: #d29922 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--ground); color: var(--text); font: 15px/1.5 system-ui, 'Segoe UI', Roboto, sans-serif }
main { max-width: 1280px; margin: 0 auto; padding: 24px 16px }
h1 { font-size: 22px; margin: 0 0 4px; overflow-wrap: anywhere }
h2 { font-size: 17px; margin: 28px 0 8px }
p { margin: 4px 0 }
.answer { font-size: 18px }
.faint { color: var(--faint); overflow-wrap: anywhere }
.opens { color: var(--opens) }
.closes { color: var(--closes) }
.unknown { color: var(--unknown) }
b.opens, b.closes, b.unknown { white-space: nowrap }
code { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace; overflow-wrap: anywhere }
table { border-collapse: collapse; width: 100%; margin-top: 16px }
th { text-align: left; color: var(--faint); font-weight: 600; border-bottom: 2px solid var(--line); padding: 6px 10px }
td { border-bottom: 1px solid var(--line); padding: 8px 10px; vertical-align: top }
tr.row-opens td { background: color-mix(in srgb, var(--opens) 8%, transparent)}
tr.row-stays b { color: inherit }
td.moves { white-space: nowrap; font-weight: 600 }
small { display: block; color: var(--faint); font-size: 13px }
ul { margin: 0; padding-left: 20px }
li { margin: 4px 0; overflow-wrap: anywhere }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; padding: 8px }
@media (max-width: 760px) {
thead { display: none }
table, tbody, tr, td { display: block }
tr { border: 1px solid var(--line); border-radius: 6px; margin: 12px 0; padding: 4px 0 }
td { border: 0; padding: 4px 12px }
td::before { content: attr(data-label); display: block; color: var(--faint); font-size: 12px }
td.moves::before { display: none }
}
";

/// What a plan does to who can reach what: before, after, and the graph of its resources.
pub fn plan(answer: &Answer) -> String {
    let rows = rows::moves(answer);
    let count = |movement| rows::count(&rows, movement);
    let (opens, closes) = (count(Movement::Opens), count(Movement::Closes));
    let mut out = head(&format!("{}: who can reach what", answer.plan));
    let _ = writeln!(
        out,
        "<h1>{} <span class=\"faint\">on {}</span></h1>",
        markup(answer.plan),
        markup(&answer.facts.name)
    );
    let unknown = match count(Movement::BecomesUnknown) {
        0 => String::new(),
        many => format!(", <b class=\"unknown\">{many} not known any more</b>"),
    };
    let counts = answer.set.counts();
    let refused = match answer.conflicts.is_empty() && answer.refused.is_empty() {
        true => "",
        false => "<b class=\"opens\">refused</b>: ",
    };
    let _ = writeln!(
        out,
        "<p class=\"answer\">{refused}{}, {}{unknown}; {} to create, {} to change, {} to delete; {}</p>",
        number(opens, "opened", "opens"),
        number(closes, "closed", "closes"),
        counts.create,
        counts.update,
        counts.delete,
        gates::counts(answer)
    );
    if refused.is_empty() {
        let _ = writeln!(out, "<p class=\"faint\">{}</p>", markup(order::claim(answer)));
    }
    if let Some(snapshot) = &answer.facts.snapshot {
        let _ = writeln!(
            out,
            "<p class=\"faint\">as in snapshot {}</p>",
            markup(&snapshot.to_string())
        );
    }
    let errors = answer.conflicts.iter().chain(answer.refused);
    let refused = errors.map(|error| {
        let mut lines = vec![format!("{}: {}", error.code, error.message)];
        lines.extend(error.causes.iter().cloned());
        lines.extend(error.fix.iter().map(|fix| format!("fix: {fix}")));
        lines
    });
    list(&mut out, "Refused: nothing of this will be done", refused);
    if answer.set.steps.is_empty() {
        out.push_str("<p>Nothing to do: nothing opens or closes.</p>\n");
    } else {
        table(&mut out, &rows, true);
    }
    about(&mut out, answer.assumptions, answer.inside.is_none());
    let promised = answer.expectations.iter().map(|line| text::expectation(line, answer));
    let kept = answer.kept.iter().map(|line| text::kept(line, answer));
    list(&mut out, "Expectations", promised.chain(kept).map(|line| vec![line]));
    list(
        &mut out,
        "Gates",
        gates::lines(answer).into_iter().map(|line| vec![line]),
    );
    let drawing = graph::drawing(answer);
    if !drawing.nodes.is_empty() {
        let legend = svg::legend(&drawing)
            .into_iter()
            .map(|(_, words)| words)
            .collect::<Vec<_>>();
        let _ = writeln!(
            out,
            "<h2>Resources</h2>\n<p class=\"faint\">{}</p>",
            markup(&legend.join("   "))
        );
        let _ = write!(out, "<div class=\"scroll\">\n{}</div>\n", svg::inline(&drawing));
    }
    if !answer.set.steps.is_empty() {
        let _ = writeln!(
            out,
            "<p class=\"faint\">change set <code>{}</code></p>",
            markup(&answer.id)
        );
    }
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

/// Who can reach what, as it is.
pub fn exposed(
    looked: &Looked,
    (outside, inside): (&[Reach], Option<&[Reach]>),
    names: &Names,
    assumptions: &[Assumption],
) -> String {
    let rows = rows::reaches(outside, inside, names);
    let count = |wanted: &str| rows::count_found(&rows, wanted);
    let mut out = head(&format!("{}: who can reach what", looked.cluster));
    let _ = writeln!(
        out,
        "<h1>{} <span class=\"faint\">as it is</span></h1>",
        markup(looked.cluster)
    );
    let _ = writeln!(
        out,
        "<p class=\"answer\">{}, {}, {}, {}</p>",
        number(count("open"), "open", "opens"),
        number(count("partly"), "partly", "unknown"),
        number(count("unknown"), "unknown", "unknown"),
        number(count("blocked"), "blocked", "closes"),
    );
    table(&mut out, &rows, false);
    about(&mut out, assumptions, inside.is_none());
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

/// A count that stands out where there is anything to count.
fn number(many: usize, what: &str, class: &str) -> String {
    match many {
        0 => format!("0 {what}"),
        many => format!("<b class=\"{class}\">{many} {what}</b>"),
    }
}

fn head(title: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" \
         content=\"{POLICY}\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta \
         name=\"referrer\" content=\"no-referrer\">\n<title>{}</title>\n<style>\n{STYLE}{}</style>\n</head>\n<body>\n<main>\n",
        markup(title),
        svg::STYLE
    )
}

fn about(out: &mut String, assumptions: &[Assumption], too_many: bool) {
    if too_many {
        let _ = writeln!(out, "<p class=\"faint\">{}</p>", markup(exposure::TOO_MANY));
    }
    if !assumptions.is_empty() {
        let _ = writeln!(out, "<p class=\"faint\">{}</p>", markup(&assumed(assumptions)));
    }
}

/// Items, each a line with smaller ones below it.
fn list(out: &mut String, heading: &str, items: impl Iterator<Item = Vec<String>>) {
    let item = |lines: Vec<String>| {
        let mut lines = lines.iter().map(|line| markup(line));
        let first = lines.next().unwrap_or_default();
        let rest: String = lines.map(|line| format!("<small>{line}</small>")).collect();
        format!("<li>{first}{rest}</li>\n")
    };
    let items: String = items.map(item).collect();
    if !items.is_empty() {
        let _ = write!(out, "<h2>{}</h2>\n<ul>\n{items}</ul>\n", markup(heading));
    }
}

fn table(out: &mut String, rows: &[Line], moving: bool) {
    let columns: &[&str] = if moving {
        &["", "from", "to", "before", "after", "a packet"]
    } else {
        &["from", "to", "answer", "a packet"]
    };
    out.push_str("<table>\n<thead><tr>");
    for column in columns {
        let _ = write!(out, "<th>{column}</th>");
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        let (class, word) = match row.movement {
            Some(movement) => moves(movement),
            None => (verdict_class(&row.after), ""),
        };
        let _ = write!(out, "<tr class=\"row-{class}\">");
        if moving {
            let _ = write!(out, "<td class=\"moves {class}\" data-label=\"\">{word}</td>");
        }
        let _ = write!(out, "<td data-label=\"from\">{}</td>", markup(&row.who()));
        let (what, nodes) = (markup(&row.what), markup(&row.nodes));
        let _ = write!(out, "<td data-label=\"to\">{what} <small>on {nodes}</small></td>");
        if let Some(before) = &row.before {
            cell(out, "before", before);
        }
        cell(out, if moving { "after" } else { "answer" }, &row.after);
        // A line may end between the two ends.
        let witness = markup(&row.witness.to_string().replacen('>', " > ", 1));
        let _ = writeln!(out, "<td data-label=\"a packet\"><code>{witness}</code></td></tr>");
    }
    out.push_str("</tbody>\n</table>\n");
}

fn cell(out: &mut String, label: &str, found: &Found) {
    let class = verdict_class(found);
    let by = match found.by.as_str() {
        "" => String::new(),
        by => format!(" <small>{}</small>", markup(by)),
    };
    let _ = write!(
        out,
        "<td data-label=\"{label}\"><b class=\"{class}\">{}</b>{by}</td>",
        found.verdict
    );
}

fn verdict_class(found: &Found) -> &'static str {
    match found.verdict {
        "open" => "opens",
        "blocked" => "closes",
        _ => "unknown",
    }
}

fn moves(movement: Movement) -> (&'static str, &'static str) {
    match movement {
        Movement::Opens => ("opens", "opens"),
        Movement::BecomesUnknown => ("unknown", "not known any more"),
        Movement::Closes => ("closes", "closes"),
        Movement::BecomesKnown => ("stays", "known now"),
        Movement::Stays => ("stays", "stays"),
    }
}

//! Diagnostics and errors as text for 80 columns, readable without colour.
//!
//! The first line is made here, so that its place is that of the mistake; the marked lines are drawn by miette, from a
//! copy in which long lines are clipped and control characters escaped. Decides nothing about severity or exit codes.

use std::collections::BTreeMap;
use std::fmt::Write;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, MietteError, MietteSpanContents, Report,
    SourceCode, SourceSpan, SpanContents,
};

use super::{Code, Diagnostic, Error, Severity};
use crate::escape::{escape, escape_char};
use crate::source::{Source, Span};

const WIDTH: usize = 80;
/// Columns that the line numbers and the frame take.
const GUTTER: usize = 9;
/// No marked place stands further right than this, so that its label fits.
const CARET: usize = 50;

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    pub unicode: bool,
    pub color: bool,
}

impl Default for Style {
    fn default() -> Self {
        Style {
            unicode: true,
            color: false,
        }
    }
}

/// Warnings of one code that are shown in full; a plan of two hundred policies may say one thing two hundred times.
const ALIKE: usize = 5;
/// Places that are named of the others.
const PLACES: usize = 4;

/// Sorted by place, each once; ends with the count. Errors are all shown in full.
pub fn show_diagnostics(source: &Source, diagnostics: &[Diagnostic], style: Style) -> String {
    let mut sorted: Vec<&Diagnostic> = diagnostics.iter().collect();
    sorted.sort_by_key(|d| (d.span(), d.code, d.severity));
    sorted.dedup_by(|a, b| (a.code, a.span(), &a.message) == (b.code, b.span(), &b.message));
    let mut out = String::new();
    let lines = Lines::of(source.text());
    let mut warned: BTreeMap<Code, Vec<String>> = BTreeMap::new();
    for diagnostic in &sorted {
        let place = lines.place(diagnostic.span().start);
        if diagnostic.severity == Severity::Warning {
            let places = warned.entry(diagnostic.code).or_default();
            places.push(format!("{}:{place}", source.name()));
            if places.len() > ALIKE {
                continue;
            }
        }
        let word = severity_word(diagnostic.severity);
        let head = format!(
            "{word}[{}] {}:{place}: {}",
            diagnostic.code,
            source.name(),
            diagnostic.message
        );
        headline(&mut out, &head, word, style);
        snippet(&mut out, &lines, diagnostic, style);
        if let Some(gates) = &diagnostic.gates {
            wrapped(&mut out, "  who: ", gates);
        }
        advice(&mut out, diagnostic.consequence.as_deref(), diagnostic.fix.as_deref());
        out.push('\n');
    }
    for (code, places) in warned.iter().filter(|(_, places)| places.len() > ALIKE) {
        let others = &places[ALIKE..];
        let named = others.iter().take(PLACES).cloned().collect::<Vec<_>>().join(", ");
        let rest = match others.len().saturating_sub(PLACES) {
            0 => String::new(),
            many => format!(" and {many} other places"),
        };
        let head = format!("warning[{code}] {} more like these, at {named}{rest}", others.len());
        headline(&mut out, &head, "warning", style);
        out.push('\n');
    }
    out.push_str(&counts(&sorted));
    out
}

/// One error about the world, with the place that asks for it where there is one.
pub fn show_error(source: Option<&Source>, error: &Error, style: Style) -> String {
    let mut out = String::new();
    let place = match (source, error.span) {
        (Some(source), Some(span)) => format!("{}: ", source.locate(span)),
        _ => String::new(),
    };
    headline(
        &mut out,
        &format!("error[{}] {place}{}", error.code, error.message),
        "error",
        style,
    );
    if let (Some(source), Some(span)) = (source, error.span) {
        let marked = Diagnostic::error(error.code, span, "", "asked for here");
        snippet(&mut out, &Lines::of(source.text()), &marked, style);
    }
    for cause in &error.causes {
        wrapped(&mut out, "  caused by: ", cause);
    }
    advice(&mut out, error.consequence.as_deref(), error.fix.as_deref());
    out
}

fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn headline(out: &mut String, text: &str, word: &str, style: Style) {
    let start = out.len();
    wrapped(out, "", text);
    if style.color {
        let color = if word == "error" { "\x1b[1;31m" } else { "\x1b[1;33m" };
        let end = start + word.len();
        out.insert_str(end, "\x1b[0m");
        out.insert_str(start, color);
    }
}

fn advice(out: &mut String, consequence: Option<&str>, fix: Option<&str>) {
    if let Some(text) = consequence {
        wrapped(out, "  why: ", text);
    }
    if let Some(text) = fix {
        wrapped(out, "  fix: ", text);
    }
}

/// `8 errors, 1 warning`
fn counts(diagnostics: &[&Diagnostic]) -> String {
    let count = |severity| diagnostics.iter().filter(|d| d.severity == severity).count();
    let many = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    let parts: Vec<String> = [Severity::Error, Severity::Warning]
        .into_iter()
        .filter(|severity| count(*severity) > 0)
        .map(|severity| many(count(severity), severity_word(severity)))
        .collect();
    if parts.is_empty() {
        String::new()
    } else {
        parts.join(", ") + "\n"
    }
}

/// Breaks at spaces; lines after the first are indented as far as the prefix, at least by two.
fn wrapped(out: &mut String, prefix: &str, text: &str) {
    let indent = " ".repeat(prefix.len().max(2));
    let text = escape(text);
    let mut line = prefix.to_string();
    let mut empty = true;
    for word in text.split(' ') {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            out.push_str(line.trim_end());
            out.push('\n');
            line = indent.clone();
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

/// Where the lines of a text begin: places are asked for many times.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Lines<'a> {
        let starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(i, _)| i + 1))
            .collect();
        Lines { text, starts }
    }

    /// Lines with a content: what follows the last line feed is none.
    fn count(&self) -> usize {
        self.starts.len() - usize::from(self.text.is_empty() || self.text.ends_with('\n'))
    }

    fn index(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset).saturating_sub(1)
    }

    fn line(&self, index: usize) -> &'a str {
        let start = self.starts[index];
        let end = self.starts.get(index + 1).map_or(self.text.len(), |next| next - 1);
        self.text[start..end].trim_end_matches('\r')
    }

    fn place(&self, offset: usize) -> crate::source::Place {
        let offset = self.text.floor_char_boundary(offset);
        let index = self.index(offset);
        let column = self.text[self.starts[index]..offset].chars().count() + 1;
        crate::source::Place {
            line: index + 1,
            column,
        }
    }
}

/// A marked part of one line.
struct Mark<'a> {
    line: usize,
    /// Bytes in the line.
    start: usize,
    end: usize,
    text: &'a str,
}

fn snippet(out: &mut String, lines: &Lines<'_>, diagnostic: &Diagnostic, style: Style) {
    let mut marks: Vec<Mark<'_>> = diagnostic
        .labels
        .iter()
        .map(|label| mark(lines, label.span, &label.text))
        .collect();
    // Marks that are near each other share a drawing; the place of the mistake comes first.
    while let Some(first) = marks.first().map(|mark| mark.line) {
        let (near, far): (Vec<_>, Vec<_>) = marks.into_iter().partition(|mark| mark.line.abs_diff(first) <= 2);
        draw(out, lines, &near, style);
        marks = far;
    }
}

fn draw(out: &mut String, lines: &Lines<'_>, marks: &[Mark<'_>], style: Style) {
    let marked = marks.iter().map(|mark| mark.line).max().unwrap_or(0);
    let last = (marked + 2).min(lines.count()).max(marked + 1);
    let first = marks.iter().map(|mark| mark.line.saturating_sub(1)).min().unwrap_or(0);
    let mut copy = String::new();
    let mut labels = Vec::new();
    for index in first..last {
        let here: Vec<&Mark<'_>> = marks.iter().filter(|mark| mark.line == index).collect();
        copy_line(&mut copy, lines.line(index), &here, &mut labels);
        copy.push('\n');
    }
    let report = MietteDiagnostic::new("").with_labels(labels);
    let report = Report::new(report).with_source_code(Window { text: copy, first });
    let theme = if style.unicode {
        GraphicalTheme::unicode_nocolor()
    } else {
        GraphicalTheme::none()
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(WIDTH)
        .with_links(false);
    let mut drawn = String::new();
    if handler.render_report(&mut drawn, report.as_ref()).is_err() {
        // Writing to a string does not fail; a place that cannot be drawn is still named in the first line.
        return;
    }
    for line in drawn.lines().skip_while(|line| !is_frame(line)) {
        // What follows in this line is the place of the first label in the text, which need not be the mistake's.
        let edge = if style.unicode { "╭─" } else { ",-" };
        match line.split_once(edge).filter(|_| is_frame(line)) {
            Some((indent, _)) => drop(writeln!(out, "{indent}{edge}")),
            None => drop(writeln!(out, "{}", line.trim_end())),
        }
    }
}

/// Some lines of a text, numbered as in the whole of it.
#[derive(Debug)]
struct Window {
    text: String,
    first: usize,
}

impl SourceCode for Window {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let read = self.text.read_span(span, before, after)?;
        let line = self.first + read.line();
        Ok(Box::new(MietteSpanContents::new(
            read.data(),
            *read.span(),
            line,
            read.column(),
            read.line_count(),
        )))
    }
}

/// The upper edge of a snippet, behind which miette names the place of the first label in the text.
fn is_frame(line: &str) -> bool {
    let line = line.trim_start();
    line.contains("╭─") && !line.contains('│') || line.starts_with(",-")
}

fn mark<'a>(lines: &Lines<'_>, span: Span, text: &'a str) -> Mark<'a> {
    let line = lines.index(span.start.min(lines.text.len()));
    let content = lines.line(line);
    let start = content.floor_char_boundary(span.start.saturating_sub(lines.starts[line]).min(content.len()));
    let end = content.floor_char_boundary((start + span.len()).min(content.len()));
    Mark {
        line,
        start,
        end: end.max(start),
        text,
    }
}

/// Copies what fits, around the marked places; `marks` holds those of this line.
fn copy_line(copy: &mut String, line: &str, marks: &[&Mark<'_>], labels: &mut Vec<LabeledSpan>) {
    let room = WIDTH - GUTTER;
    let column = |offset: usize| line[..offset].chars().count();
    // The first mark is the place of the mistake; others on the line are marked only where they fit beside it.
    let first = marks.first().map_or(0, |mark| column(mark.start));
    let skip = if first > CARET { first - CARET / 2 } else { 0 };
    let base = copy.len();
    // Where each byte of the line went, for those that are shown.
    let mut shown: Vec<(usize, usize)> = Vec::new();
    if skip > 0 {
        copy.push('…');
    }
    let mut width = usize::from(skip > 0);
    let fits = |mark: &Mark<'_>| (skip..skip + room - 20).contains(&column(mark.start));
    for (offset, c) in line.char_indices().skip(skip) {
        if width >= room - 1 && line.len() > offset + c.len_utf8() {
            shown.push((offset, copy.len()));
            copy.push('…');
            break;
        }
        shown.push((offset, copy.len()));
        let before = copy.len();
        escape_char(c, copy);
        width += copy[before..].chars().count();
    }
    let end_of_copy = copy.len();
    let to_copy = |offset: usize| {
        let found = shown.iter().find(|(from, _)| *from >= offset);
        found.map_or(end_of_copy, |(_, to)| *to)
    };
    for mark in marks.iter().filter(|mark| fits(mark)) {
        let start = to_copy(mark.start);
        let end = to_copy(mark.end).max(start);
        let caret = copy[base..start].chars().count();
        let text = break_words(&escape(mark.text), room.saturating_sub(caret + 6).max(16));
        labels.push(LabeledSpan::new(Some(text), start, end - start));
    }
}

fn break_words(text: &str, width: usize) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::codes;

    const ASCII: Style = Style {
        unicode: false,
        color: false,
    };

    fn shown(text: &str, diagnostics: &[Diagnostic], style: Style) -> String {
        show_diagnostics(&Source::new("p.yaml", text), diagnostics, style)
    }

    #[test]
    fn warnings_of_one_code_are_counted_after_a_few_and_errors_never() {
        let text = "x\n".repeat(30);
        let warning = |line: usize| {
            let span = Span::new(2 * line, 2 * line + 1);
            Diagnostic::error(codes::WRONG_TYPE, span, "odd", "here").warning()
        };
        let warnings: Vec<Diagnostic> = (0..12).map(warning).collect();
        let out = shown(&text, &warnings, ASCII);
        assert_eq!(out.matches(": odd\n").count(), ALIKE, "{out}");
        let more = "7 more like these, at p.yaml:6:1, p.yaml:7:1,";
        assert!(out.contains(more) && out.ends_with("12 warnings\n"), "{out}");
        assert!(out.lines().all(|line| line.chars().count() <= WIDTH), "{out}");
        let errors: Vec<Diagnostic> = (0..12).map(|line| at(2 * line, 2 * line + 1)).collect();
        assert_eq!(shown(&text, &errors, ASCII).matches("wrong\n").count(), 12);
    }

    fn at(start: usize, end: usize) -> Diagnostic {
        Diagnostic::error(codes::WRONG_TYPE, Span::new(start, end), "wrong", "here")
    }

    #[test]
    fn the_first_line_names_the_place_of_the_mistake_not_of_the_first_label() {
        let text = "a: 1\n\n\n\n\n\nb: 2\n";
        let out = shown(text, &[at(10, 11).and(Span::new(0, 1), "explains")], ASCII);
        let expected = "\
error[HG0101] p.yaml:7:1: wrong
   ,-
 6 |
 7 | b: 2
   : |
   : `-- here
   `----
   ,-
 1 | a: 1
   : |
   : `-- explains
 2 |
   `----

1 error
";
        assert_eq!(out, expected);
    }

    #[test]
    fn each_problem_is_shown_once_and_counted() {
        let out = shown("a: 1\n", &[at(3, 4), at(0, 1).warning(), at(3, 4)], ASCII);
        assert!(out.ends_with("\n1 error, 1 warning\n"), "{out}");
        assert!(out.starts_with("warning[HG0101] p.yaml:1:1: wrong\n"), "{out}");
        assert_eq!(shown("a: 1\n", &[], ASCII), "");
    }

    #[test]
    fn a_long_line_is_cut_around_the_mark() {
        let text = format!("{}bad{}", "x".repeat(50_000), "y".repeat(50_000));
        let out = shown(&text, &[at(50_000, 50_003)], Style::default());
        assert!(out.lines().all(|line| line.chars().count() <= WIDTH), "{out}");
        assert!(out.contains("xbady"), "{out}");
    }

    #[test]
    fn nothing_from_outside_reaches_the_terminal_raw() {
        let text = "a: \x1b[31mred\u{202e}\u{7}\r\nb";
        let mut problem = at(3, 8).fix("\x1b]0;title\x07");
        problem.message = "\u{2066}m".to_string();
        let out = shown(
            text,
            &[problem],
            Style {
                unicode: true,
                color: true,
            },
        );
        let out = out.replace("\x1b[1;31merror\x1b[0m", "error");
        assert!(
            !out.contains(['\x1b', '\r', '\u{7}', '\u{202e}', '\u{2066}']),
            "{out:?}"
        );
        assert!(out.contains("\\u{1b}[31mred"), "{out}");
    }

    #[test]
    fn an_error_about_the_world_shows_where_the_plan_asks() {
        let source = Source::new("p.yaml", "tiers:\n  a: {}\n");
        let error = Error::failed(codes::WRONG_TYPE, "Tier/a: no")
            .at(Span::new(9, 10))
            .cause("the server's words")
            .fix("ask");
        let out = show_error(Some(&source), &error, ASCII);
        assert!(out.starts_with("error[HG0101] p.yaml:2:3: Tier/a: no\n"), "{out}");
        assert!(out.ends_with("  caused by: the server's words\n  fix: ask\n"), "{out}");
        assert_eq!(
            show_error(None, &Error::failed(codes::WRONG_TYPE, "x"), ASCII),
            "error[HG0101] x\n"
        );
    }
}

//! Bytes to marked trees: every node keeps the place that wrote it, every scalar stays text.
//!
//! The only file that names the YAML parser. Knows nothing of the plan language; what it refuses (tags, merge keys,
//! keys that are no scalars, repeated keys, alias bombs, deep nesting, binary text) is refused everywhere.

use std::collections::BTreeMap;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, StructureStyle};

use crate::error::{Diagnostic, codes};
use crate::plan::node::{Entry, Kind, Node, Style};
use crate::plan::text;
use crate::source::{Source, Span, Spanned};

/// Levels of mappings and lists; a plan needs about fifteen. It also bounds every recursion over a tree.
const DEPTH: usize = 64;
/// Nodes that the aliases of one file may add, all together.
const ALIASED_NODES: usize = 100_000;

/// What a text holds.
pub(crate) struct Text {
    pub source: Source,
    /// The documents without syntax errors that are not empty.
    pub documents: Vec<Node>,
    pub problems: Vec<Diagnostic>,
}

/// Reads every document; a syntax error ends its document, not the text.
pub(crate) fn read(name: &str, bytes: &[u8]) -> Text {
    let (text, problem) = text::decode(bytes);
    let mut reader = Reader {
        text: &text,
        ..Reader::default()
    };
    match problem {
        Some(problem) => reader.problems.push(problem),
        None => reader.run(),
    }
    let Reader {
        documents, problems, ..
    } = reader;
    Text {
        documents,
        problems,
        source: Source::new(name, text),
    }
}

/// A collection that is not closed yet.
struct Open {
    start: usize,
    flow: bool,
    anchor: usize,
    map: bool,
    items: Vec<Node>,
    entries: Vec<Entry>,
    key: Option<(Spanned<String>, Style)>,
    seen: BTreeMap<String, Span>,
}

#[derive(Default)]
struct Reader<'a> {
    text: &'a str,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Anchored>,
    aliased: usize,
    root: Option<Node>,
    documents: Vec<Node>,
    problems: Vec<Diagnostic>,
}

struct Anchored {
    node: Node,
    nodes: usize,
    height: usize,
}

impl Reader<'_> {
    fn run(&mut self) {
        let options = granit_parser::options! {
            emit_unresolved_aliases: true,
            emit_comments: false,
            flow_nesting_limit: DEPTH,
            block_nesting_limit: DEPTH,
        };
        let mut parser = Parser::new_from_str_with_options(self.text, options);
        loop {
            let go_on = match parser.next_event() {
                None => return,
                Some(Ok((event, span))) => self.event(event, &span),
                Some(Err(error)) => {
                    let problem = self.syntax(&error);
                    self.problems.push(problem);
                    false
                }
            };
            if !go_on {
                self.open.clear();
                self.anchors.clear();
                self.root = None;
                if !matches!(parser.proceed_next_document(), Ok(true)) {
                    return;
                }
            }
        }
    }

    /// False when the rest of the document must be left.
    fn event(&mut self, event: Event<'_>, at: &granit_parser::Span) -> bool {
        let span = self.span(at);
        match event {
            Event::DocumentStart(..) => {
                self.anchors.clear();
                self.root = None;
            }
            Event::DocumentEnd => {
                if let Some(root) = self
                    .root
                    .take()
                    .filter(|root| !(root.is_null() && root.span.is_empty()))
                {
                    self.documents.push(root);
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.tag(tag.is_some(), at);
                let style = if style == ScalarStyle::Plain {
                    Style::Plain
                } else {
                    Style::Quoted
                };
                let kind = Kind::Scalar {
                    text: text.into_owned(),
                    style,
                };
                self.finish(
                    Node {
                        span,
                        kind,
                        via_alias: None,
                    },
                    anchor,
                );
            }
            Event::SequenceStart(style, anchor, tag) => {
                self.tag(tag.is_some(), at);
                return self.start(span, style, anchor, false);
            }
            Event::MappingStart(style, anchor, tag) => {
                self.tag(tag.is_some(), at);
                return self.start(span, style, anchor, true);
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            Event::Alias(id) => return self.alias(id, span),
            Event::UnresolvedAlias(name) => {
                let message = format!("no anchor `&{name}` stands before this alias");
                let problem = Diagnostic::error(codes::ALIAS, span, message, "nothing to repeat");
                let fix = format!("write `&{name}` before the value it repeats, earlier in this document");
                self.problems.push(problem.fix(fix));
                self.finish(Node::bad(span), 0);
            }
            _ => {}
        }
        true
    }

    fn start(&mut self, span: Span, style: StructureStyle, anchor: usize, map: bool) -> bool {
        if self.open.len() >= DEPTH {
            self.problems.push(too_deep(span));
            return false;
        }
        self.open.push(Open {
            start: span.start,
            flow: style == StructureStyle::Flow,
            anchor,
            map,
            items: Vec::new(),
            entries: Vec::new(),
            key: None,
            seen: BTreeMap::new(),
        });
        true
    }

    fn close(&mut self, end: Span) {
        let Some(open) = self.open.pop() else { return };
        let last = open.items.last().or(open.entries.last().map(|entry| &entry.value));
        let last = last.map_or(open.start, |node| node.via_alias.unwrap_or(node.span).end);
        let end = if open.flow { end.end } else { last };
        let kind = if open.map {
            Kind::Map(open.entries)
        } else {
            Kind::Seq(open.items)
        };
        self.finish(
            Node {
                span: Span::new(open.start, end.max(open.start)),
                kind,
                via_alias: None,
            },
            open.anchor,
        );
    }

    fn alias(&mut self, id: usize, span: Span) -> bool {
        let Some(anchored) = self.anchors.get(&id) else {
            let problem = Diagnostic::error(
                codes::ALIAS,
                span,
                "an alias stands inside its own anchor",
                "has no end",
            );
            self.problems.push(problem);
            self.finish(Node::bad(span), 0);
            return true;
        };
        if self.open.len() + anchored.height > DEPTH {
            self.problems.push(too_deep(span));
            return false;
        }
        self.aliased += anchored.nodes;
        if self.aliased > ALIASED_NODES {
            let message = format!("aliases repeat more than {ALIASED_NODES} values");
            let problem = Diagnostic::error(codes::TOO_LARGE, span, message, "too many with this one");
            let problem = problem.consequence("a few lines of such text can fill any memory");
            self.problems.push(problem.fix("write the values out"));
            return false;
        }
        let node = Node {
            via_alias: Some(span),
            ..anchored.node.clone()
        };
        self.finish(node, 0);
        true
    }

    /// A node is complete: it is the document, an item, a key or a value.
    fn finish(&mut self, node: Node, anchor: usize) {
        if anchor > 0 {
            let (nodes, height) = node.size();
            self.anchors.insert(
                anchor,
                Anchored {
                    node: node.clone(),
                    nodes,
                    height,
                },
            );
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        if !open.map {
            open.items.push(node);
        } else if let Some((key, key_style)) = open.key.take() {
            if key_style == Style::Refused && key.value == "<<" {
                // Refused, but read as it was meant: what seems to be missing is not.
                let merged = node
                    .entries()
                    .iter()
                    .filter(|entry| !open.seen.contains_key(&entry.key.value));
                open.entries.extend(merged.cloned());
                return;
            }
            open.entries.push(Entry {
                key,
                key_style,
                value: node,
            });
        } else {
            self.key(node);
        }
    }

    fn key(&mut self, node: Node) {
        let span = node.via_alias.unwrap_or(node.span);
        let (text, style) = match node.kind {
            Kind::Scalar { text, style } => (text, style),
            Kind::Bad => (String::new(), Style::Refused),
            Kind::Seq(_) | Kind::Map(_) => {
                let message = "a key must be a single word or text";
                let problem = Diagnostic::error(codes::KEY, span, message, "a list or mapping as a key");
                self.problems.push(problem.fix("quote it if it is meant as text"));
                (String::new(), Style::Refused)
            }
        };
        let mut style = style;
        if text == "<<" && style == Style::Plain {
            let problem = Diagnostic::error(
                codes::MERGE_KEY,
                span,
                "merge key `<<` is not supported",
                "not in YAML 1.2",
            );
            self.problems.push(
                problem
                    .consequence("readers disagree on which of two merged values wins")
                    .fix("write the keys out, or use an anchor and alias for the whole value"),
            );
            style = Style::Refused;
        }
        let Some(open) = self.open.last_mut() else { return };
        if style == Style::Refused {
            // Reported already.
        } else if let Some(first) = open.seen.get(&text) {
            let problem = Diagnostic::error(
                codes::DUPLICATE_KEY,
                span,
                format!("duplicate key `{text}`"),
                "set again here",
            );
            self.problems
                .push(problem.and(*first, "first set here").fix("remove one of the two"));
        } else {
            open.seen.insert(text.clone(), span);
        }
        open.key = Some((Spanned { value: text, span }, style));
    }

    fn tag(&mut self, tagged: bool, at: &granit_parser::Span) {
        if !tagged {
            return;
        }
        let span = at.tag_span().map_or_else(|| self.span(at), |tag| self.span(&tag));
        let tag = &self.text[span.start..span.end];
        let problem = Diagnostic::error(
            codes::TAG,
            span,
            format!("tag `{tag}` is not supported"),
            "not part of the language",
        );
        self.problems
            .push(problem.fix("remove the tag; quote the value where a string is meant"));
    }

    fn syntax(&self, error: &ScanError) -> Diagnostic {
        let mark = error.marker();
        let start = self.boundary(mark.byte_offset().unwrap_or(0));
        let end = start
            + self.text[start..]
                .chars()
                .next()
                .filter(|c| *c != '\n')
                .map_or(0, char::len_utf8);
        let span = Span::new(start, end);
        if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
            return too_deep(span);
        }
        let words = error.kind().to_string();
        let tab = words.contains("tab");
        let problem = Diagnostic::error(
            codes::SYNTAX,
            span,
            format!("not valid YAML: {words}"),
            "cannot be read from here",
        );
        let line = &self.text[self.text[..start].rfind('\n').map_or(0, |i| i + 1)..];
        let line = line.lines().next().unwrap_or_default();
        if tab {
            problem.fix("indent with spaces")
        } else if line.contains("${") {
            problem.fix("put quotes around `${...}` inside [ ] and { }: \"${name}\"")
        } else {
            problem.fix("close what is open, quote texts that hold `: ` or ` #`, and indent keys of one mapping alike")
        }
    }

    fn span(&self, at: &granit_parser::Span) -> Span {
        let range = at.byte_range().unwrap_or(0..0);
        let start = self.boundary(range.start);
        Span::new(start, self.boundary(range.end).max(start))
    }

    fn boundary(&self, offset: usize) -> usize {
        self.text.floor_char_boundary(offset)
    }
}

fn too_deep(span: Span) -> Diagnostic {
    let message = format!("nested more than {DEPTH} levels deep");
    Diagnostic::error(codes::TOO_DEEP, span, message, "one level too many")
        .fix("close the brackets that were left open")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes_of(text: &str) -> Vec<&'static str> {
        read("p.yaml", text.as_bytes())
            .problems
            .iter()
            .map(|problem| problem.code.as_str())
            .collect()
    }

    /// The tree without places.
    fn plain(node: &Node) -> String {
        match &node.kind {
            Kind::Bad => "!".to_string(),
            Kind::Scalar { text, style } => format!("{}{text}", if *style == Style::Plain { "" } else { "'" }),
            Kind::Seq(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(" ")),
            Kind::Map(entries) => {
                let entries = entries
                    .iter()
                    .map(|entry| format!("{}:{}", entry.key.value, plain(&entry.value)));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(" "))
            }
        }
    }

    fn trees(text: &str) -> Vec<String> {
        read("p.yaml", text.as_bytes()).documents.iter().map(plain).collect()
    }

    #[test]
    fn scalars_stay_text_and_keep_their_quotes() {
        assert_eq!(
            trees("a: on\nb: \"on\"\nc: 017\nd: |\n  x\n"),
            ["{a:on b:'on c:017 d:'x\n}"]
        );
    }

    #[test]
    fn every_node_knows_its_place() {
        let text = "\u{feff}b\u{fc}ro:\n  - {a: 'x y'}\nz: 1\n";
        let read = read("p.yaml", text.as_bytes());
        let (text, root) = (read.source.text(), &read.documents[0]);
        let at = |span: Span| &text[span.start..span.end];
        assert_eq!(at(root.entries()[0].key.span), "b\u{fc}ro");
        let item = &root.entries()[0].value.items()[0];
        assert_eq!(at(item.span), "{a: 'x y'}");
        assert_eq!(at(item.entries()[0].value.span), "'x y'");
        assert_eq!(at(root.entries()[1].value.span), "1");
    }

    #[test]
    fn an_alias_repeats_a_value_and_remembers_both_places() {
        let text = "a: &x {k: v}\nb: *x\n";
        let read = read("p.yaml", text.as_bytes());
        assert_eq!(plain(&read.documents[0]), "{a:{k:v} b:{k:v}}");
        let b = &read.documents[0].entries()[1].value;
        assert_eq!(&text[b.via_alias.expect("via an alias").start..], "*x\n");
        assert_eq!(b.span, read.documents[0].entries()[0].value.span);
        assert_eq!(codes_of("a: *x\n"), ["HG0007"]);
        assert_eq!(codes_of("a: &x [*x]\n"), ["HG0007"]);
        assert_eq!(
            codes_of("a: &x 1\n---\nb: *x\n"),
            ["HG0007"],
            "anchors end with their document"
        );
    }

    #[test]
    fn a_broken_document_does_not_hide_the_next() {
        let text = "a: [\n---\nb: 1\nb: 2\n---\nc: }\n---\nd: !t x\n";
        assert_eq!(codes_of(text), ["HG0001", "HG0002", "HG0001", "HG0004"]);
        assert_eq!(
            trees("a: }\n---\nb: 1\n---\n---\n# nothing\n"),
            ["{b:1}"],
            "empty documents are none"
        );
    }

    #[test]
    fn a_merge_key_is_refused_and_read_as_meant() {
        assert_eq!(codes_of("a: &x {k: v, l: w}\nb: {<<: *x, l: own}\n"), ["HG0005"]);
        assert_eq!(
            trees("a: &x {k: v}\nb: {<<: *x, m: own}\n"),
            ["{a:{k:v} b:{k:v m:own}}"]
        );
        assert_eq!(
            codes_of("'<<': 1\n"),
            Vec::<&str>::new(),
            "in quotes it is a key like any other"
        );
    }

    #[test]
    fn what_is_no_text_is_refused_with_its_place() {
        for (bytes, start) in [
            (&b"a: \xff"[..], 3),
            (b"a: 1\rb: 2", 4),
            (b"a\0b", 1),
            (b"\xef\xbb\xbfa: \x07", 3),
            ("a: \u{202e}".as_bytes(), 3),
        ] {
            let problems = read("p.yaml", bytes).problems;
            assert_eq!((problems.len(), problems[0].code.as_str()), (1, "HG0003"), "{bytes:?}");
            assert_eq!(problems[0].span().start, start, "{bytes:?}");
        }
        assert_eq!(
            trees("a: 1\r\nb: \"\\u202e\"\r\n"),
            ["{a:1 b:'\u{202e}}"],
            "an escape can be seen"
        );
    }
}

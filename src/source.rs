//! The text of a plan and places in it.
//!
//! Knows nothing of YAML: a [`Span`] is a byte range, a [`Source`] turns it into a line and a column.

use std::fmt;

/// A byte range in a [`Source`]; `start <= end`, both on character boundaries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

impl Span {
    pub fn new(start: usize, end: usize) -> Self {
        Span { start, end }
    }

    pub fn len(self) -> usize {
        self.end - self.start
    }

    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// A value and the place that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    pub value: T,
    pub span: Span,
}

/// A named text: a plan as it was read.
#[derive(Clone, Debug)]
pub struct Source {
    name: String,
    text: String,
    /// Where each line begins: answers ask for a thousand places of a large plan.
    lines: Vec<usize>,
}

/// A place as people and editors count it: line and column from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl Source {
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let after = text.match_indices('\n').map(|(at, _)| at + 1);
        Source {
            name: name.into(),
            lines: std::iter::once(0).chain(after).collect(),
            text,
        }
    }

    /// The file name as the user gave it, `-` for standard input.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line and column of a byte offset; an offset past the end counts as the end.
    pub fn place(&self, offset: usize) -> Place {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        // The first line begins at 0, so there is one that begins before.
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = self.lines[line - 1];
        Place {
            line,
            column: self.text[start..offset].chars().count() + 1,
        }
    }

    /// `file:line:column` of a span's start.
    pub fn locate(&self, span: Span) -> String {
        format!("{}:{}", self.name, self.place(span.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_not_bytes() {
        let source = Source::new("p.yaml", "a: b\nbüro: x\n");
        assert_eq!(source.locate(Span::new(12, 13)), "p.yaml:2:7");
        assert_eq!(source.place(999), Place { line: 3, column: 1 });
        assert_eq!(source.place(0), Place { line: 1, column: 1 });
        assert_eq!(source.place(4), Place { line: 1, column: 5 });
        assert_eq!(source.place(5), Place { line: 2, column: 1 });
        // within the two bytes of a letter
        assert_eq!(source.place(7), Place { line: 2, column: 2 });
        assert_eq!(Source::new("p", "").place(3), Place { line: 1, column: 1 });
    }
}

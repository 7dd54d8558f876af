//! Tokens to the tree of a selector, by the grammar of Calico's `libcalico-go/lib/selector/parser/parser.go`.
//!
//! Uses its own stack instead of recursion: Calico sets no limit to nesting, and neither does this parser.

use std::collections::BTreeSet;

use super::lex::{Placed, Token, tokens};
use super::{Node, Relation, SelectorError, Test};

/// An open parenthesis: what stands before it at its level, and whether it is negated.
#[derive(Default)]
struct Level {
    negated: bool,
    opened_at: usize,
    any: Vec<usize>,
    all: Vec<usize>,
}

struct Parser<'a> {
    tokens: &'a [Placed],
    at: usize,
    /// The parser got to the end: a mistake it found then is one of missing text.
    saw_end: bool,
    nodes: Vec<Node>,
}

/// The nodes, children before parents, the root last.
pub(super) fn parse(text: &[u8]) -> Result<Vec<Node>, SelectorError> {
    let (tokens, mistake) = tokens(text);
    let mut parser = Parser {
        tokens: &tokens,
        at: 0,
        saw_end: false,
        nodes: Vec::new(),
    };
    if tokens.len() == 1 {
        parser.add(Node::Test(Test::All));
    } else if let Err(error) = parser.selector()
        && (mistake.is_none() || !parser.saw_end)
    {
        // Calico reads all tokens first, but of two mistakes the one a reader meets first explains more.
        return Err(error);
    }
    mistake.map_or(Ok(parser.nodes), Err)
}

impl Parser<'_> {
    fn peek(&self) -> &Placed {
        // The last token is End, and nothing reads past it.
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn take(&mut self) -> &Placed {
        let placed = &self.tokens[self.at.min(self.tokens.len() - 1)];
        self.at += 1;
        self.saw_end |= placed.token == Token::End;
        placed
    }

    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn negate(&mut self, node: usize, negated: bool) -> usize {
        if negated { self.add(Node::Not(node)) } else { node }
    }

    /// One operand stands for itself; two or more make a chain.
    fn chain(&mut self, mut operands: Vec<usize>, make: fn(Vec<usize>) -> Node) -> usize {
        match operands.len() {
            1 => operands.remove(0),
            _ => self.add(make(operands)),
        }
    }

    fn close(&mut self, mut level: Level) -> usize {
        let all = self.chain(std::mem::take(&mut level.all), Node::All);
        level.any.push(all);
        let any = self.chain(level.any, Node::Any);
        self.negate(any, level.negated)
    }

    fn selector(&mut self) -> Result<(), SelectorError> {
        let mut outer: Vec<Level> = Vec::new();
        let mut level = Level::default();
        loop {
            let mut negated = false;
            while self.peek().token == Token::Not {
                negated = !negated;
                self.at += 1;
            }
            if self.peek().token == Token::Open {
                let opened_at = self.take().start;
                outer.push(std::mem::replace(
                    &mut level,
                    Level {
                        negated,
                        opened_at,
                        ..Level::default()
                    },
                ));
                continue;
            }
            let test = self.test()?;
            let node = self.add(Node::Test(test));
            let node = self.negate(node, negated);
            level.all.push(node);
            while self.peek().token == Token::Close && !outer.is_empty() {
                self.at += 1;
                let inner = std::mem::replace(&mut level, outer.pop().unwrap_or_default());
                let node = self.close(inner);
                level.all.push(node);
            }
            match self.peek().token {
                Token::And => {}
                Token::Or => {
                    let all = self.chain(std::mem::take(&mut level.all), Node::All);
                    level.any.push(all);
                }
                Token::End if outer.is_empty() => {
                    self.close(level);
                    return Ok(());
                }
                Token::End => {
                    self.saw_end = true;
                    let at = level.opened_at;
                    return Err(SelectorError::at(at, at + 1, "`(` is never closed").fix("add `)` where it ends"));
                }
                _ => return Err(self.left_over()),
            }
            self.at += 1;
        }
    }

    fn test(&mut self) -> Result<Test, SelectorError> {
        let Placed { token, start, end } = self.take();
        let (start, end) = (*start, *end);
        let label = match token {
            Token::All => return Ok(Test::All),
            Token::Global => return Ok(Test::Global),
            Token::Has(label) => return Ok(Test::Has(label.clone())),
            Token::Label(label) => label.clone(),
            Token::End => return Err(SelectorError::at(start, end, "expected a condition, found the end")),
            Token::Text(_) => {
                return Err(
                    SelectorError::at(start, end, "a quoted value where a label name belongs")
                        .fix("write the label name without quotes"),
                );
            }
            _ => {
                return Err(SelectorError::at(
                    start,
                    end,
                    "expected a condition, such as `has(label)`",
                ));
            }
        };
        let operator = self.take();
        let relation = match operator.token {
            Token::Equal => Relation::Equal,
            Token::NotEqual => Relation::NotEqual,
            Token::Contains => Relation::Contains,
            Token::StartsWith => Relation::StartsWith,
            Token::EndsWith => Relation::EndsWith,
            Token::In => return Ok(Test::In(label, self.set()?)),
            Token::NotIn => return Ok(Test::NotIn(label, self.set()?)),
            Token::Open if matches!(label.as_str(), "has" | "all" | "global") => {
                return Err(
                    SelectorError::at(start, operator.end, format!("a blank between `{label}` and `(`"))
                        .fix(format!("write `{label}(` without the blank")),
                );
            }
            _ => {
                return Err(
                    SelectorError::at(start, end, format!("label `{label}` has no operator after it"))
                        .fix(format!("write `has({label})` or `{label} == \"value\"`")),
                );
            }
        };
        match self.take() {
            Placed {
                token: Token::Text(value),
                ..
            } => Ok(Test::Compare(label, relation, value.clone())),
            Placed {
                token: Token::Label(word),
                start,
                end,
            } => Err(SelectorError::at(*start, *end, format!("value `{word}` is not quoted"))
                .fix(format!("write `\"{word}\"`"))),
            Placed { start, end, .. } => {
                Err(SelectorError::at(*start, *end, "expected a quoted value").fix("write the value in quotes"))
            }
        }
    }

    /// `{ "a", "b", }`: may be empty, may end with a comma, may not start with one.
    fn set(&mut self) -> Result<BTreeSet<Vec<u8>>, SelectorError> {
        let open = self.take();
        if open.token != Token::OpenBrace {
            return Err(
                SelectorError::at(open.start, open.end, "expected `{` and quoted values")
                    .fix("write the values as `{\"a\", \"b\"}`"),
            );
        }
        let mut values = BTreeSet::new();
        while let Token::Text(value) = &self.peek().token {
            values.insert(value.clone());
            self.at += 1;
            if self.peek().token != Token::Comma {
                break;
            }
            self.at += 1;
        }
        let close = self.take();
        match &close.token {
            Token::CloseBrace => Ok(values),
            Token::Label(word) => {
                Err(
                    SelectorError::at(close.start, close.end, format!("value `{word}` is not quoted"))
                        .fix(format!("write `\"{word}\"`")),
                )
            }
            _ => Err(
                SelectorError::at(close.start, close.end, "expected a quoted value, `,` or `}`")
                    .fix("write the values as `{\"a\", \"b\"}`"),
            ),
        }
    }

    fn left_over(&self) -> SelectorError {
        let Placed { token, start, end } = self.peek();
        let error = |message: &str| SelectorError::at(*start, *end, message);
        match token {
            Token::Close => error("`)` closes nothing").fix("remove it"),
            Token::Comma => error("`,` outside of a set").fix("write `&&` or `||`"),
            Token::Label(word) if word.eq_ignore_ascii_case("and") => error("no operator here").fix("write `&&`"),
            Token::Label(word) if word.eq_ignore_ascii_case("or") => error("no operator here").fix("write `||`"),
            _ => error("a second condition without `&&` or `||` before it").fix("write `&&` or `||` before it"),
        }
    }
}

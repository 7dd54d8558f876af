//! Bytes of a selector to tokens, by the rules of Calico's `libcalico-go/lib/selector/tokenizer/tokenizer.go`.
//!
//! The lexer is stateful in one way: right after a label only operators are looked for. Does not know the grammar.

use super::SelectorError;

/// An identifier may be this long (`tokenizer.go`, the identifier pattern).
const MAX_IDENTIFIER: usize = 512;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Open,
    Close,
    OpenBrace,
    CloseBrace,
    Comma,
    Not,
    And,
    Or,
    Equal,
    NotEqual,
    Contains,
    StartsWith,
    EndsWith,
    In,
    NotIn,
    Has(String),
    All,
    Global,
    Label(String),
    Text(Vec<u8>),
    End,
}

/// A token and the bytes it was read from.
pub(super) struct Placed {
    pub token: Token,
    pub start: usize,
    pub end: usize,
}

struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
}

/// All tokens, the last one [`Token::End`]; with a mistake, the tokens before it.
pub(super) fn tokens(text: &[u8]) -> (Vec<Placed>, Option<SelectorError>) {
    let mut lexer = Lexer { text, at: 0 };
    let mut out: Vec<Placed> = Vec::new();
    loop {
        lexer.at = lexer.blank(lexer.at);
        let start = lexer.at;
        let after_label = matches!(
            out.last(),
            Some(Placed {
                token: Token::Label(_),
                ..
            })
        );
        let (token, error) = match lexer.token(after_label) {
            Ok(token) => (token, None),
            Err(error) => (Token::End, Some(error)),
        };
        let last = token == Token::End;
        out.push(Placed {
            token,
            start,
            end: lexer.at,
        });
        if last {
            return (out, error);
        }
    }
}

fn is_identifier_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'/' | b'-')
}

impl<'a> Lexer<'a> {
    fn rest(&self, at: usize) -> &'a [u8] {
        self.text.get(at..).unwrap_or_default()
    }

    /// The first place at or after `at` that is not a space or a tab; nothing else is blank to Calico.
    fn blank(&self, at: usize) -> usize {
        at + self.rest(at).iter().take_while(|b| matches!(b, b' ' | b'\t')).count()
    }

    fn token(&mut self, after_label: bool) -> Result<Token, SelectorError> {
        let rest = self.rest(self.at);
        let (token, length) = match rest {
            [] => (Token::End, 0),
            [b'(', ..] => (Token::Open, 1),
            [b')', ..] => (Token::Close, 1),
            [b'{', ..] => (Token::OpenBrace, 1),
            [b'}', ..] => (Token::CloseBrace, 1),
            [b',', ..] => (Token::Comma, 1),
            [b'=', b'=', ..] => (Token::Equal, 2),
            [b'&', b'&', ..] => (Token::And, 2),
            [b'|', b'|', ..] => (Token::Or, 2),
            [b'!', b'=', ..] => (Token::NotEqual, 2),
            [b'!', ..] => (Token::Not, 1),
            [quote @ (b'"' | b'\''), ..] => return self.text_literal(*quote),
            [single @ (b'=' | b'&' | b'|'), ..] => {
                let single = char::from(*single);
                return Err(
                    SelectorError::at(self.at, self.at + 1, format!("a single `{single}` is no operator"))
                        .fix(format!("write `{single}{single}`")),
                );
            }
            _ if after_label => return self.operator(),
            _ => return self.function_or_label(),
        };
        self.at += length;
        Ok(token)
    }

    /// Everything to the next quote of the same kind; there are no escapes.
    fn text_literal(&mut self, quote: u8) -> Result<Token, SelectorError> {
        let start = self.at + 1;
        let Some(length) = self.rest(start).iter().position(|b| *b == quote) else {
            let quote = char::from(quote);
            return Err(
                SelectorError::at(self.at, self.text.len(), format!("no closing {quote}"))
                    .fix(format!("close the value with {quote}")),
            );
        };
        self.at = start + length + 1;
        Ok(Token::Text(self.text[start..start + length].to_vec()))
    }

    /// The word operators, in the order Calico tries them.
    fn operator(&mut self) -> Result<Token, SelectorError> {
        let words: [(&[&str], Token); 5] = [
            (&["contains"], Token::Contains),
            (&["starts", "with"], Token::StartsWith),
            (&["ends", "with"], Token::EndsWith),
            (&["not", "in"], Token::NotIn),
            (&["in"], Token::In),
        ];
        for (words, token) in words {
            if let Some(end) = self.words(words) {
                self.at = end;
                return Ok(token);
            }
        }
        let end = self.word_end(self.at);
        Err(
            SelectorError::at(self.at, end, format!("{} is no operator", self.shown(self.at, end)))
                .fix(self.operator_fix(end)),
        )
    }

    /// Where the words end, if they stand here. Blanks between them may be missing (`notin`), and after a two-word
    /// operator they are skipped *before* looking for an identifier byte, so `not in x` is refused as `inx` is.
    fn words(&self, words: &[&str]) -> Option<usize> {
        let mut at = self.at;
        for word in words {
            if !self.rest(at).starts_with(word.as_bytes()) {
                return None;
            }
            at += word.len();
            if words.len() > 1 {
                at = self.blank(at);
            }
        }
        let clear = self.rest(at).first().is_none_or(|b| !is_identifier_byte(*b));
        clear.then_some(at)
    }

    fn operator_fix(&self, end: usize) -> String {
        match &self.text[self.at..end] {
            b"is" | b"eq" | b"equals" | b"matches" | b"like" => "write `==` and a quoted value".to_string(),
            b"\n" | b"\r" => "write a space instead of the line break".to_string(),
            _ => "write `==`, `!=`, `in`, `not in`, `contains`, `starts with` or `ends with`".to_string(),
        }
    }

    fn function_or_label(&mut self) -> Result<Token, SelectorError> {
        let rest = self.rest(self.at);
        if rest.starts_with(b"has(") {
            let start = self.blank(self.at + 4);
            let end = self.identifier(start)?;
            let label = self.ascii(start, end);
            return self.close_function(end, Token::Has(label));
        }
        if rest.starts_with(b"all(") {
            return self.close_function(self.at + 4, Token::All);
        }
        if rest.starts_with(b"global(") {
            return self.close_function(self.at + 7, Token::Global);
        }
        let end = self.identifier(self.at)?;
        let label = self.ascii(self.at, end);
        self.at = end;
        Ok(Token::Label(label))
    }

    fn close_function(&mut self, at: usize, token: Token) -> Result<Token, SelectorError> {
        let at = self.blank(at);
        if self.rest(at).first() != Some(&b')') {
            let end = self.word_end(at);
            return Err(
                SelectorError::at(at, end, format!("expected `)`, found {}", self.shown(at, end)))
                    .fix("close the parenthesis with `)`"),
            );
        }
        self.at = at + 1;
        Ok(token)
    }

    /// The end of the identifier at `at`.
    fn identifier(&self, at: usize) -> Result<usize, SelectorError> {
        let length = self.rest(at).iter().take_while(|b| is_identifier_byte(**b)).count();
        if length > MAX_IDENTIFIER {
            return Err(
                SelectorError::at(at, at + length, format!("a label name of {length} bytes"))
                    .fix(format!("use at most {MAX_IDENTIFIER} bytes")),
            );
        }
        if length > 0 {
            return Ok(at + length);
        }
        let end = self.word_end(at);
        let error = SelectorError::at(at, end, format!("expected a label name, found {}", self.shown(at, end)));
        Err(match self.rest(at).first() {
            Some(b'\n' | b'\r') => error.fix("write a space instead of the line break"),
            Some(b'$' | b'<') => error.fix("replace the placeholder with its value"),
            _ => error.fix("use letters, digits, `_`, `.`, `/` and `-` in label names"),
        })
    }

    /// The end of what a reader would take for one word at `at`: an identifier, or one character.
    fn word_end(&self, at: usize) -> usize {
        let rest = self.rest(at);
        let length = rest.iter().take_while(|b| is_identifier_byte(**b)).count();
        if length > 0 {
            return at + length;
        }
        let continuation = rest.iter().skip(1).take_while(|b| **b & 0xC0 == 0x80).count();
        at + (1 + continuation).min(rest.len())
    }

    fn shown(&self, start: usize, end: usize) -> String {
        match &self.text[start..end] {
            [] => "the end".to_string(),
            b"\n" | b"\r" => "a line break".to_string(),
            word => format!("`{}`", String::from_utf8_lossy(word).escape_debug()),
        }
    }

    /// Identifier bytes are ASCII, so nothing is lost here.
    fn ascii(&self, start: usize, end: usize) -> String {
        self.text[start..end].iter().map(|b| char::from(*b)).collect()
    }
}

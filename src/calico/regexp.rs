//! Whether Go's `regexp.Compile` takes a pattern.
//!
//! Calico's validator compiles some fields, and Felix and kube-controllers compile them again with `MustCompile`: a
//! bad one is a panic there. Checks syntax by the rules of Go's `regexp/syntax` (RE2); does not match anything.

/// The mistake in a pattern, in Go's words.
pub(super) fn mistake(pattern: &str) -> Option<&'static str> {
    let mut parser = Parser {
        rest: pattern.chars().peekable(),
        names: Vec::new(),
    };
    parser.alternatives(0).err()
}

/// Go's limits (`regexp/syntax/parse.go`): nesting and one repeat count.
const MAX_DEPTH: usize = 1000;
const MAX_REPEAT: u32 = 1000;

struct Parser<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    names: Vec<String>,
}

type Checked<T = ()> = Result<T, &'static str>;

/// What stands before a repetition operator.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    Nothing,
    Item { repeats: u32 },
    Repeated { repeats: u32 },
}

impl Before {
    /// The product of repeat counts inside, and the same without the memory of a repetition.
    fn item(self) -> Self {
        match self {
            Before::Repeated { repeats } => Before::Item { repeats },
            other => other,
        }
    }
}

impl Parser<'_> {
    fn eat(&mut self, expected: char) -> bool {
        self.rest.next_if_eq(&expected).is_some()
    }

    /// Up to the `)` that closes this level, or the end; answers the product of repeat counts inside.
    fn alternatives(&mut self, depth: usize) -> Checked<u32> {
        if depth > MAX_DEPTH {
            return Err("expression nests too deeply");
        }
        let (mut before, mut most) = (Before::Nothing, 1);
        while let Some(next) = self.rest.next() {
            before = match next {
                ')' if depth > 0 => return Ok(most),
                ')' => return Err("unexpected )"),
                '|' => Before::Nothing,
                '(' => self.group(depth, before)?,
                '[' => self.class()?,
                '\\' => self.escape(before)?,
                '*' | '+' | '?' => self.repeated(before)?,
                '{' => match self.count() {
                    Some(range) => self.counted(before, range?)?,
                    None => Before::Item { repeats: 1 },
                },
                _ => Before::Item { repeats: 1 },
            };
            if let Before::Item { repeats } | Before::Repeated { repeats } = before {
                most = most.max(repeats);
            }
        }
        if depth > 0 { Err("missing closing )") } else { Ok(most) }
    }

    fn repeated(&mut self, before: Before) -> Checked<Before> {
        let repeats = match before {
            Before::Nothing => return Err("missing argument to repetition operator"),
            Before::Repeated { .. } => return Err("invalid nested repetition operator"),
            Before::Item { repeats } => repeats,
        };
        self.eat('?');
        Ok(Before::Repeated { repeats })
    }

    fn counted(&mut self, before: Before, (least, most): (u32, Option<u32>)) -> Checked<Before> {
        if least > MAX_REPEAT || most.is_some_and(|most| most > MAX_REPEAT || most < least) {
            return Err("invalid repeat count");
        }
        let Before::Item { repeats } = before else {
            return self.repeated(before);
        };
        // Repeats of repeats multiply, and the product is limited too.
        let product = most.unwrap_or(least).saturating_mul(repeats);
        if product > MAX_REPEAT {
            return Err("invalid repeat count");
        }
        self.repeated(Before::Item {
            repeats: product.max(1),
        })
    }

    /// `n}`, `n,}` or `n,m}` after a `{`; anything else leaves the `{` to stand for itself.
    fn count(&mut self) -> Option<Checked<(u32, Option<u32>)>> {
        let text: String = self.rest.clone().take_while(|c| *c != '}').collect();
        if self.rest.clone().nth(text.chars().count()) != Some('}') {
            return None;
        }
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            (plain && (digits.len() == 1 || !digits.starts_with('0'))).then(|| digits.parse().unwrap_or(u32::MAX))
        };
        let range = match text.split_once(',') {
            None => number(&text).map(|n| (n, Some(n))),
            Some((least, "")) => number(least).map(|n| (n, None)),
            Some((least, most)) => number(least).zip(number(most)).map(|(n, m)| (n, Some(m))),
        }?;
        for _ in 0..=text.chars().count() {
            self.rest.next();
        }
        Some(Ok(range))
    }

    /// After a `(`: flags, a name, or nothing special.
    fn group(&mut self, depth: usize, before: Before) -> Checked<Before> {
        if self.eat('?') {
            let mut ahead = self.rest.clone();
            let named = match (ahead.next(), ahead.next(), ahead.next()) {
                (Some('P'), Some('<'), _) => Some(2),
                (Some('P'), ..) => return Err("invalid or unsupported Perl syntax"),
                (Some('<'), Some('=' | '!'), _) => return Err("invalid or unsupported Perl syntax"),
                (Some('<'), ..) => Some(1),
                _ => None,
            };
            match named {
                Some(skip) => self.name(skip)?,
                None if self.flags()? => return Ok(before.item()),
                None => {}
            }
        }
        let repeats = self.alternatives(depth + 1)?;
        Ok(Before::Item { repeats })
    }

    fn name(&mut self, skip: usize) -> Checked {
        for _ in 0..skip {
            self.rest.next();
        }
        let mut name = String::new();
        loop {
            match self.rest.next() {
                Some('>') if !name.is_empty() => break,
                Some(c) if c.is_ascii_alphanumeric() || c == '_' => name.push(c),
                _ => return Err("invalid named capture"),
            }
        }
        if self.names.contains(&name) {
            return Err("duplicate capture group name");
        }
        self.names.push(name);
        Ok(())
    }

    /// `i`, `m`, `s`, `U` and their negation; answers whether the group ends with them, as `(?i)` does.
    fn flags(&mut self) -> Checked<bool> {
        let (mut negated, mut seen) = (false, false);
        loop {
            match self.rest.next() {
                Some('i' | 'm' | 's' | 'U') => seen = true,
                Some('-') if !negated => {
                    (negated, seen) = (true, false);
                }
                Some(end @ (':' | ')')) if !negated || seen => return Ok(end == ')'),
                None => return Err("missing closing )"),
                _ => return Err("invalid or unsupported Perl syntax"),
            }
        }
    }

    /// After a backslash outside of a class.
    fn escape(&mut self, before: Before) -> Checked<Before> {
        match self.rest.peek() {
            Some('Q') => {
                self.rest.next();
                return Ok(self.literal(before));
            }
            Some('A' | 'b' | 'B' | 'z' | 'C' | 'd' | 'D' | 's' | 'S' | 'w' | 'W') => {
                if self.rest.next() == Some('C') {
                    return Err("invalid escape sequence");
                }
            }
            Some('p' | 'P') => self.unicode_class()?,
            _ => {
                self.character_escape()?;
            }
        }
        Ok(Before::Item { repeats: 1 })
    }

    /// `\Q...\E`: everything stands for itself.
    fn literal(&mut self, before: Before) -> Before {
        let mut empty = true;
        while let Some(c) = self.rest.next() {
            if c == '\\' && self.eat('E') {
                break;
            }
            empty = false;
        }
        if empty {
            before.item()
        } else {
            Before::Item { repeats: 1 }
        }
    }

    fn character_escape(&mut self) -> Checked<char> {
        let bad = Err("invalid escape sequence");
        let Some(c) = self.rest.next() else {
            return Err("trailing backslash at end of expression");
        };
        Ok(match c {
            '1'..='7' if !matches!(self.rest.peek(), Some('0'..='7')) => return bad,
            '0'..='7' => {
                let mut value = c as u32 - '0' as u32;
                for _ in 0..2 {
                    if let Some(digit) = self.rest.next_if(|d| matches!(d, '0'..='7')) {
                        value = value * 8 + digit as u32 - '0' as u32;
                    }
                }
                char::from_u32(value).unwrap_or('\0')
            }
            'x' => return self.hexadecimal(),
            'a' => '\u{7}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => c,
            _ => return bad,
        })
    }

    fn hexadecimal(&mut self) -> Checked<char> {
        let bad = "invalid escape sequence";
        let digits: String = if self.eat('{') {
            let text: String = std::iter::from_fn(|| self.rest.next_if(char::is_ascii_hexdigit)).collect();
            if !self.eat('}') {
                return Err(bad);
            }
            text
        } else {
            let two: String = self.rest.by_ref().take(2).collect();
            if two.len() != 2 {
                return Err(bad);
            }
            two
        };
        let value = u32::from_str_radix(&digits, 16).map_err(|_| bad)?;
        // Go accepts surrogates here; their order is all that matters to a range.
        if value > 0x10FFFF {
            Err(bad)
        } else {
            Ok(char::from_u32(value).unwrap_or('\u{d7ff}'))
        }
    }

    /// `\pL`, `\p{Greek}`, `\P{^Lu}`; which names exist is Unicode's business, so only the common ones are known.
    fn unicode_class(&mut self) -> Checked {
        self.rest.next();
        let name: String = if self.eat('{') {
            let name: String = std::iter::from_fn(|| self.rest.next_if(|c| *c != '}')).collect();
            if !self.eat('}') {
                return Err("invalid character class range");
            }
            name
        } else {
            self.rest.next().map(String::from).unwrap_or_default()
        };
        let name = name.strip_prefix('^').unwrap_or(&name);
        let category = |c: &str| {
            let mut letters = c.chars();
            matches!(letters.next(), Some('C' | 'L' | 'M' | 'N' | 'P' | 'S' | 'Z'))
                && letters.next().is_none_or(|l| l.is_ascii_lowercase())
                && letters.next().is_none()
        };
        let script = name.len() > 2 && name.starts_with(|c: char| c.is_ascii_uppercase());
        if category(name) || script {
            Ok(())
        } else {
            Err("invalid character class range")
        }
    }

    /// After a `[`.
    fn class(&mut self) -> Checked<Before> {
        self.eat('^');
        let mut first = true;
        loop {
            let mut ahead = self.rest.clone();
            match (ahead.next(), ahead.next()) {
                (None, _) => return Err("missing closing ]"),
                (Some(']'), _) if !first => {
                    self.rest.next();
                    return Ok(Before::Item { repeats: 1 });
                }
                (Some('['), Some(':')) if self.named_class()? => {}
                (Some('\\'), Some('d' | 'D' | 's' | 'S' | 'w' | 'W')) => {
                    self.rest.nth(1);
                }
                (Some('\\'), Some('p' | 'P')) => {
                    self.rest.next();
                    self.unicode_class()?;
                }
                _ => self.class_range()?,
            }
            first = false;
        }
    }

    /// `[:alpha:]` inside a class; other text after `[:` stands for itself when no `:]` follows.
    fn named_class(&mut self) -> Checked<bool> {
        const NAMES: [&str; 14] = [
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper",
            "word", "xdigit",
        ];
        let text: String = self.rest.clone().skip(2).collect();
        let Some(end) = text.find(":]") else { return Ok(false) };
        let name = text[..end].strip_prefix('^').unwrap_or(&text[..end]);
        if !NAMES.contains(&name) {
            return Err("invalid character class range");
        }
        for _ in 0..text[..end].chars().count() + 4 {
            self.rest.next();
        }
        Ok(true)
    }

    fn class_range(&mut self) -> Checked {
        let low = self.class_character()?;
        let mut ahead = self.rest.clone();
        if ahead.next() == Some('-') && ahead.next().is_some_and(|c| c != ']') {
            self.rest.next();
            let high = self.class_character()?;
            if high < low {
                return Err("invalid character class range");
            }
        }
        Ok(())
    }

    fn class_character(&mut self) -> Checked<char> {
        match self.rest.next() {
            None => Err("missing closing ]"),
            Some('\\') => self.character_escape(),
            Some(c) => Ok(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::mistake;

    #[test]
    fn patterns_go_compiles() {
        for pattern in [
            "",
            "eth.*",
            "^eth[0-9]+$",
            "a|b|",
            "(a|)",
            "(?i)x",
            "(?i:x)",
            "(?P<n>x)",
            "(?<n>x)",
            "(?-s)x",
            "[]a]",
            "[^]a]",
            "[a-]",
            "[-a]",
            "[a-z-9]",
            "a{2}",
            "a{2,}",
            "a{2,3}?",
            "a{,3}",
            "a{x",
            "{",
            "x{01}",
            r"\d\w\s\b\B\A\z",
            r"\Qa*\E*",
            r"\x41\x{10FFFF}",
            r"\012",
            r"\.\-\/\_",
            r"[\d\-\]]",
            "[[:alpha:]]",
            "[[:x]",
            r"\pL\p{Greek}",
            "é+",
            "(?sm-iU:x)",
            "a(?i)*",
            "a*(?i)*",
            "(a{0}){1000}",
            "a]",
            "}",
            "(a{2}){3}",
        ] {
            assert_eq!(mistake(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn patterns_go_refuses() {
        for pattern in [
            "(",
            ")",
            "[",
            "[a",
            "a)",
            "(a",
            "*",
            "+a",
            "?",
            "a**",
            "a*+",
            "|*",
            "(*)",
            "a{1001}",
            "a{3,2}",
            "a{2}{3}",
            r"\",
            r"\8",
            r"\1",
            r"\e",
            r"\x4",
            r"\x{110000}",
            r"\C",
            "(?z)",
            "(?=a)",
            "(?!a)",
            "(?<=a)",
            "(?P=n)",
            "(?P<>x)",
            "(?P<a>x)(?P<a>y)",
            "[b-a]",
            "[[:bad:]]",
            r"\p{nope}",
            r"[a-\d]",
            "(?i",
            "(?-)",
            "(a{100}){100}",
            "(?i)*",
            r"\Q\E*",
        ] {
            assert!(mistake(pattern).is_some(), "{pattern}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_not_overflown() {
        assert!(mistake(&"(".repeat(100_000)).is_some());
    }
}

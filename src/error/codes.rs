//! The stable codes: one row each, with the text of `hostguard explain CODE`.
//!
//! A code never changes its meaning and is never used again. `tests/` holds a golden case for every row.

use std::fmt;

/// A stable code, `HG` and four digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code(pub(crate) &'static str);

impl Code {
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A row of the table.
pub struct Explanation {
    pub code: Code,
    /// What is wrong, in a few words.
    pub title: &'static str,
    /// Why hostguard refuses it, and what to do. Plain text, wrapped by the reader.
    pub text: &'static str,
}

macro_rules! codes {
    ($($name:ident $code:literal $title:literal $text:literal)*) => {
        $(pub const $name: Code = Code($code);)*
        /// Every code, ascending.
        pub const ALL: &[Explanation] = &[$(Explanation { code: $name, title: $title, text: $text },)*];
    };
}

codes! {
    // 00: the text itself
    SYNTAX "HG0001" "not valid YAML"
        "The text cannot be read as YAML 1.2. Nothing after the marked place was looked at in this document, so there may be more mistakes."
    DUPLICATE_KEY "HG0002" "the same key twice"
        "YAML requires the keys of a mapping to be unique. Many readers silently keep the last one, which in a firewall plan means a rule that the author sees and the cluster never gets."
}

/// The row of a code written as `HG0104` or `0104`, in any case.
pub fn explain(text: &str) -> Option<&'static Explanation> {
    let wanted = text.trim().to_ascii_uppercase();
    let wanted = wanted.strip_prefix("HG").unwrap_or(&wanted);
    ALL.iter().find(|row| &row.code.0[2..] == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_ascending_and_explained() {
        for pair in ALL.windows(2) {
            assert!(pair[0].code < pair[1].code, "{} before {}", pair[0].code, pair[1].code);
        }
        for row in ALL {
            assert!(row.code.0.len() == 6 && row.code.0.starts_with("HG"));
            assert!(row.text.len() > 40 && row.text.ends_with('.'), "{} needs a sentence", row.code);
        }
    }
}

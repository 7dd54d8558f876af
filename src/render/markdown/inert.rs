//! Text from outside, inert in Markdown: in code spans and code blocks nothing is markup and nobody is mentioned.

use crate::escape::escape;

/// Bytes of one text from outside.
pub const TEXT: usize = 240;

/// A code span that does not end before its text does, within a row of a table too.
pub fn code(text: &str) -> String {
    let mut inert = String::new();
    for c in escape(text).chars() {
        let next = match c {
            '`' => "'".to_string(),
            '|' => "\\u{7c}".to_string(),
            c => c.to_string(),
        };
        if inert.len() + next.len() > TEXT {
            inert.push_str("...");
            break;
        }
        inert.push_str(&next);
    }
    match inert.trim() {
        "" => "`-`".to_string(),
        inert => format!("`{inert}`"),
    }
}

/// A line of a code block.
pub fn fenced(line: &str) -> String {
    line.replace('`', "'")
}

/// The first line of every comment about this plan, which nobody sees: whoever keeps one comment a plan finds it by it.
pub fn marker(plan: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let key: String = plan.chars().map(|c| if safe(c) { c } else { '_' }).take(TEXT).collect();
    format!("<!-- hostguard:{key} -->\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_its_code_span_or_its_cell() {
        for hostile in [
            "a` | <b>x</b> @admin",
            "``` \n| OPENS | all |\n</details>",
            "![x](https://example.com/x.png)",
            "\u{202e}evil\u{1b}[2J",
            "",
            "   ",
        ] {
            let inert = code(hostile);
            let inner = inert.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')).unwrap();
            assert!(
                !inner.is_empty() && !inner.contains(['`', '|', '\n', '\u{1b}', '\u{202e}']),
                "{inert}"
            );
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let cut = code(&"ü".repeat(1000));
        assert!(cut.len() < TEXT + 10 && cut.ends_with("ü...`"), "{cut}");
    }

    #[test]
    fn a_marker_is_one_comment_whatever_the_plan_is_called() {
        assert_eq!(marker("eks-frontend"), "<!-- hostguard:eks-frontend -->\n");
        assert_eq!(marker("a --> <b>\n"), "<!-- hostguard:a_--___b__ -->\n");
    }
}

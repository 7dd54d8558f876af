//! Text from outside (labels, names, server messages) made harmless for a terminal. Used wherever text is printed.

/// Replaces what could move a cursor, change a colour, or reorder text: control characters and bidirectional marks.
/// A newline becomes `\n` in letters: external text never starts a line of ours.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => safe.push_str("\\n"),
            '\t' => safe.push_str("\\t"),
            c if c.is_control() || is_invisible(c) => safe.push_str(&c.escape_unicode().to_string()),
            c => safe.push(c),
        }
    }
    safe
}

/// One character of it; a tab is given as spaces, because marked lines count columns.
pub fn escape_char(c: char, out: &mut String) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("    "),
        c if c.is_control() || is_invisible(c) => out.extend(c.escape_unicode()),
        c => out.push(c),
    }
}

/// Text for HTML, XML and SVG, between tags and in quoted attributes.
pub fn markup(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in escape(text).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // no XML may hold these two
            '\u{fffe}' | '\u{ffff}' => safe.extend(c.escape_unicode()),
            c => safe.push(c),
        }
    }
    safe
}

/// A word of a command that a person copies; `None` where what is shown would not be what the shell reads.
pub fn shell_word(text: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return Some(text.to_string());
    }
    let quotable = |c: char| (c.is_ascii_graphic() || c == ' ') && c != '\'' && c != '`';
    text.chars().all(quotable).then(|| format!("'{text}'"))
}

/// Bidirectional controls, zero-width characters, line and paragraph separators, and the byte order mark.
pub fn is_invisible(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_moves_a_cursor_or_reorders_text_gets_through() {
        assert_eq!(escape("a\u{1b}[31mb\r\n"), "a\\u{1b}[31mb\\u{d}\\n");
        assert_eq!(escape("user\u{202e}gnp.exe\u{200b}"), "user\\u{202e}gnp.exe\\u{200b}");
        assert_eq!(escape("büro 東京 ☂"), "büro 東京 ☂");
    }

    #[test]
    fn markup_has_no_markup() {
        assert_eq!(
            markup("<a href=\"x\" b='y'>&amp;\u{1b}"),
            "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;amp;\\u{1b}"
        );
    }

    #[test]
    fn a_word_is_quoted_or_not_said() {
        assert_eq!(shell_word("plans/eks.yaml").as_deref(), Some("plans/eks.yaml"));
        assert_eq!(shell_word("$(rm -rf ~); x").as_deref(), Some("'$(rm -rf ~); x'"));
        assert_eq!(shell_word("").as_deref(), Some("''"));
        for never in ["a'b", "a`b", "a\nb", "a\u{202e}b", "ü"] {
            assert_eq!(shell_word(never), None, "{never}");
        }
    }
}

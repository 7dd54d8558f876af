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
}

//! Bytes to text: UTF-8 without what a reviewer cannot see. Knows nothing of YAML.

use crate::error::{Diagnostic, codes};
use crate::source::Span;

/// Plans are some kilobytes.
const BYTES: usize = 8 << 20;

/// UTF-8 without a byte order mark, or the first place that is no text.
pub(super) fn decode(bytes: &[u8]) -> (String, Option<Diagnostic>) {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.len() > BYTES {
        let shown = String::from_utf8_lossy(&bytes[..80]).into_owned();
        let message = format!("the text has {} bytes; a plan may have {BYTES}", bytes.len());
        return (
            shown,
            Some(
                Diagnostic::error(codes::TOO_LARGE, Span::new(0, 0), message, "too long to be a plan")
                    .fix("split it into several plans, or see whether it is the file that was meant"),
            ),
        );
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_string(), first_control(text)),
        Err(error) => {
            let start = error.valid_up_to();
            let text = String::from_utf8_lossy(bytes).into_owned();
            let end = start + text[start..].chars().next().map_or(0, char::len_utf8);
            let utf16 = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
            let fix = if utf16 {
                "save the file as UTF-8; it looks like UTF-16"
            } else {
                "save the file as UTF-8"
            };
            let message = format!("byte 0x{:02x} is not UTF-8", bytes[start]);
            let problem = Diagnostic::error(codes::NOT_TEXT, Span::new(start, end), message, "not text").fix(fix);
            (text, Some(problem))
        }
    }
}

fn first_control(text: &str) -> Option<Diagnostic> {
    let mut chars = text.char_indices().peekable();
    while let Some((start, c)) = chars.next() {
        let (label, fix) = match c {
            '\n' | '\t' => continue,
            '\r' if chars.peek().is_some_and(|(_, next)| *next == '\n') => continue,
            '\r' => ("a carriage return without a line feed", "end lines with a line feed"),
            '\0' => (
                "a NUL: this is no text file",
                "give the plan, not a compiled or compressed file",
            ),
            '\u{061c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => (
                "changes the direction of the text that follows",
                "remove it, or write it as an escape in double quotes",
            ),
            c if c.is_control() => (
                "a control character",
                "remove it, or write it as an escape in double quotes",
            ),
            _ => continue,
        };
        let span = Span::new(start, start + c.len_utf8());
        let message = format!("character U+{:04X} may not stand in a plan", u32::from(c));
        let problem = Diagnostic::error(codes::NOT_TEXT, span, message, label);
        return Some(
            problem
                .consequence("what a reviewer sees would not be what is read")
                .fix(fix),
        );
    }
    None
}

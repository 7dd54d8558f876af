//! `hostguard explain`: a code, or a field of the plan language. Works offline.

use super::{Console, Failure};
use crate::calico::RULES;
use crate::cli::Explain;
use crate::error::{Error, codes};
use crate::plan;
use crate::render;

const WIDTH: usize = 80;

pub(super) fn run(args: &Explain, console: &mut dyn Console) -> Result<u8, Failure> {
    let text = match &args.what {
        None => list(),
        Some(what) => code(what).map_or_else(|| field(what), Ok)?,
    };
    console.answer(&text);
    Ok(0)
}

fn list() -> String {
    let mut rows: Vec<(&str, &str)> = codes::ALL.iter().map(|row| (row.code.as_str(), row.title)).collect();
    rows.extend(RULES.iter().map(|rule| (rule.id, rule.title)));
    rows.sort_unstable();
    let codes: Vec<String> = rows
        .iter()
        .map(|(code, title)| format!("  {code}  {title}\n"))
        .collect();
    let fields: Vec<String> = plan::field_paths().iter().map(|path| format!("  {path}\n")).collect();
    format!("Codes\n{}\nFields of a plan\n{}", codes.concat(), fields.concat())
}

/// The text of a code, hostguard's own or of a Calico rule.
fn code(what: &str) -> Option<String> {
    if let Some(row) = codes::explain(what) {
        return Some(format!("{}: {}\n\n{}", row.code, row.title, wrapped(row.text)));
    }
    let rule = RULES
        .iter()
        .find(|rule| rule.id.eq_ignore_ascii_case(what.trim()) || rule.id[2..] == *what.trim())?;
    let gates = format!("Refused, dropped or died of by: {}.", rule.gates);
    let text = [
        wrapped(rule.explain),
        wrapped(&gates),
        wrapped(&format!("Source: {}", rule.source)),
    ]
    .join("\n");
    Some(format!("{}: {}\n\n{text}", rule.id, rule.title))
}

fn field(what: &str) -> Result<String, Failure> {
    let looks_like_code = what.trim().len() <= 6 && what.chars().any(|c| c.is_ascii_digit()) && !what.contains('.');
    match plan::field_help(what) {
        Ok(text) if text.ends_with('\n') => Ok(text),
        Ok(text) => Ok(format!("{text}\n")),
        Err(why) => {
            let message = if looks_like_code {
                format!("there is no code `{what}`")
            } else {
                why
            };
            let error = Error::failed(codes::UNKNOWN_CODE, message);
            Err(Failure::from(
                error.fix("`hostguard explain` alone lists all codes and fields"),
            ))
        }
    }
}

fn wrapped(text: &str) -> String {
    format!("{}\n", render::wrap(text, WIDTH).join("\n"))
}

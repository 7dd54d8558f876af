//! What `hostguard explain` answers: a code, of hostguard or of Calico's rules, or a field of the plan language.

use crate::calico::RULES;
use crate::error::codes;
use crate::plan::language::field_help;

/// The page for `HG0104`, `0424` or `spec.nodes`; `Err` says what was not found.
pub fn explain(text: &str) -> Result<String, String> {
    let text = text.trim();
    if let Some(row) = codes::explain(text) {
        return Ok(page(row.code.as_str(), row.title, row.text));
    }
    let number = text.to_ascii_uppercase();
    let number = number.strip_prefix("HG").unwrap_or(&number);
    if let Some(rule) = RULES.iter().find(|rule| &rule.id[2..] == number) {
        let body = format!(
            "{}\n\n  refused by: {}\n  source:     {}",
            rule.explain, rule.gates, rule.source
        );
        return Ok(page(rule.id, rule.title, &body));
    }
    if number.chars().all(|c| c.is_ascii_digit()) && !number.is_empty() {
        return Err(format!("no code HG{number}; `hostguard explain` lists all"));
    }
    field_help(text)
}

/// Every code with its title, ascending.
pub fn all_codes() -> Vec<(&'static str, &'static str)> {
    let own = codes::ALL.iter().map(|row| (row.code.as_str(), row.title));
    let mut all: Vec<_> = own.chain(RULES.iter().map(|rule| (rule.id, rule.title))).collect();
    all.sort_unstable();
    all
}

fn page(code: &str, title: &str, body: &str) -> String {
    format!("{code}: {title}\n\n{body}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_page_and_no_two_share_a_number() {
        let all = all_codes();
        for (code, title) in &all {
            assert!(explain(code).is_ok_and(|page| page.contains(title)), "{code}");
        }
        assert!(all.windows(2).all(|pair| pair[0].0 < pair[1].0), "{all:?}");
        assert!(explain("hg0424").is_ok() && explain("0424").is_ok() && explain("HG9999").is_err());
        assert!(explain("spec.tiers").is_ok_and(|page| page.starts_with("spec.tiers")));
    }
}

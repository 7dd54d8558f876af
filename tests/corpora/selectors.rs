//! Selectors: validity, canonical text, UID, normal form and every evaluation.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hostguard::selector::{Selector, normalise};
use serde_json::Value;

#[test]
fn every_selector_is_read_as_calico_reads_it() {
    let cases = super::cases("selectors");
    let (mut evaluations, mut wrong) = (0, Vec::new());
    for (id, case) in &cases {
        let mut check = |what: &str, ours: String, theirs: String| {
            if ours != theirs {
                wrong.push(format!(
                    "{id} {what}: ours {ours}, Calico's {theirs}; selector {}",
                    case["selector"]
                ));
            }
        };
        let text = case["selector"].as_str().expect("selector is a string");
        let parsed = match case["selector_b64"].as_str() {
            Some(encoded) => Selector::parse_bytes(&STANDARD.decode(encoded).expect("base64")),
            None => Selector::parse(text),
        };
        check("valid", parsed.is_ok().to_string(), case["valid"].to_string());
        if case.get("selector_b64").is_none() {
            let theirs = case["normalised"]
                .as_str()
                .or(case["canonical"].as_str())
                .unwrap_or(text);
            check("normalised", normalise(text), theirs.to_string());
        }
        let Ok(selector) = parsed else { continue };
        check("canonical", selector.canonical(), string(&case["canonical"]));
        check("uid", selector.uid(), string(&case["uid"]));
        for eval in case["evals"].as_array().into_iter().flatten() {
            let labels: BTreeMap<String, String> =
                serde_json::from_value(eval["labels"].clone()).expect("labels are strings");
            check(
                "match",
                format!("{} {labels:?}", selector.matches(&labels)),
                format!("{} {labels:?}", eval["match"]),
            );
            evaluations += 1;
        }
    }
    println!(
        "selectors: {} read, {evaluations} evaluations, {} disagreements",
        cases.len(),
        wrong.len()
    );
    assert!(cases.len() >= 3679 && evaluations > 20_000, "the corpus is cut short");
    assert!(wrong.is_empty(), "{} disagreements:\n{}", wrong.len(), wrong.join("\n"));
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or("(none)").to_string()
}

//! Objects: what each gate says of them, and what Calico stores.

use std::collections::{BTreeMap, BTreeSet};

use hostguard::calico::{self, Felix, GateVerdicts, Level, Parsed, RULES, Refusal};
use serde_json::Value;

/// Tiers that existed when the answers were recorded.
fn tiers() -> BTreeSet<String> {
    ["default", "kube-admin", "kube-baseline", "security"]
        .map(String::from)
        .into()
}

struct Case {
    id: String,
    kind: String,
    /// `None` where the text is not JSON.
    parsed: Option<Parsed>,
    answers: Value,
}

fn cases() -> Vec<Case> {
    let read = |(id, answers): (String, Value)| {
        let parsed = match &answers["object"] {
            Value::String(text) => calico::parse(text).ok(),
            object => Some(Parsed {
                object: object.clone(),
                duplicates: Vec::new(),
            }),
        };
        Case {
            id,
            kind: answers["kind"].as_str().expect("a kind").to_string(),
            parsed,
            answers,
        }
    };
    super::cases("validation").into_iter().map(read).collect()
}

fn verdict(case: &Case) -> GateVerdicts {
    let Some(parsed) = &case.parsed else {
        return GateVerdicts {
            valid: false,
            refused_by: Some(Refusal::Decode),
            strict_unknown: false,
            calicoctl_reads_more_keys: false,
            aggregated_valid: false,
            native_crd_valid: false,
            felix: None,
        };
    };
    let mut verdict = calico::verdict_among(&case.kind, &parsed.object, &tiers());
    verdict.strict_unknown |= !parsed.duplicates.is_empty();
    verdict
}

fn flag(value: &Value) -> String {
    (value == &Value::Bool(true)).to_string()
}

/// Felix was asked about three kinds only; of the others it is known when it cannot decode them.
fn felix_column(kind: &str, felix: Option<Felix>) -> String {
    let asked = matches!(kind, "GlobalNetworkPolicy" | "HostEndpoint" | "GlobalNetworkSet");
    match felix {
        Some(Felix::Undecodable) => "undecodable",
        Some(Felix::TreatedAsMissing) if asked => "treated as missing",
        Some(Felix::Kept | Felix::Crashes) if asked => "kept",
        _ => "(none)",
    }
    .to_string()
}

#[test]
fn every_gate_says_of_every_object_what_calico_says() {
    let cases = cases();
    let mut wrong: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for case in &cases {
        let (ours, theirs) = (verdict(case), &case.answers);
        let refused = match ours.refused_by {
            Some(Refusal::Decode) => "decode",
            Some(Refusal::Validate) => "validate",
            Some(Refusal::Create) => "create",
            None => "(none)",
        };
        let mut check = |column: &'static str, ours: String, theirs: String| {
            let list = wrong.entry(column).or_default();
            if ours != theirs {
                list.push(format!(
                    "{} {}: ours {ours}, Calico's {theirs}: {}",
                    case.id, case.answers["family"], case.answers["object"]
                ));
            }
        };
        check("valid", ours.valid.to_string(), flag(&theirs["valid"]));
        check(
            "refused_by",
            refused.to_string(),
            theirs["refused_by"].as_str().unwrap_or("(none)").to_string(),
        );
        check(
            "strict_unknown",
            ours.strict_unknown.to_string(),
            flag(&theirs["strict_unknown"]),
        );
        check(
            "calicoctl",
            ours.calicoctl_reads_more_keys.to_string(),
            flag(&theirs["calicoctl_reads_more_keys"]),
        );
        check(
            "aggregated_valid",
            ours.aggregated_valid.to_string(),
            flag(&theirs["aggregated_valid"]),
        );
        check(
            "native_crd_valid",
            ours.native_crd_valid.to_string(),
            flag(&theirs["native_crd_valid"]),
        );
        check(
            "felix",
            felix_column(&case.kind, ours.felix),
            theirs["felix"].as_str().unwrap_or("(none)").to_string(),
        );
    }
    report(cases.len(), &wrong);
}

#[test]
fn defaults_are_what_calico_stores() {
    let cases = cases();
    let mut wrong: BTreeMap<&str, Vec<String>> = BTreeMap::from([("after_defaults", Vec::new())]);
    let mut compared = 0;
    for case in &cases {
        let (Some(parsed), Some(theirs)) = (&case.parsed, case.answers.get("after_defaults")) else {
            continue;
        };
        let mut ours = parsed.object.clone();
        ours["kind"] = Value::from(case.kind.as_str());
        calico::defaults(&mut ours);
        compared += 1;
        if ours != *theirs {
            wrong
                .entry("after_defaults")
                .or_default()
                .push(format!("{}: ours {ours}\n    Calico's {theirs}", case.id));
        }
    }
    assert!(compared > 2000, "the corpus is cut short");
    report(compared, &wrong);
}

/// Prints the count of agreements per column, then fails on any disagreement.
fn report(cases: usize, wrong: &BTreeMap<&str, Vec<String>>) {
    for (column, list) in wrong {
        println!("{column}: {} of {cases} agree", cases - list.len());
    }
    let all: Vec<String> = wrong
        .iter()
        .flat_map(|(c, list)| list.iter().map(move |l| format!("{c} {l}")))
        .collect();
    assert!(all.is_empty(), "{} disagreements:\n{}", all.len(), all.join("\n"));
}

/// An object that some gate refuses or Felix drops is an error here; one that all accept is not, but for hostguard's
/// own rules and for what stops Felix.
#[test]
fn validation_is_the_union_of_the_gates() {
    let (mut met, mut kept): (BTreeMap<&str, usize>, BTreeMap<&str, usize>) = (BTreeMap::new(), BTreeMap::new());
    let mut wrong = Vec::new();
    for case in cases() {
        let Some(parsed) = &case.parsed else { continue };
        let mut object = parsed.object.clone();
        for (key, value) in [("kind", case.kind.as_str()), ("apiVersion", "projectcalico.org/v3")] {
            object[key] = Value::from(value);
        }
        let parsed = Parsed {
            object,
            duplicates: parsed.duplicates.clone(),
        };
        let found = calico::validate_text(&parsed);
        let theirs = &case.answers;
        let passes = theirs["valid"] == true
            && theirs["aggregated_valid"] == true
            && theirs["native_crd_valid"] == true
            && theirs["strict_unknown"] != true
            && matches!(theirs["felix"].as_str(), None | Some("kept"));
        // The tier's existence is not the object's fault.
        let create = theirs["refused_by"] == "create" && case.kind != "KubeControllersConfiguration";
        let errors: Vec<&str> = found
            .iter()
            .filter(|v| v.level == Level::Error)
            .map(|v| v.rule.id)
            .collect();
        let own = |id: &str| ("HG0460".."HG0490").contains(&id);
        if !passes && errors.is_empty() && !create {
            wrong.push(format!(
                "{}: refused somewhere, no error: {}",
                case.id, theirs["object"]
            ));
        }
        if passes && errors.iter().any(|id| !own(id)) {
            wrong.push(format!(
                "{}: accepted everywhere, yet {errors:?}: {}",
                case.id, theirs["object"]
            ));
        }
        for violation in &found {
            *met.entry(violation.rule.id).or_default() += 1;
            if passes {
                *kept.entry(violation.rule.id).or_default() += 1;
            }
            let message = &violation.message;
            assert!(!message.ends_with('.') && !message.is_empty(), "{}: {message}", case.id);
            assert!(
                violation.path.find(&parsed.object).is_some(),
                "{}: no value at {}",
                case.id,
                violation.path
            );
        }
    }
    for rule in RULES {
        let (met, kept) = (met.get(rule.id).unwrap_or(&0), kept.get(rule.id).unwrap_or(&0));
        println!(
            "{} {:60} met {met:5}, in objects all gates accept {kept:4}",
            rule.id, rule.title
        );
    }
    assert!(wrong.is_empty(), "{} disagreements:\n{}", wrong.len(), wrong.join("\n"));
}

//! Laws of the engine, on random clusters and plans. Each is one test that can fail.

use hostguard::changes::{Change, Op};
use hostguard::plan::Plan;
use hostguard::resource::Kind;
use hostguard::state::State;
use proptest::prelude::*;
use serde_json::Value;

use crate::support::pipeline::{accepting, difference};
use crate::support::plans::{check, parse};
use crate::support::random;
use crate::support::worlds::{Killed, all_done, apply, content, differences, read, state, write};

fn settled(objects: &[Value]) -> State {
    state(objects).settled()
}

fn world() -> impl Strategy<Value = (Vec<Value>, Value)> {
    (random::cluster(), random::plan("one"))
}

/// Applies to a file that holds `start`; the state afterwards.
fn apply_to_file(plan: &Plan, start: &State, writes: usize) -> (State, Result<bool, String>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("live.json");
    write(start, &path);
    let report = apply(plan, &Killed::after(&path, writes));
    (read(&path), report.map(|report| all_done(&report)))
}

/// The same plan with the keys of every map in an order that depends on the seed.
pub fn shuffled(plan: &Value, seed: u64) -> Plan {
    check(&print(plan, seed))
}

fn print(value: &Value, seed: u64) -> String {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            if !entries.is_empty() {
                let turn = (seed as usize).wrapping_mul(31) % entries.len();
                entries.rotate_left(turn);
            }
            if seed % 2 == 1 {
                entries.reverse();
            }
            let next = seed.rotate_right(7);
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, value)| format!("{}: {}", Value::from(key.as_str()), print(value, next)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Array(items) => format!(
            "[{}]",
            items
                .iter()
                .map(|item| print(item, seed))
                .collect::<Vec<_>>()
                .join(", ")
        ),
        other => other.to_string(),
    }
}

/// 48 cases in the ordinary run, more with PROPTEST_CASES.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(48);
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

const ENOUGH: usize = 10_000;

proptest! {
    #![proptest_config(config())]

    /// Law 1.
    #[test]
    fn after_an_apply_there_is_nothing_to_do((objects, plan) in world()) {
        let start = settled(&objects);
        let plan = parse(&plan);
        let (end, done) = apply_to_file(&plan, &start, ENOUGH);
        prop_assert_eq!(done, Ok(true));
        let left = difference(&plan, &end).expect("what was applied still fits");
        prop_assert!(left.set.steps.is_empty(), "{:#?}", left.set.steps);
        prop_assert!(!left.record.changes());
    }

    /// Law 2: the file is what folding `after` and `settled` over the steps predicts, the record aside.
    #[test]
    fn the_snapshot_provider_does_what_the_prediction_says((objects, plan) in world()) {
        let start = settled(&objects);
        let plan = parse(&plan);
        let now = difference(&plan, &start).expect("the plan fits");
        let predicted = now.set.steps.iter().fold(start.clone(), |state, step| state.after(step).settled());
        let (end, _) = apply_to_file(&plan, &start, ENOUGH);
        let without_record = |state: &State| -> Vec<(String, Value)> {
            content(state).into_iter().filter(|(key, _)| !key.starts_with("ConfigMap/")).collect()
        };
        prop_assert_eq!(without_record(&end), without_record(&predicted));
    }

    /// Law 3.
    #[test]
    fn a_change_set_and_its_inverse_restore_the_state((objects, plan) in world()) {
        let start = settled(&objects);
        let now = difference(&parse(&plan), &start).expect("the plan fits");
        let there = now.set.steps.iter().fold(start.clone(), |state, step| state.after(step));
        let back = now.set.steps.iter().rev().fold(there, |state, step| state.after(&step.inverse()));
        prop_assert_eq!(differences(&back, &start), "");
    }

    /// Law 4: neither the order of keys in the plan nor that of objects in a list changes the answer.
    #[test]
    fn order_of_input_changes_nothing((objects, plan) in world(), seed in any::<u64>()) {
        let mut turned = objects.clone();
        turned.rotate_left(seed as usize % objects.len());
        turned.reverse();
        let answer = |plan: &Plan, state: &State| {
            let now = difference(plan, state).expect("the plan fits");
            let (sequence, accepted) = accepting(state, &now.set);
            let order: Vec<_> = sequence.steps().iter().map(|s| (&s.change.key, s.wait, &s.accepted)).collect();
            let order = format!("{order:?}{accepted:?}{}", sequence.digest());
            format!("{:?}{:?}{}{order}", now.set.steps.iter().map(|s| (&s.key, &s.op, &s.fields, &s.needs)).collect::<Vec<_>>(), now.set.notes, now.set.digest())
        };
        let first = answer(&parse(&plan), &settled(&objects));
        prop_assert_eq!(first, answer(&shuffled(&plan, seed), &settled(&turned)));
    }

    /// Law 5: needs come earlier, and so do the users of what is deleted.
    #[test]
    fn needs_come_first((objects, first) in world(), second in random::plan("one")) {
        let (middle, _) = apply_to_file(&parse(&first), &settled(&objects), ENOUGH);
        let Ok(now) = difference(&parse(&second), &middle) else { return Ok(()) }; // a tier that others use
        let (sequence, _) = accepting(&middle, &now.set);
        let steps: Vec<&Change> = sequence.steps().iter().map(|step| &step.change).collect();
        prop_assert_eq!(steps.len(), now.set.steps.len());
        for (at, step) in steps.iter().enumerate() {
            for need in &step.needs {
                if let Some(there) = steps.iter().position(|other| other.key == need.key) {
                    prop_assert!(there < at, "{} comes before {}", step.key, need.key);
                }
            }
            let tier = |object: &Value| object.pointer("/spec/tier").and_then(Value::as_str).map(str::to_string);
            if let (Kind::Tier, Op::Delete { .. }) = (step.key.kind, &step.op) {
                let later = steps[at..].iter().any(|other| matches!(&other.op, Op::Delete { before } if tier(before) == Some(step.key.name.clone())));
                prop_assert!(!later, "{} goes before a policy in it", step.key);
            }
        }
    }

    /// Nothing is lost: whatever was applied over whatever, destroy brings back what was found.
    #[test]
    fn destroy_restores_what_was_found((objects, first) in world(), second in random::plan("one")) {
        let start = settled(&objects);
        let (middle, _) = apply_to_file(&parse(&first), &start, ENOUGH);
        let (middle, _) = apply_to_file(&parse(&second), &middle, ENOUGH);
        let (end, done) = apply_to_file(&Plan::nothing("one"), &middle, ENOUGH);
        prop_assert_eq!(done, Ok(true));
        prop_assert_eq!(differences(&end, &start), "");
    }

    /// Two plans that claim the same things: the last to leave restores what the first one found.
    #[test]
    fn the_last_plan_to_leave_restores((objects, one) in world(), two in random::plan("two"), swap in any::<bool>()) {
        let start = settled(&objects);
        let (state, _) = apply_to_file(&parse(&one), &start, ENOUGH);
        let (state, _) = apply_to_file(&parse(&two), &state, ENOUGH); // refused where they disagree
        let (first, second) = if swap { ("one", "two") } else { ("two", "one") };
        let (state, _) = apply_to_file(&Plan::nothing(first), &state, ENOUGH);
        let (end, done) = apply_to_file(&Plan::nothing(second), &state, ENOUGH);
        prop_assert_eq!(done, Ok(true));
        prop_assert_eq!(differences(&end, &start), "");
    }

    /// Law 10: killed after any write, a second apply reaches the same end, and a destroy the start.
    #[test]
    fn killed_anywhere_nothing_is_lost((objects, plan) in world(), writes in 0usize..12) {
        let start = settled(&objects);
        let plan = parse(&plan);
        let (whole, _) = apply_to_file(&plan, &start, ENOUGH);
        let (torn, _) = apply_to_file(&plan, &start, writes);
        let (mended, done) = apply_to_file(&plan, &torn, ENOUGH);
        prop_assert_eq!(done, Ok(true));
        prop_assert_eq!(differences(&mended, &whole), "");
        let (back, _) = apply_to_file(&Plan::nothing("one"), &torn, ENOUGH);
        prop_assert_eq!(differences(&back, &start), "");
    }
}

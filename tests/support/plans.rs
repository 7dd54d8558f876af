//! Plans from JSON values, as they are and with their keys in another order.

use hostguard::plan::Plan;
use serde_json::Value;

/// The plan, which is valid.
pub fn parse(plan: &Value) -> Plan {
    check(&plan.to_string())
}

/// The same plan with the keys of every map in an order that depends on the seed.
pub fn shuffled(plan: &Value, seed: u64) -> Plan {
    check(&print(plan, seed))
}

fn check(_text: &str) -> Plan {
    todo!()
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

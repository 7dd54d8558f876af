//! Plans from JSON values and texts.

use hostguard::plan::{Document, Given, Lookups, Plan};
use serde_json::Value;

/// The plan that a JSON value (which is YAML) writes; it is valid.
pub fn parse(plan: &Value) -> Plan {
    check(&plan.to_string())
}

/// The plan that a text writes; it is valid.
pub fn check(text: &str) -> Plan {
    let document = Document::read("plan.yaml", text.as_bytes());
    let plan = document.the_plan(&Given::default(), &Lookups::Known([].into()));
    plan.unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"))
}

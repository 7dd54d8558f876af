//! Lists of failsafe ports that are empty in the end.

use serde_json::Value;

use super::{Finding, Looked};
use crate::error::codes;
use crate::resource::Kind;

pub fn look(looked: &Looked<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (key, object) in looked.end.list(Kind::FelixConfiguration).into_iter().flatten() {
        for field in ["failsafeInboundHostPorts", "failsafeOutboundHostPorts"] {
            let list = object.pointer(&format!("/spec/{field}")).and_then(Value::as_array);
            if list.is_some_and(Vec::is_empty) {
                let subject = format!("{key} {field}");
                let message = format!("{subject} is empty: no port is exempt from policy");
                let mut finding = Finding::new(codes::NO_FAILSAFE, subject, message);
                let claim = looked.plan.claims.iter().find(|claim| {
                    claim.kind == Kind::FelixConfiguration && claim.name == key.name && claim.set.contains_key(field)
                });
                finding.span = claim.map(|claim| claim.span);
                findings.push(
                    finding.fix("list the ports that must stay open, or remove the field to get Calico's own list"),
                );
            }
        }
    }
    findings
}

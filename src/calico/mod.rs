//! What Calico accepts, known offline: structure, formats, cross-field rules, and what Felix makes of the rest.
//!
//! Takes whole objects (`apiVersion`, `kind`, `metadata`, `spec`) as JSON and answers with every broken rule at its
//! path. Knows nothing of plans, clusters or what a policy does to packets. `tests/corpora` holds it to the answers of
//! Calico's own code.

mod checks;
mod configs;
mod crash;
mod crd;
mod cross;
mod decode;
mod defaults;
mod felix;
mod findings;
mod format;
mod golang;
mod house;
mod metadata;
mod path;
mod regexp;
pub mod release;
mod rules;
pub mod schema;
mod text;
mod validator;
mod verdict;

pub use defaults::defaults;
pub use findings::{Level, Violation};
use path::At;
pub use path::{Path, Step};
pub use rules::{Gates, RULES, Rule};
pub use schema::schema;
pub use text::{Parsed, parse};
pub use verdict::{Felix, GateVerdicts, Refusal, as_felix_reads, verdict, verdict_among};

use serde_json::Value;

use findings::{Findings, Stage, shown};
use rules::Id;

/// Everything wrong with the object, in path order.
///
/// An error if any gate would refuse it, if Felix would drop it or stop, or if hostguard's own rules say so. Whether a
/// policy's tier exists is not known here.
pub fn validate(object: &Value) -> Vec<Violation> {
    let kind = kind_of(object);
    let mut out = Findings::default();
    if !known(object, &kind, &mut out) {
        return out.into_violations(object);
    }
    verdict::run(&kind, object, None, &mut out);
    house::check(&kind, object, &mut out);
    out.into_violations(object)
}

/// The same for a text, keys given twice included.
pub fn validate_text(parsed: &Parsed) -> Vec<Violation> {
    let mut out = Findings::default();
    for path in &parsed.duplicates {
        let message = format!("`{path}` is given twice");
        out.add(Stage::Strict, Id::DuplicateKey, &At::Path(path), message)
            .because("the last one wins")
            .fix("remove one of them");
    }
    let mut all = out.into_violations(&parsed.object);
    all.extend(validate(&parsed.object));
    all.sort_by(|a, b| (&a.path, a.rule.id).cmp(&(&b.path, b.rule.id)));
    all
}

fn kind_of(object: &Value) -> String {
    object
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_string()
}

/// Whether the object is one that can be checked at all.
fn known(object: &Value, kind: &str, out: &mut Findings) -> bool {
    let version = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    let root = At::Keys(&[]);
    if !object.is_object() {
        out.add(
            Stage::House,
            Id::Kind,
            &root,
            format!("{} is not an object", shown(object)),
        );
        return false;
    }
    if version != "projectcalico.org/v3" {
        let found = if version.is_empty() {
            "none".to_string()
        } else {
            shown(&Value::from(version))
        };
        out.add(
            Stage::House,
            Id::Kind,
            &root.key("apiVersion"),
            format!("apiVersion is {found}"),
        )
        .fix("write `apiVersion: projectcalico.org/v3`");
    }
    if schema(kind).is_none() {
        let near = schema::KINDS.iter().find(|k| k.eq_ignore_ascii_case(kind));
        let finding = out.add(
            Stage::House,
            Id::Kind,
            &root.key("kind"),
            format!("kind {} is not known", shown(&Value::from(kind))),
        );
        finding.fix(match near {
            Some(near) => format!("write `kind: {near}`"),
            None => format!("write one of {}", schema::KINDS.join(", ")),
        });
        return false;
    }
    true
}

#[cfg(test)]
mod tests;

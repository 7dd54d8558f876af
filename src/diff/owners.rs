//! Who wrote a field, from `metadata.managedFields`.
//!
//! Only what is needed to tell owners of a field apart: not a port of structured-merge-diff.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::resource::FieldPath;

/// A manager of a field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    pub manager: String,
    /// It declared the field by server-side apply, or it is another hostguard plan: its claim is respected. A mere
    /// updater may only have written a default.
    pub applier: bool,
}

/// Every manager of `path`, but `me`, by name. A manager that owns a parent whole, or anything below the path, owns it.
pub fn owners(object: &Value, path: &FieldPath, me: &str) -> Vec<Owner> {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let mut owners: BTreeMap<String, bool> = BTreeMap::new();
    for entry in entries.into_iter().flatten() {
        let whole_object = entry.get("subresource").is_none_or(|sub| sub == "");
        let covers = entry.get("fieldsV1").is_some_and(|fields| covers(fields, &path.0));
        if let Some(manager) = entry.get("manager").and_then(Value::as_str)
            && whole_object
            && covers
            && manager != me
        {
            let applier = entry.get("operation").is_some_and(|op| op == "Apply") || manager.starts_with("hostguard-");
            *owners.entry(manager.to_string()).or_default() |= applier;
        }
    }
    owners
        .into_iter()
        .map(|(manager, applier)| Owner { manager, applier })
        .collect()
}

/// Whether a FieldsV1 tree names the path: `f:` keys down to it, or a leaf above it.
fn covers(fields: &Value, keys: &[String]) -> bool {
    let mut at = fields;
    for (depth, key) in keys.iter().enumerate() {
        match at.get(format!("f:{key}")) {
            Some(below) => at = below,
            None => return depth > 0 && at.as_object().is_some_and(serde_json::Map::is_empty),
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object() -> Value {
        json!({"metadata": {"managedFields": [
            {"manager": "argocd", "operation": "Apply", "fieldsV1": {"f:spec": {"f:order": {}, "f:types": {"v:\"Ingress\"": {}}}}},
            {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:spec": {"f:order": {}}}},
            {"manager": "hostguard-other", "operation": "Update", "fieldsV1": {"f:metadata": {"f:labels": {".": {}, "f:a.b/c": {}}}}},
            {"manager": "status-writer", "operation": "Apply", "subresource": "status", "fieldsV1": {"f:spec": {"f:order": {}}}},
            {"manager": "whole", "operation": "Apply", "fieldsV1": {"f:spec": {"f:nested": {}}}},
        ]}})
    }

    fn names(path: FieldPath) -> Vec<(String, bool)> {
        owners(&object(), &path, "hostguard-me")
            .into_iter()
            .map(|o| (o.manager, o.applier))
            .collect()
    }

    #[test]
    fn appliers_and_updaters_are_told_apart() {
        let found = names(FieldPath::dotted("spec.order"));
        assert_eq!(found, [("argocd".into(), true), ("kubectl-edit".into(), false)]);
        assert_eq!(names(FieldPath::dotted("spec.selector")), []);
    }

    #[test]
    fn another_plan_counts_as_an_applier() {
        assert_eq!(names(FieldPath::label("a.b/c")), [("hostguard-other".into(), true)]);
    }

    #[test]
    fn sets_and_whole_parents_are_owned() {
        assert_eq!(names(FieldPath::dotted("spec.types")), [("argocd".into(), true)]);
        assert_eq!(names(FieldPath::dotted("spec.nested.field")), [("whole".into(), true)]);
    }
}

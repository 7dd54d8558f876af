//! Missing rights in words, and as the rules that would give them.

use std::collections::{BTreeMap, BTreeSet};

use crate::provider::Denied;

pub(super) fn missing(count: usize) -> String {
    match count {
        1 => "1 right is missing".to_string(),
        _ => format!("{count} rights are missing"),
    }
}

/// `create tiers.projectcalico.org`, `patch configmaps hostguard-shop in namespace hostguard`.
pub(super) fn name(right: &Denied) -> String {
    let api = right.kind.api();
    let mut text = format!("{} {}", right.verb, api.plural);
    if !api.group.is_empty() {
        text.push_str(&format!(".{}", api.group));
    }
    if !right.name.is_empty() {
        text.push_str(&format!(" {}", right.name));
    }
    if !right.namespace.is_empty() {
        text.push_str(&format!(" in namespace {}", right.namespace));
    }
    text
}

/// The rules of a role that give these rights, as YAML: one a resource.
pub(super) fn rules(denied: &[Denied]) -> String {
    let mut verbs: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for right in denied {
        let api = right.kind.api();
        verbs.entry((api.group, api.plural)).or_default().insert(&right.verb);
    }
    let rule = |((group, plural), verbs): ((&str, &str), BTreeSet<&str>)| {
        let group = if group.is_empty() { "\"\"" } else { group };
        let verbs: Vec<&str> = verbs.into_iter().collect();
        format!(
            "{{apiGroups: [{group}], resources: [{plural}], verbs: [{}]}}",
            verbs.join(", ")
        )
    };
    let rules: Vec<String> = verbs.into_iter().map(rule).collect();
    rules.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Kind;

    #[test]
    fn rights_are_named_and_gathered_into_rules() {
        let denied = |verb: &str, kind, namespace: &str, name: &str| Denied {
            verb: verb.into(),
            kind,
            namespace: namespace.into(),
            name: name.into(),
            reason: String::new(),
        };
        let all = [
            denied("get", Kind::Tier, "", "security"),
            denied("create", Kind::Tier, "", ""),
            denied("patch", Kind::ConfigMap, "hostguard", "hostguard-shop"),
        ];
        assert_eq!(
            all.iter().map(name).collect::<Vec<_>>(),
            [
                "get tiers.projectcalico.org security",
                "create tiers.projectcalico.org",
                "patch configmaps hostguard-shop in namespace hostguard"
            ]
        );
        assert_eq!(
            rules(&all),
            "{apiGroups: [\"\"], resources: [configmaps], verbs: [patch]}, \
             {apiGroups: [projectcalico.org], resources: [tiers], verbs: [create, get]}"
        );
    }
}

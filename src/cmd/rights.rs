//! Missing rights in words, and as the rules that would give them.

use std::collections::{BTreeMap, BTreeSet};

use crate::provider::Denied;

pub(super) fn missing(count: usize) -> String {
    match count {
        1 => "1 right is missing".to_string(),
        _ => format!("{count} rights are missing"),
    }
}

/// `create tiers.projectcalico.org`, `ec2:CreateTags on sg-1`, `patch configmaps hostguard-shop in namespace hostguard`.
pub(super) fn name(right: &Denied) -> String {
    if right.kind.cloud() {
        return format!("{} on {}", right.verb, right.name);
    }
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

/// What gives these rights: rules of a role as YAML, one a resource; of the cloud, a statement of an IAM policy.
pub(super) fn rules(denied: &[Denied]) -> String {
    let (cloud, denied): (Vec<&Denied>, Vec<&Denied>) = denied.iter().partition(|right| right.kind.cloud());
    let actions: BTreeSet<&str> = cloud.iter().map(|right| right.verb.as_str()).collect();
    let actions: Vec<String> = actions.into_iter().map(|action| format!("\"{action}\"")).collect();
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
    let mut rules: Vec<String> = verbs.into_iter().map(rule).collect();
    if !actions.is_empty() {
        let actions = actions.join(", ");
        rules.push(format!(
            "{{\"Effect\": \"Allow\", \"Action\": [{actions}], \"Resource\": \"*\"}}"
        ));
    }
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
            denied("ec2:CreateTags", Kind::SecurityGroupRule, "", "sg-1"),
        ];
        assert_eq!(
            all.iter().map(name).collect::<Vec<_>>(),
            [
                "get tiers.projectcalico.org security",
                "create tiers.projectcalico.org",
                "patch configmaps hostguard-shop in namespace hostguard",
                "ec2:CreateTags on sg-1"
            ]
        );
        assert_eq!(
            rules(&all),
            "{apiGroups: [\"\"], resources: [configmaps], verbs: [patch]}, \
             {apiGroups: [projectcalico.org], resources: [tiers], verbs: [create, get]}, \
             {\"Effect\": \"Allow\", \"Action\": [\"ec2:CreateTags\"], \"Resource\": \"*\"}"
        );
    }
}

//! Names, labels and annotations: Kubernetes' rules, and Calico's on top.

use serde_json::Value;

use super::cross::{is_true, items, text};
use super::findings::{Findings, Stage, shown};
use super::format;
use super::path::At;
use super::rules::Id;
use super::schema::is_namespaced;

/// All annotations together (`validator.go` totalAnnotationSizeLimitB, and the same in Kubernetes).
const ANNOTATIONS: usize = 256 * 1024;

const LONGEST_NAME: usize = 253;
const LONGEST_TIER: usize = 63;

/// Calico's validator, over an object as `decode.rs` writes it.
pub(super) fn check_calico(kind: &str, object: &Value, out: &mut Findings) {
    let null = Value::Null;
    let metadata = object.get("metadata").unwrap_or(&null);
    let at = At::Keys(&["metadata"]);
    let name = metadata.get("name").and_then(Value::as_str).unwrap_or_default();
    let (good, rule) = match kind {
        "GlobalNetworkPolicy" => (is_policy_name(name), "one DNS label, or two joined by one dot"),
        "NetworkPolicy" => {
            let prefixed = ["knp.default.", "ossg.default."]
                .iter()
                .find_map(|p| name.strip_prefix(p));
            (
                is_policy_name(name) || prefixed.is_some_and(format::is_dns_subdomain),
                "one DNS label, or two joined by one dot",
            )
        }
        "Tier" => (format::is_dns_label(name), "one DNS label without dots"),
        _ => (format::is_dns_subdomain(name), "DNS labels joined by dots"),
    };
    let longest = if kind == "Tier" { LONGEST_TIER } else { LONGEST_NAME };
    report_name(name, good, rule, longest, &at, Stage::Validate, out);
    if let Some(annotations) = metadata.get("annotations") {
        self::annotations(annotations, &at.key("annotations"), Stage::Validate, out);
    }
    labels(metadata, &at, Stage::Validate, out);
}

fn is_policy_name(name: &str) -> bool {
    match name.split_once('.') {
        Some((tier, rest)) => format::is_dns_label(tier) && format::is_dns_label(rest),
        None => format::is_dns_label(name),
    }
}

/// Kubernetes' own rules for a custom resource (`ValidateObjectMeta`), over the object as it was sent.
pub(super) fn check_kubernetes(kind: &str, object: &Value, stage: Stage, out: &mut Findings) {
    let null = Value::Null;
    let metadata = object.get("metadata").unwrap_or(&null);
    let at = At::Keys(&["metadata"]);
    let name = metadata.get("name").and_then(Value::as_str).unwrap_or_default();
    report_name(
        name,
        format::is_dns_subdomain(name),
        "DNS labels joined by dots",
        LONGEST_NAME,
        &at,
        stage,
        out,
    );
    let namespace = metadata.get("namespace").and_then(Value::as_str).unwrap_or_default();
    match (is_namespaced(kind), namespace) {
        (true, "") => {
            out.add(stage, Id::Namespace, &at, "`namespace` is missing")
                .fix("add `namespace`");
        }
        (true, namespace) if !format::is_dns_label(namespace) || namespace.len() > 63 => {
            let message = format!("namespace {} is not a DNS label", shown(&Value::from(namespace)));
            out.add(stage, Id::Namespace, &at.key("namespace"), message);
        }
        (false, namespace) if !namespace.is_empty() => {
            out.add(
                stage,
                Id::Namespace,
                &at.key("namespace"),
                format!("a {kind} has no namespace"),
            )
            .fix("remove `namespace`");
        }
        _ => {}
    }
    if let Some(prefix) = metadata
        .get("generateName")
        .and_then(Value::as_str)
        .filter(|p| !is_name_prefix(p))
    {
        let message = format!(
            "generateName {} is not the start of a name",
            shown(&Value::from(prefix))
        );
        out.add(stage, Id::Name, &at.key("generateName"), message);
    }
    references(metadata, &at, stage, out);
    // A map with a value that is not text is dropped as a whole before this check.
    let all_text = |v: &&Value| {
        v.as_object()
            .is_some_and(|m| m.values().all(|v| v.is_string() || v.is_null()))
    };
    if let Some(annotations) = metadata.get("annotations").filter(all_text) {
        self::annotations(annotations, &at.key("annotations"), stage, out);
    }
    if metadata.get("labels").filter(all_text).is_some() {
        labels(metadata, &at, stage, out);
    }
}

/// Finalizers and owners; a list with an entry of another type is dropped as a whole before this check.
fn references(metadata: &Value, at: &At<'_>, stage: Stage, out: &mut Findings) {
    let finalizers = items(metadata, "finalizers");
    for (i, finalizer) in finalizers
        .iter()
        .enumerate()
        .filter(|_| finalizers.iter().all(Value::is_string))
    {
        if !finalizer.as_str().is_none_or(format::is_qualified_name) {
            let message = format!("finalizer {} is not allowed", shown(finalizer));
            out.add(stage, Id::Label, &at.item("finalizers", i), message);
        }
    }
    let owners = items(metadata, "ownerReferences");
    for (i, owner) in owners
        .iter()
        .enumerate()
        .filter(|_| owners.iter().all(Value::is_object))
    {
        let at = at.item("ownerReferences", i);
        for key in ["apiVersion", "kind", "name", "uid"]
            .into_iter()
            .filter(|key| text(owner, key).is_none())
        {
            out.add(stage, Id::Missing, &at, format!("`{key}` is missing"))
                .fix(format!("add `{key}`"));
        }
        if is_true(owner, "controller") && owners[..i].iter().any(|o| is_true(o, "controller")) {
            out.add(
                stage,
                Id::Value,
                &at.key("controller"),
                "a second owner is marked as the controller",
            )
            .fix("mark one owner only");
        }
    }
}

/// A trailing dash is what the generated part follows (`k8s.io/apimachinery/pkg/api/validation` maskTrailingDash).
fn is_name_prefix(prefix: &str) -> bool {
    let masked = prefix.strip_suffix('-').filter(|p| !p.is_empty() && p.is_ascii());
    let masked = masked.map_or_else(|| prefix.to_string(), |p| format!("{}a", &p[..p.len() - 1]));
    prefix.is_empty() || format::is_dns_subdomain(&masked)
}

fn report_name(name: &str, good: bool, rule: &str, longest: usize, at: &At<'_>, stage: Stage, out: &mut Findings) {
    if !good {
        let finding = match name {
            "" => out.add(stage, Id::Missing, at, "`name` is missing"),
            _ => out.add(
                stage,
                Id::Name,
                &at.key("name"),
                format!("name {} is not {rule}", shown(&Value::from(name))),
            ),
        };
        finding.fix("use lower-case letters, digits and `-`");
    } else if name.len() > longest {
        let message = format!(
            "a name of {} characters where at most {longest} are allowed",
            name.len()
        );
        out.add(stage, Id::Name, &at.key("name"), message);
    }
}

fn labels(metadata: &Value, at: &At<'_>, stage: Stage, out: &mut Findings) {
    for (key, value) in metadata.get("labels").and_then(Value::as_object).into_iter().flatten() {
        let labels = at.key("labels");
        let at = labels.key(key);
        if !format::is_qualified_name(key) {
            out.add(
                stage,
                Id::Label,
                &at,
                format!("label key {} is not allowed", shown(&Value::from(key.as_str()))),
            )
            .fix("use at most 63 letters, digits, `-`, `_` and `.`, perhaps after a DNS name and `/`");
        }
        if !value.as_str().is_none_or(format::is_label_value) {
            out.add(
                stage,
                Id::Label,
                &at,
                format!("label value {} is not allowed", shown(value)),
            )
            .fix("use at most 63 letters, digits, `-`, `_` and `.`");
        }
    }
}

/// Keys in any case; the total size. Used for rules and templates too.
pub(super) fn annotations(annotations: &Value, at: &At<'_>, stage: Stage, out: &mut Findings) {
    let mut size = 0;
    for (key, value) in annotations.as_object().into_iter().flatten() {
        size += key.len() + value.as_str().map_or(0, str::len);
        if !format::is_qualified_name(&key.to_lowercase()) {
            out.add(
                stage,
                Id::Label,
                &at.key(key),
                format!("annotation key {} is not allowed", shown(&Value::from(key.as_str()))),
            )
            .fix("use at most 63 letters, digits, `-`, `_` and `.`, perhaps after a DNS name and `/`");
        }
    }
    if size > ANNOTATIONS {
        out.add(
            stage,
            Id::Annotations,
            at,
            format!("{size} bytes of annotations where at most {ANNOTATIONS} are allowed"),
        );
    }
}

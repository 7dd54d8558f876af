//! What each gate does with an object, in one run of all passes.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::Value;

use super::decode::{decode, ignoring_case, unknown_keys};
use super::findings::{Findings, Stage};
use super::golang::same_but_case;
use super::path::{At, Step};
use super::rules::Id;
use super::schema::{Field, schema};
use super::{checks, crash, crd, cross, defaults, felix, kind_of, metadata, validator};

/// Where Calico's create path stops an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    Decode,
    Validate,
    Create,
}

/// What Felix does with an object that a kube-apiserver accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Felix {
    Kept,
    /// As if the object did not exist: a deny fails open.
    TreatedAsMissing,
    /// As if the object had not changed.
    Undecodable,
    /// Felix stops, or does not start.
    Crashes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateVerdicts {
    /// Created by Calico's own create path, unknown keys ignored.
    pub valid: bool,
    pub refused_by: Option<Refusal>,
    /// Refused under strict field validation: unknown keys.
    pub strict_unknown: bool,
    /// calicoctl, which ignores the case of keys, would read more of it.
    pub calicoctl_reads_more_keys: bool,
    /// Created behind the aggregated API server.
    pub aggregated_valid: bool,
    /// Created by a kube-apiserver with Calico's v3 CRDs.
    pub native_crd_valid: bool,
    /// `None` unless a kube-apiserver accepts it.
    pub felix: Option<Felix>,
}

/// The verdicts when every tier exists.
pub fn verdict(object: &Value) -> GateVerdicts {
    judge(&kind_of(object), object, None)
}

/// The verdicts where only these tiers exist. `kind` is the kind the object was sent to; its own may be missing.
pub fn verdict_among(kind: &str, object: &Value, tiers: &BTreeSet<String>) -> GateVerdicts {
    judge(kind, object, Some(tiers))
}

/// What Felix makes of an object that is stored, and the object as it reads it: unknown keys gone, ports canonical.
/// Kinds without a schema are kept as they are.
pub fn as_felix_reads(kind: &str, object: &Value) -> (Felix, Value) {
    let kind = kind.strip_prefix("Staged").unwrap_or(kind);
    let Some(field) = schema(kind) else {
        return (Felix::Kept, object.clone());
    };
    let mut out = Findings::default();
    let read = decode(field, &crd::stored(object), Stage::Unreadable, &mut out);
    // A namespaced policy goes through the same filter as a global one.
    let filtered = if kind == "NetworkPolicy" {
        "GlobalNetworkPolicy"
    } else {
        kind
    };
    felix::filter(filtered, &read, &mut out);
    crash::check(kind, &read, &mut out);
    let felix = match () {
        _ if out.any(&[Stage::Unreadable]) => Felix::Undecodable,
        _ if out.any(&[Stage::Dropped]) => Felix::TreatedAsMissing,
        _ if out.any(&[Stage::Crash]) => Felix::Crashes,
        _ => Felix::Kept,
    };
    (felix, read)
}

fn judge(kind: &str, object: &Value, tiers: Option<&BTreeSet<String>>) -> GateVerdicts {
    let mut out = Findings::default();
    run(kind, object, tiers, &mut out);
    let unknown_kind = schema(kind).is_none();
    // The create call of a policy looks for its tier before it validates.
    let tier_missing = out.list.iter().any(|f| f.id == Id::TierExists);
    let refused_by = match () {
        _ if unknown_kind || out.any(&[Stage::Decode]) => Some(Refusal::Decode),
        _ if tier_missing => Some(Refusal::Create),
        _ if out.any(&[Stage::Validate]) => Some(Refusal::Validate),
        _ if out.any(&[Stage::Create]) => Some(Refusal::Create),
        _ => None,
    };
    let native = !unknown_kind && !out.any(&[Stage::Native]);
    let felix = match () {
        _ if out.any(&[Stage::Unreadable]) => Felix::Undecodable,
        _ if out.any(&[Stage::Dropped]) => Felix::TreatedAsMissing,
        _ if out.any(&[Stage::Crash]) => Felix::Crashes,
        _ => Felix::Kept,
    };
    GateVerdicts {
        valid: refused_by.is_none(),
        refused_by,
        strict_unknown: out.any(&[Stage::Strict]),
        calicoctl_reads_more_keys: schema(kind).is_some_and(|field| reads_more(field, object)),
        aggregated_valid: refused_by.is_none() && !out.any(&[Stage::Stored]),
        native_crd_valid: native,
        felix: native.then_some(felix),
    }
}

/// All passes but hostguard's own.
pub(super) fn run(kind: &str, object: &Value, tiers: Option<&BTreeSet<String>>, out: &mut Findings) {
    let Some(field) = schema(kind) else { return };
    let root = At::Keys(&[]);
    report_unknown_keys(field, object, out);

    let mut read = decode(field, object, Stage::Decode, out);
    tier_exists(kind, &read, tiers, out);
    defaults::fill(kind, field, &mut read);
    checks::check(field, &read, &root, out);
    metadata::check_calico(kind, &read, out);
    validator::check(kind, &with_revision(&read, object), out);
    crd::check(field, &read, &root, Stage::Validate, false, out);
    cross::check(kind, &read, Stage::Validate, out);

    metadata::check_kubernetes(kind, object, Stage::Stored, out);
    crd::check(field, &read, &root, Stage::Stored, true, out);

    let admitted = crd::admitted(field, object);
    crd::check(field, &admitted, &root, Stage::Native, true, out);
    cross::check(kind, &admitted, Stage::Native, out);
    metadata::check_kubernetes(kind, object, Stage::Native, out);

    let synced = decode(field, &crd::stored(&admitted), Stage::Unreadable, out);
    felix::filter(kind, &synced, out);
    crash::check(kind, &synced, out);
}

/// The stored form has no resourceVersion; the check for one needs what was sent.
fn with_revision<'a>(read: &'a Value, object: &Value) -> Cow<'a, Value> {
    let mut out = Cow::Borrowed(read);
    if let Some(revision) = object.pointer("/metadata/resourceVersion").filter(|r| r.is_string())
        && let Some(metadata) = out.to_mut().get_mut("metadata").and_then(Value::as_object_mut)
    {
        metadata.insert("resourceVersion".to_string(), revision.clone());
    }
    out
}

fn tier_exists(kind: &str, read: &Value, tiers: Option<&BTreeSet<String>>, out: &mut Findings) {
    if !matches!(kind, "GlobalNetworkPolicy" | "NetworkPolicy") {
        return;
    }
    let null = Value::Null;
    let tier = cross::text(read.get("spec").unwrap_or(&null), "tier").unwrap_or("default");
    if tiers.is_some_and(|tiers| !tiers.contains(tier)) {
        out.add(
            Stage::Create,
            Id::TierExists,
            &At::Keys(&["spec", "tier"]),
            format!("tier `{tier}` does not exist"),
        )
        .because("where nothing checks it, the policy is enforced after all others, with a deny at the end")
        .fix("create the tier first");
    }
}

/// What other tools call a field, and what Calico does.
const OTHER_NAMES: [(&str, &str); 8] = [
    ("cidr", "nets"),
    ("cidrs", "nets"),
    ("from", "source"),
    ("hostEndpointSelector", "selector"),
    ("podSelector", "selector"),
    ("policyTypes", "types"),
    ("port", "ports"),
    ("to", "destination"),
];

fn report_unknown_keys(field: &Field, object: &Value, out: &mut Findings) {
    unknown_keys(field, object, &At::Keys(&[]), &mut |path, fields| {
        let path = path.path();
        let Some(Step::Key(key)) = path.0.last() else { return };
        let exact = fields.iter().find(|f| same_but_case(f.name, key));
        let message = match exact {
            Some(_) => format!("unknown key `{key}`: case counts"),
            None => format!("unknown key `{key}`"),
        };
        let in_rule = path
            .0
            .iter()
            .any(|step| matches!(step, Step::Key(k) if k == "ingress" || k == "egress"));
        let finding = out.add(Stage::Strict, Id::UnknownKey, &At::Path(&path), message);
        finding.because(match in_rule {
            true => "Kubernetes drops it: the rule lacks this condition and matches more than it says",
            false => "Kubernetes drops it: it has no effect",
        });
        match exact.map(|f| f.name).or_else(|| meant(key, fields)) {
            Some(name) => finding.fix(format!("write `{name}`")),
            None if key == "flowLogsEnableHostEndpoint" => {
                finding.fix("remove it: only Calico Enterprise and Calico Cloud have it")
            }
            None => finding.fix("remove it"),
        };
    });
}

/// The field somebody probably meant.
fn meant(key: &str, fields: &[Field]) -> Option<&'static str> {
    let other = OTHER_NAMES
        .iter()
        .find(|(name, ours)| *name == key && fields.iter().any(|f| f.name == *ours));
    let score = |f: &Field| strsim::normalized_damerau_levenshtein(&f.name.to_lowercase(), &key.to_lowercase());
    let near = fields
        .iter()
        .filter(|f| score(f) >= 0.75)
        .max_by(|a, b| score(a).total_cmp(&score(b)));
    other.map(|(_, ours)| *ours).or(near.map(|f| f.name))
}

fn reads_more(field: &Field, object: &Value) -> bool {
    let mut any = false;
    unknown_keys(field, object, &At::Keys(&[]), &mut |path, fields| {
        if let Some(Step::Key(key)) = path.path().0.last() {
            any |= fields.iter().any(|f| same_but_case(f.name, key));
        }
    });
    if !any {
        return false;
    }
    let (mut first, mut second) = (Findings::default(), Findings::default());
    let exact = decode(field, object, Stage::Decode, &mut first);
    let loose = decode(field, &ignoring_case(field, object), Stage::Decode, &mut second);
    second.list.is_empty() && exact != loose
}

//! Which row of Calico's release table the cluster is in, and what of the plan that touches.

use serde_json::Value;

use super::Builder;
use crate::calico::release::{Release, release};
use crate::error::{Error, codes};
use crate::resource::{Key, Kind};

/// Says which row applies; refuses what the release does not have; names ties that the row decides.
pub(super) fn compile(builder: &mut Builder) {
    let about = Key::cluster(Kind::ClusterInformation, "default");
    let version = builder
        .state
        .present(&about)
        .and_then(|object| object.pointer("/spec/calicoVersion")?.as_str());
    let version = version.map(str::to_string);
    let row = version.as_deref().and_then(release);
    builder.release = match (&version, row) {
        (Some(version), Some(row)) => Some(format!("Calico {version}, {}", row.words())),
        (Some(version), None) => Some(format!("Calico {version}, whose rules are not known")),
        (None, _) => None,
    };
    if let Some(row) = row {
        without_tiers(builder, row);
    }
    ties(builder, row);
}

fn without_tiers(builder: &mut Builder, row: &Release) {
    if row.tiers {
        return;
    }
    for (name, tier) in builder.plan.tiers.clone() {
        let message = format!(
            "tiers.{name}: this cluster runs Calico {}, which has no tiers",
            row.name
        );
        builder.error(
            Error::failed(codes::NOT_IN_RELEASE, message)
                .at(tier.span)
                .fix("upgrade Calico, or use tier `default`"),
        );
    }
}

/// Policies of one tier with equal orders: what comes first depends on names, and on the release.
fn ties(builder: &mut Builder, row: Option<&Release>) {
    let order = |spec: &Value| spec.get("order").and_then(Value::as_f64);
    let tier = |spec: &Value| {
        spec.get("tier")
            .and_then(Value::as_str)
            .unwrap_or("default")
            .to_string()
    };
    let live: Vec<(String, Value)> = builder.state.list(Kind::GlobalNetworkPolicy).map_or_else(
        |_| Vec::new(),
        |all| {
            all.filter_map(|(key, object)| Some((key.name.clone(), object.get("spec")?.clone())))
                .filter(|(name, _)| !builder.plan.policies.contains_key(name))
                .collect()
        },
    );
    let ours: Vec<(String, Value)> = builder
        .plan
        .policies
        .iter()
        .map(|(name, policy)| (name.clone(), policy.spec.clone()))
        .collect();
    for (at, (name, spec)) in ours.iter().enumerate() {
        for (other, other_spec) in ours[at + 1..].iter().chain(&live) {
            if tier(spec) == tier(other_spec) && order(spec) == order(other_spec) {
                let by = row.map_or("names decide, differently before and since v3.32".to_string(), |row| {
                    format!("names decide, by the {}", row.words())
                });
                let text = format!(
                    "has the same order as GlobalNetworkPolicy/{other} in tier {}: {by}",
                    tier(spec)
                );
                builder.note(format!("policies.{name}"), text);
            }
        }
    }
}

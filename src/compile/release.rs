//! Which row of Calico's release table the cluster is in, and what of the plan that touches.

use std::collections::BTreeMap;

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
        .and_then(|object| Some(object.pointer("/spec/calicoVersion")?.as_str()?.to_string()));
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
    let (plan, state) = (builder.plan, builder.state);
    let mut places: BTreeMap<Place, Tied> = BTreeMap::new();
    for (name, policy) in &plan.policies {
        places.entry(place(&policy.spec)).or_default().ours.push(name);
    }
    let live = state.list(Kind::GlobalNetworkPolicy).into_iter().flatten();
    for (key, object) in live.filter(|(key, _)| !plan.policies.contains_key(&key.name)) {
        if let Some(spec) = object.get("spec") {
            places.entry(place(spec)).or_default().live.push(&key.name);
        }
    }
    let by = row.map_or("names decide, differently before and since v3.32".to_string(), |row| {
        format!("names decide, by the {}", row.words())
    });
    for ((tier, _), tied) in &places {
        for (at, name) in tied.ours.iter().enumerate() {
            for other in tied.ours[at + 1..].iter().chain(&tied.live) {
                let text = format!("has the same order as GlobalNetworkPolicy/{other} in tier {tier}: {by}");
                builder.note(format!("policies.{name}"), text);
            }
        }
    }
}

/// The tier and the order in it, by its bits; 0 and -0 are one order.
type Place = (String, Option<u64>);

/// Policies at one place, by name.
#[derive(Default)]
struct Tied<'a> {
    ours: Vec<&'a str>,
    live: Vec<&'a str>,
}

fn place(spec: &Value) -> Place {
    let tier = spec.get("tier").and_then(Value::as_str).unwrap_or("default");
    let order = spec.get("order").and_then(Value::as_f64);
    (tier.to_string(), order.map(|order| (order + 0.0).to_bits()))
}

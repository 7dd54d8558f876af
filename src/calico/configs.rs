//! Calico's validator on the two configuration kinds, beyond single values
//! (`libcalico-go/lib/validator/v3/validator.go` validateFelixConfigSpec and its neighbours).

use serde_json::Value;

use super::cross::{given, items, text};
use super::findings::{Findings, Stage, shown};
use super::format::{self, go_net};
use super::metadata;
use super::path::At;
use super::rules::Id;
use crate::net::Family;

pub(super) fn felix(spec: &Value, at: &At<'_>, out: &mut Findings) {
    for (i, range) in items(spec, "kubeNodePortRanges").iter().enumerate() {
        if range.as_str().is_some_and(|r| !r.contains(':')) {
            out.add(
                Stage::Validate,
                Id::Format,
                &at.item("kubeNodePortRanges", i),
                format!("{} is a port name", shown(range)),
            )
            .fix("write numbers and ranges");
        }
    }
    for (i, cidr) in items(spec, "externalNodesList").iter().enumerate() {
        if cidr.as_str().and_then(go_net).and_then(|n| n.family) != Some(Family::V4) {
            out.add(
                Stage::Validate,
                Id::Network,
                &at.item("externalNodesList", i),
                format!("{} is not an IPv4 network", shown(cidr)),
            );
        }
    }
    if let Some(region) = text(spec, "openstackRegion") {
        // The region is appended to `openstack-region-` to make a namespace of at most 63 characters.
        if region.len() > 63 - 17 || !format::is_dns_label(region) {
            out.add(
                Stage::Validate,
                Id::Format,
                &at.key("openstackRegion"),
                format!(
                    "{} is not a DNS label of at most 46 characters",
                    shown(&Value::from(region))
                ),
            );
        }
    }
    timeout_overrides(spec, at, out);
    route_tables(spec, at, out);
}

fn timeout_overrides(spec: &Value, at: &At<'_>, out: &mut Findings) {
    for (i, one) in items(spec, "healthTimeoutOverrides").iter().enumerate() {
        let at = at.item("healthTimeoutOverrides", i);
        let name = one.get("name").and_then(Value::as_str).unwrap_or_default();
        if !format::is_timeout_name(name) {
            out.add(
                Stage::Validate,
                Id::Format,
                &at.key("name"),
                format!("{} is not a component name", shown(&Value::from(name))),
            );
        }
        if text(one, "timeout").is_some_and(|t| t.starts_with('-')) {
            out.add(
                Stage::Validate,
                Id::ConfigRange,
                &at.key("timeout"),
                "the timeout is negative",
            );
        }
    }
}

fn route_tables(spec: &Value, at: &At<'_>, out: &mut Findings) {
    let bound = |range: &Value, key: &str| range.get(key).and_then(Value::as_i64).unwrap_or(0);
    let mut tables: i64 = 0;
    for (i, range) in items(spec, "routeTableRanges").iter().enumerate() {
        let (min, max) = (bound(range, "min"), bound(range, "max"));
        if min > max || min <= 0 || max > 0xffff_ffff {
            out.add(
                Stage::Validate,
                Id::RouteTables,
                &at.item("routeTableRanges", i),
                format!("{min} to {max} is not a range within 1 to 4294967295"),
            );
        }
        tables = tables.wrapping_add(max.wrapping_sub(min).wrapping_add(1));
    }
    if tables > 0xffff {
        out.add(
            Stage::Validate,
            Id::RouteTables,
            &at.key("routeTableRanges"),
            format!("{tables} tables where at most 65535 are allowed"),
        );
    }
}

/// `libcalico-go/lib/clientv3/kubecontrollersconfig.go` validateAndFillDefaults.
pub(super) fn templates(spec: &Value, out: &mut Findings) {
    let null = Value::Null;
    let host_endpoint = spec.pointer("/controllers/node/hostEndpoint").unwrap_or(&null);
    let at = At::Keys(&["spec", "controllers", "node", "hostEndpoint", "templates"]);
    let templates = items(host_endpoint, "templates");
    for (i, template) in templates.iter().enumerate() {
        let at = at.index(i);
        match text(template, "generateName") {
            None => {
                out.add(Stage::Validate, Id::Template, &at, "a template without `generateName`")
                    .fix("add `generateName`");
            }
            Some(name) if templates[..i].iter().any(|t| text(t, "generateName") == Some(name)) => {
                out.add(
                    Stage::Validate,
                    Id::Template,
                    &at.key("generateName"),
                    format!("`{name}` names two templates"),
                )
                .fix("give each template its own `generateName`");
            }
            Some(_) => {}
        }
        if items(template, "interfaceCIDRs").is_empty() && !given(template, "interfacePattern") {
            out.add(
                Stage::Validate,
                Id::Template,
                &at,
                "a template with neither `interfaceCIDRs` nor `interfacePattern`",
            )
            .fix("add `interfaceCIDRs` or `interfacePattern`");
        }
        if let Some(annotations) = template.get("annotations") {
            metadata::annotations(annotations, &at.key("annotations"), Stage::Validate, out);
        }
    }
}

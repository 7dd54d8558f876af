//! Formats that Calico's validator asks of single values, over an object as `decode.rs` writes it
//! (`libcalico-go/lib/validator/v3/validator.go`, the field validators).

use serde_json::Value;

use super::findings::{Findings, Stage, shown};
use super::format;
use super::golang::Port;
use super::path::At;
use super::rules::Id;
use super::schema::{Check, Field, Type};
use super::{crd, regexp};
use crate::net::{Family, Protocol};
use crate::selector::Selector;

/// Every field's format, and the formats that go with ports and protocols wherever they stand.
pub(super) fn check(field: &Field, value: &Value, path: &At<'_>, out: &mut Findings) {
    match (&field.ty, value) {
        (Type::Object(fields), Value::Object(map)) => {
            for field in *fields {
                if let Some(value) = map.get(field.name) {
                    check(field, value, &path.key(field.name), out);
                }
            }
        }
        (Type::List(list), Value::Array(items)) => {
            for (i, item) in items.iter().enumerate() {
                check(&list.item, item, &path.index(i), out);
            }
        }
        (Type::Port, _) => port(value, path, out),
        (Type::Protocol, _) => protocol(value, path, out),
        _ => {}
    }
    match (field.check, value) {
        (Check::None, _) | (_, Value::Null) => {}
        (Check::Between(least, most), Value::Number(number)) => {
            let inside = number.as_i64().is_some_and(|n| (least..=most).contains(&n));
            let wanted = crd::range_text(least, most);
            report(inside, Id::ConfigRange, &wanted, value, path, out);
        }
        (Check::Unique, Value::Array(items)) => {
            for (i, item) in items.iter().enumerate().filter(|(i, item)| items[..*i].contains(item)) {
                out.add(
                    Stage::Validate,
                    Id::Repeated,
                    &path.index(i),
                    format!("{} is listed twice", shown(item)),
                )
                .fix("remove the repeat");
            }
        }
        (Check::Cidrs, Value::Array(items)) => each(items, path, |text, path| network(text, path, out)),
        (Check::InterfaceFilters, Value::Array(items)) => each(items, path, |text, path| {
            simple(
                format::is_interface_filter(text),
                "an interface name or prefix",
                text,
                path,
                out,
            );
        }),
        (Check::Labels, Value::Object(map)) => labels(map, path, out),
        (Check::LogFilters, Value::Object(map)) => {
            for key in map.keys() {
                simple(
                    format::is_plain_interface(key),
                    "an interface name",
                    key,
                    &path.key(key),
                    out,
                );
            }
        }
        (check, Value::String(text)) => string(check, text, path, out),
        _ => {}
    }
}

fn each(items: &[Value], path: &At<'_>, mut check: impl FnMut(&str, &At<'_>)) {
    for (i, item) in items.iter().enumerate() {
        if let Some(text) = item.as_str() {
            check(text, &path.index(i));
        }
    }
}

fn report(good: bool, id: Id, wanted: &str, value: &Value, path: &At<'_>, out: &mut Findings) {
    if !good {
        out.add(Stage::Validate, id, path, format!("{} is not {wanted}", shown(value)));
    }
}

fn simple(good: bool, wanted: &str, text: &str, path: &At<'_>, out: &mut Findings) {
    report(good, Id::Format, wanted, &Value::from(text), path, out);
}

fn string(check: Check, text: &str, path: &At<'_>, out: &mut Findings) {
    let value = shown(&Value::from(text));
    match check {
        Check::Net => rule_network(text, path, out),
        Check::Cidr => network(text, path, out),
        Check::Ip if format::address(text).is_none() => {
            out.add(
                Stage::Validate,
                Id::Address,
                path,
                format!("{value} is not an IP address"),
            );
        }
        Check::Selector => selector(text, path, Stage::Validate, out),
        Check::Name if !format::is_dns_subdomain(text) => {
            out.add(Stage::Validate, Id::Name, path, format!("{value} is not a name"))
                .fix("use lower-case letters, digits, `-` and `.`");
        }
        Check::Interface if !format::is_interface(text) => {
            out.add(
                Stage::Validate,
                Id::Interface,
                path,
                format!("{value} is not an interface name"),
            );
        }
        Check::InterfaceFilter => simple(
            format::is_interface_filter(text),
            "an interface name or prefix",
            text,
            path,
            out,
        ),
        Check::PortName if !format::is_port_name(text) => {
            port_name(text, path, out);
        }
        Check::Regexp => {
            if let Some(mistake) = regexp::mistake(text) {
                let message = format!("{value} does not compile as a regular expression: {mistake}");
                out.add(Stage::Validate, Id::Regexp, path, message);
            }
        }
        Check::KeyValues => simple(
            format::is_key_value_list(text),
            "a list of `key=value`",
            text,
            path,
            out,
        ),
        Check::PrometheusHost => simple(
            format::is_prometheus_host(text),
            "a host name or address",
            text,
            path,
            out,
        ),
        Check::OneOf(values) if !values.contains(&text) => one_of(values, text, path, out),
        _ => {}
    }
}

fn one_of(values: &[&str], text: &str, path: &At<'_>, out: &mut Findings) {
    let message = format!("{} is not one of {}", shown(&Value::from(text)), values.join(", "));
    let finding = out.add(Stage::Validate, Id::Format, path, message);
    if let Some(near) = values.iter().find(|v| v.eq_ignore_ascii_case(text)) {
        finding.fix(format!("write `{near}`"));
    }
}

/// `labels` of a template: Kubernetes' rules.
fn labels(map: &serde_json::Map<String, Value>, path: &At<'_>, out: &mut Findings) {
    for (key, value) in map {
        let good = format::is_qualified_name(key) && value.as_str().is_none_or(format::is_label_value);
        if !good {
            let message = format!("label `{}: {}` is not allowed", key.escape_debug(), shown(value));
            out.add(Stage::Validate, Id::Label, &path.key(key), message);
        }
    }
}

/// Shared with the passes that look at selectors elsewhere.
pub(super) fn selector(text: &str, path: &At<'_>, stage: Stage, out: &mut Findings) {
    if let Err(error) = Selector::parse(text) {
        let message = format!("{} is not a selector: {}", shown(&Value::from(text)), error.message);
        let finding = out.add(stage, Id::Selector, path, message);
        finding.because("Felix treats the policy as missing: what it denied passes");
        finding.fix = error.fix;
    }
}

/// A network of a rule (`net` and the scan in validateRule).
fn rule_network(text: &str, path: &At<'_>, out: &mut Findings) {
    let value = shown(&Value::from(text));
    let suggestion = crate::net::Cidr::parse(text).err().and_then(|e| e.fix());
    let (id, message) = match format::go_net(text) {
        None => (Id::Network, format!("{value} is not a network")),
        Some(net) if net.family.is_none() => (Id::Network, "an empty text is not a network".to_string()),
        Some(net) if !net.has_prefix => (Id::BareAddress, format!("{value} has no prefix length")),
        Some(net) if !net.masked => (Id::HostBits, format!("{value} has bits set after its prefix length")),
        Some(_) => return,
    };
    let finding = out.add(Stage::Validate, id, path, message);
    if id == Id::Network {
        finding.because("Felix skips the entry; a list with no other entry then matches everybody");
    }
    finding.fix = suggestion;
}

/// A network or an address, host bits tolerated (`cidr`).
fn network(text: &str, path: &At<'_>, out: &mut Findings) {
    if format::go_net(text).is_none() {
        out.add(
            Stage::Validate,
            Id::Network,
            path,
            format!("{} is not a network", shown(&Value::from(text))),
        )
        .because("Felix skips the entry");
    }
}

/// validatePort: a number or range starts at 1, a name is a Kubernetes port name.
fn port(value: &Value, path: &At<'_>, out: &mut Findings) {
    match Port::from_json(value) {
        Some(Port::Range(0, _)) => {
            out.add(
                Stage::Validate,
                Id::PortZero,
                path,
                format!("{} includes port 0", shown(value)),
            )
            .because("Felix treats the policy as missing: what it denied passes")
            .fix("write ports from 1 to 65535");
        }
        Some(Port::Name(name)) if !format::is_port_name(&name) => port_name(&name, path, out),
        _ => {}
    }
}

fn port_name(name: &str, path: &At<'_>, out: &mut Findings) {
    out.add(
        Stage::Validate,
        Id::PortName,
        path,
        format!("{} is not a port name", shown(&Value::from(name))),
    )
    .because("Felix treats the object as missing")
    .fix("use at most 15 lower-case letters, digits and dashes, with a letter");
}

fn protocol(value: &Value, path: &At<'_>, out: &mut Findings) {
    let good = match value {
        Value::String(name) => Protocol::NAMED.iter().any(|p| p.to_string() == *name),
        other => other.as_u64() != Some(0),
    };
    if good {
        return;
    }
    let finding = out.add(
        Stage::Validate,
        Id::Protocol,
        path,
        format!("{} is not a protocol", shown(value)),
    );
    let near = value.as_str().and_then(|name| {
        Protocol::NAMED
            .into_iter()
            .find(|p| p.to_string().eq_ignore_ascii_case(name))
    });
    match near {
        Some(protocol) => finding.fix(format!("write `{protocol}`")),
        None => finding.fix("write TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite or a number from 1 to 255"),
    };
}

/// The family an address field asks for, checked as the CRD's `ip()` and then as Go's parser.
pub(super) fn address_of(text: &str, family: Family) -> bool {
    format::cel_address(text).is_some_and(|ip| Family::of(ip) == family)
}

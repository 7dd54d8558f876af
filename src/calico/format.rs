//! Formats of single values: names, labels, addresses, and the patterns of the CRDs.
//!
//! Each function says what Kubernetes or Calico says, no more; nothing here knows of objects.

use std::net::IpAddr;

use super::schema::Form;
use crate::net::Family;

fn lower_alphanumeric(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

/// One DNS-1123 label, of any length (`validator.go` nameLabelFmt).
pub(super) fn is_dns_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |b: Option<&u8>| b.is_some_and(|b| lower_alphanumeric(*b));
    ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(|b| lower_alphanumeric(*b) || *b == b'-')
}

/// Dot-separated labels (`validator.go` nameSubdomainFmt).
pub(super) fn is_dns_subdomain(text: &str) -> bool {
    text.split('.').all(is_dns_label)
}

/// Letters, digits, `-`, `_` and `.`, a letter or digit at both ends.
fn is_qualified_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let inside = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(inside)
}

/// A label or annotation key (`k8s.io/apimachinery/pkg/util/validation` IsQualifiedName).
pub(super) fn is_qualified_name(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    prefix.is_none_or(|p| p.len() <= 253 && is_dns_subdomain(p)) && name.len() <= 63 && is_qualified_part(name)
}

/// A label value (`k8s.io/apimachinery/pkg/util/validation` IsValidLabelValue).
pub(super) fn is_label_value(text: &str) -> bool {
    text.is_empty() || text.len() <= 63 && is_qualified_part(text)
}

/// A Kubernetes port name (`k8s.io/apimachinery/pkg/util/validation` IsValidPortName).
pub(super) fn is_port_name(text: &str) -> bool {
    let inside = text.bytes().all(|b| lower_alphanumeric(b) || b == b'-');
    let letter = text.bytes().any(|b| b.is_ascii_lowercase());
    let dashes = text.contains("--") || text.starts_with('-') || text.ends_with('-');
    !text.is_empty() && text.len() <= 15 && inside && letter && !dashes
}

fn all_of(text: &str, longest: usize, more: &[u8]) -> bool {
    !text.is_empty() && text.len() <= longest && text.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
}

/// `validator.go` interfaceRegex, or `*`.
pub(super) fn is_interface(text: &str) -> bool {
    text == "*" || is_plain_interface(text)
}

pub(super) fn is_plain_interface(text: &str) -> bool {
    all_of(text, 15, b"_.-")
}

/// `validator.go` ifaceFilterRegex.
pub(super) fn is_interface_filter(text: &str) -> bool {
    all_of(text, 15, b":._+-")
}

/// `validator.go` prometheusHostRegexp.
pub(super) fn is_prometheus_host(text: &str) -> bool {
    all_of(text, 64, b":._+-")
}

/// `validator.go` htoNameRegex.
pub(super) fn is_timeout_name(text: &str) -> bool {
    all_of(text, usize::MAX, b"_ -")
}

/// What Felix's own model accepts as a profile name (`typha/pkg/validator/v1/validator.go` nameRegex).
pub(super) fn is_model_name(text: &str) -> bool {
    all_of(text, 128, b"_.-")
}

/// `validator.go` validateKeyValueList: comma-separated `key=value`, empty items allowed.
pub(super) fn is_key_value_list(text: &str) -> bool {
    let item = |item: &str| {
        let key = item.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']);
        let word = key
            .bytes()
            .take_while(|b| b.is_ascii_alphanumeric() || *b == b'_')
            .count();
        // `.*` does not cross a line break.
        word > 0 && key[word..].starts_with('=') && !key[word..].contains('\n')
    };
    text.trim().is_empty() || text.split(',').all(|i| i.is_empty() || item(i))
}

/// An address as Go's `net.ParseIP` reads it; IPv4 in IPv6 counts as IPv4.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

/// An address as CEL's `ip()` reads it: IPv4 in IPv6 is refused.
pub(super) fn cel_address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().filter(|ip| ip.to_canonical() == *ip)
}

/// A network or address as Calico's `libcalico-go/lib/net/ipnet.go` ParseCIDROrIP reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GoNet {
    /// `None` for the empty text, which that function accepts without an address.
    pub family: Option<Family>,
    /// No bits after the prefix.
    pub masked: bool,
    /// Written with a prefix length.
    pub has_prefix: bool,
    /// Prefix length zero.
    pub everything: bool,
}

pub(super) fn go_net(text: &str) -> Option<GoNet> {
    if text.is_empty() {
        return Some(GoNet {
            family: None,
            masked: true,
            has_prefix: false,
            everything: false,
        });
    }
    let Some((left, right)) = text.split_once('/') else {
        let family = Some(Family::of(address(text)?));
        return Some(GoNet {
            family,
            masked: true,
            has_prefix: false,
            everything: false,
        });
    };
    let written: IpAddr = left.parse().ok()?;
    let digits = !right.is_empty() && right.bytes().all(|b| b.is_ascii_digit());
    let prefix: u8 = right.parse().ok().filter(|_| digits)?;
    let bits = Family::of(written).bits();
    if prefix > bits {
        return None;
    }
    // Go masks all sixteen bytes of an IPv4-mapped address and only then looks whether the result is mapped.
    let network = match written {
        IpAddr::V4(v4) => IpAddr::V4((u32::from(v4) & mask(32, prefix) as u32).into()),
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & mask(128, prefix)).into()),
    }
    .to_canonical();
    Some(GoNet {
        family: Some(Family::of(network)),
        masked: network == written.to_canonical(),
        has_prefix: true,
        everything: prefix == 0,
    })
}

fn mask(bits: u8, prefix: u8) -> u128 {
    let low = u128::MAX.checked_shr(u32::from(128 - bits + prefix)).unwrap_or(0);
    !low
}

/// Whether the CRD's pattern or enumeration accepts a text.
pub(super) fn fits(form: Form, text: &str) -> bool {
    match form {
        Form::Any => true,
        Form::OneOf(values) => values.contains(&text),
        Form::AnyCase(values) => text.is_empty() || values.iter().any(|v| folds_to(text, v)),
        Form::Duration => repeated(text, |t| duration_part(t, true)),
        Form::PlainDuration => repeated(text, |t| duration_part(t, false)),
        Form::ConntrackTimeout => text == "Auto" || !text.is_empty() && repeated(text, conntrack_part),
        Form::FeatureOverrides => feature_overrides(text),
        Form::FeatureGates => feature_gates(text),
        Form::RateLimit => rate_limit(text),
        Form::LogPrefix => text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"%: /_-".contains(&b)),
        Form::ConditionReason => {
            let inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b',' | b':');
            text.starts_with(|c: char| c.is_ascii_alphabetic())
                && text.bytes().all(inside)
                && text.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        }
        Form::ConditionType => match text.split_once('/') {
            Some((prefix, name)) => is_dns_subdomain(prefix) && is_qualified_part(name),
            None => is_qualified_part(text),
        },
    }
}

/// Go's `(?i)` folds two letters outside of ASCII as well: the long s and the Kelvin sign.
fn folds_to(text: &str, value: &str) -> bool {
    let fold = |c: char| match c {
        'ſ' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    text.chars().map(fold).eq(value.chars().map(fold))
}

/// Whether `part`, which answers the rest after one item, eats the whole text.
fn repeated(text: &str, part: impl Fn(&str) -> Option<&str>) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        match part(rest) {
            Some(after) if after.len() < rest.len() => rest = after,
            _ => return false,
        }
    }
    true
}

fn after_digits(text: &str) -> &str {
    text.trim_start_matches(|c: char| c.is_ascii_digit())
}

/// Digits, perhaps a fraction, a unit.
fn duration_part(text: &str, two_backslashes: bool) -> Option<&str> {
    let rest = after_digits(text);
    if rest.len() == text.len() {
        return None;
    }
    let fraction = match two_backslashes {
        // `\\.` in the CRD is a backslash and then any character.
        true => rest.strip_prefix('\\').and_then(|r| {
            let mut chars = r.chars();
            chars.next().filter(|c| *c != '\n').map(|_| chars.as_str())
        }),
        false => rest.strip_prefix('.'),
    };
    let rest = match fraction.map(|f| (f, after_digits(f))) {
        Some((digits, after)) if after.len() < digits.len() => after,
        Some(_) => return None,
        None => rest,
    };
    ["ms", "s", "m", "h"].iter().find_map(|unit| rest.strip_prefix(unit))
}

/// `[0-9]*(\.[0-9]*)?` and one or more units.
fn conntrack_part(text: &str) -> Option<&str> {
    let rest = after_digits(text);
    let rest = rest.strip_prefix('.').map_or(rest, after_digits);
    ["ms", "us", "s", "h", "m"]
        .iter()
        .find_map(|unit| rest.strip_prefix(unit))
}

fn is_feature_key(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

fn feature_overrides(text: &str) -> bool {
    let item = |item: &str| {
        item.split_once('=')
            .is_some_and(|(k, v)| is_feature_key(k) && matches!(v, "true" | "false" | ""))
    };
    let (head, last) = text.rsplit_once(',').map_or((None, text), |(h, l)| (Some(h), l));
    head.is_none_or(|h| h.split(',').all(item)) && (last.is_empty() || item(last))
}

/// Values may hold commas: the key after the last one is the next item's.
fn feature_gates(text: &str) -> bool {
    let parts: Vec<&str> = text.split('=').collect();
    let Some((last, before)) = parts.split_last() else {
        return true;
    };
    if before.is_empty() {
        return text.is_empty();
    }
    let middle = before[1..].iter().all(|part| {
        part.rsplit_once(',')
            .is_some_and(|(value, key)| !value.is_empty() && is_feature_key(key))
    });
    is_feature_key(before[0]) && middle && !last.is_empty()
}

fn rate_limit(text: &str) -> bool {
    text.split_once('/').is_some_and(|(count, unit)| {
        let digits = count.bytes().all(|b| b.is_ascii_digit());
        digits
            && (1..=4).contains(&count.len())
            && !count.starts_with('0')
            && matches!(unit, "second" | "minute" | "hour" | "day")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_kubernetes() {
        assert!(
            is_dns_subdomain("a.b-c.0") && !is_dns_subdomain("a..b") && !is_dns_subdomain("") && !is_dns_label("A")
        );
        assert!(is_dns_label(&"a".repeat(64)));
        assert!(
            is_qualified_name("example.com/A_b.c") && !is_qualified_name("UPPER.com/x") && !is_qualified_name("a/b/c")
        );
        assert!(is_label_value("") && is_label_value("1.2.3.4") && !is_label_value("a-") && !is_label_value("é"));
        assert!(is_port_name("http-8080") && !is_port_name("WEB") && !is_port_name("8080") && !is_port_name("a--b"));
        assert!(!is_port_name("a234567890123456"));
    }

    #[test]
    fn networks_are_read_as_go_reads_them() {
        let masked = |text: &str| go_net(text).map(|n| n.masked);
        assert_eq!(masked("1.2.3.4/16"), Some(false));
        assert_eq!(masked("1.2.0.0/016"), Some(true));
        assert_eq!(masked("::ffff:1.2.3.4/128"), Some(true));
        assert_eq!(masked("::ffff:1.2.3.4/64"), Some(false));
        assert_eq!(masked(""), Some(true));
        assert_eq!(masked("1.2.3.4/"), None);
        assert_eq!(masked("1.2.3.4/+8"), None);
        assert_eq!(go_net("::ffff:1.2.3.4/120").and_then(|n| n.family), Some(Family::V4));
        assert_eq!(
            go_net("::/0").map(|n| (n.family, n.everything)),
            Some((Some(Family::V6), true))
        );
    }

    #[test]
    fn patterns_of_the_crds() {
        assert!(fits(Form::Duration, "1h2m3s") && fits(Form::Duration, "") && fits(Form::Duration, r"1\x5s"));
        assert!(!fits(Form::Duration, "1.5s") && fits(Form::PlainDuration, "1.5s") && !fits(Form::Duration, "1us"));
        assert!(
            fits(Form::ConntrackTimeout, "Auto")
                && fits(Form::ConntrackTimeout, "1.s2us")
                && !fits(Form::ConntrackTimeout, "")
        );
        assert!(fits(Form::FeatureOverrides, "a=true,b=,") && !fits(Form::FeatureOverrides, "a=x"));
        assert!(
            fits(Form::FeatureGates, "a=b,c=true")
                && fits(Form::FeatureGates, "a=x,y,c=1")
                && !fits(Form::FeatureGates, "a")
        );
        assert!(fits(Form::FeatureGates, "") && !fits(Form::FeatureGates, "a==b"));
        assert!(
            fits(Form::RateLimit, "10/minute")
                && !fits(Form::RateLimit, "10000/day")
                && !fits(Form::RateLimit, "0/day")
        );
        assert!(fits(Form::AnyCase(&["Drop", "Reject"]), "dROP") && !fits(Form::AnyCase(&["Drop"]), "drops"));
    }
}

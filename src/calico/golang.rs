//! Values as Go writes and reads them: durations, numbers, times, and Calico's ports.

use serde_json::{Number, Value};

/// `api/pkg/lib/numorstring/port.go`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Port {
    Range(u16, u16),
    Name(String),
}

impl Port {
    pub fn into_json(self) -> Value {
        match self {
            Port::Range(low, high) if low == high => Value::from(low),
            Port::Range(low, high) => Value::from(format!("{low}:{high}")),
            Port::Name(name) => Value::from(name),
        }
    }

    /// From what [`Port::into_json`] wrote.
    pub fn from_json(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => port(text),
            other => other
                .as_u64()
                .and_then(|n| u16::try_from(n).ok())
                .map(|n| Port::Range(n, n)),
        }
    }
}

/// `80`, `100:200` (low end first) or a name of up to 128 letters, digits, `_`, `.` and `-`.
pub(super) fn port(text: &str) -> Option<Port> {
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    if digits(text) {
        return text.parse().ok().map(|n| Port::Range(n, n));
    }
    if let Some((low, high)) = text.split_once(':')
        && digits(low)
        && digits(high)
    {
        let (low, high) = (low.parse().ok()?, high.parse().ok()?);
        return (low <= high).then_some(Port::Range(low, high));
    }
    let inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    let name = (1..=128).contains(&text.len()) && text.bytes().all(inside);
    name.then(|| Port::Name(text.to_string()))
}

/// A number of 8 bits written in digits (`strconv.ParseUint(s, 10, 8)`).
pub(super) fn small_number(text: &str) -> Option<u8> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// A number as Go writes a `float64`: the fewest digits that read back the same, no fraction where there is none.
pub(super) fn canonical_number(number: &Number) -> Number {
    let Some(float) = number.as_f64() else {
        return number.clone();
    };
    if float.fract() != 0.0 || float.abs() >= 1e21 {
        return Number::from_f64(float).unwrap_or_else(|| number.clone());
    }
    let digits = float.to_string();
    serde_json::from_str(if digits == "-0" { "0" } else { &digits }).unwrap_or_else(|_| number.clone())
}

/// Keys that Go's `encoding/json` takes for each other.
pub(super) fn same_but_case(name: &str, key: &str) -> bool {
    let fold = |c: char| match c {
        'ſ' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    name.chars().map(fold).eq(key.chars().map(fold))
}

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// `time.ParseDuration`, in nanoseconds.
pub(super) fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    // Go counts in unsigned 64 bits and allows 2^63 for the sake of the smallest negative.
    let limit = 1u64 << 63;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let whole_length = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, after) = rest.split_at(whole_length);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => after.split_at(after.bytes().take_while(u8::is_ascii_digit).count()),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let unit_length = after
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_length);
        let unit = UNITS.iter().find(|(name, _)| *name == unit)?.1;
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let mut value = whole.checked_mul(unit).filter(|v| *v <= limit)?;
        value = value.checked_add(fraction_of(fraction, unit)).filter(|v| *v <= limit)?;
        total = total.checked_add(value).filter(|t| *t <= limit)?;
        rest = after;
    }
    match (negative, total == limit) {
        (true, true) => Some(i64::MIN),
        (false, true) => None,
        (true, false) => Some(-(total as i64)),
        (false, false) => Some(total as i64),
    }
}

/// Go keeps as many digits as fit and multiplies as a float.
fn fraction_of(digits: &str, unit: u64) -> u64 {
    let (mut value, mut scale): (u64, f64) = (0, 1.0);
    for digit in digits.bytes() {
        let Some(next) = value
            .checked_mul(10)
            .and_then(|v| v.checked_add(u64::from(digit - b'0')))
        else {
            break;
        };
        if next > 1 << 63 {
            break;
        }
        value = next;
        scale *= 10.0;
    }
    (value as f64 * (unit as f64 / scale)) as u64
}

/// `Duration.String`: `1h0m0s`, `1.5s`, `10ms`.
pub(super) fn format_duration(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let n = nanoseconds.unsigned_abs();
    let scaled = |unit: u64, name: &str| format!("{sign}{}{name}", decimal(n, unit));
    match n {
        0 => "0s".to_string(),
        1..1_000 => format!("{sign}{n}ns"),
        1_000..1_000_000 => scaled(1_000, "µs"),
        1_000_000..1_000_000_000 => scaled(1_000_000, "ms"),
        _ => {
            let minutes = n / 60_000_000_000;
            let seconds = decimal(n % 60_000_000_000, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, m) => format!("{sign}{m}m{seconds}s"),
                (h, m) => format!("{sign}{h}h{m}m{seconds}s"),
            }
        }
    }
}

fn decimal(value: u64, unit: u64) -> String {
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let digits = unit.ilog10() as usize;
    format!("{whole}.{}", format!("{rest:0digits$}").trim_end_matches('0'))
}

/// `2026-01-02T15:04:05Z`, perhaps with a fraction or an offset.
pub(super) fn is_rfc3339(text: &str) -> bool {
    let number = |part: Option<&str>, low: u32, high: u32| {
        part.filter(|p| p.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|p| p.parse::<u32>().ok())
            .filter(|n| (low..=high).contains(n))
    };
    let at = |from: usize, to: usize| text.get(from..to);
    let marks = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")];
    if marks.iter().any(|(i, mark)| at(*i, i + 1) != Some(mark)) {
        return false;
    }
    let (Some(year), Some(month), Some(day)) = (
        number(at(0, 4), 0, 9999),
        number(at(5, 7), 1, 12),
        number(at(8, 10), 1, 31),
    ) else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let clock = number(at(11, 13), 0, 23)
        .and(number(at(14, 16), 0, 59))
        .and(number(at(17, 19), 0, 59));
    if day > days || clock.is_none() {
        return false;
    }
    let rest = at(19, text.len()).unwrap_or_default();
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => {
            let after = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if after.len() == fraction.len() {
                return false;
            }
            after
        }
        None => rest,
    };
    let offset = |r: &str| {
        r.starts_with(['+', '-'])
            && r.len() == 6
            && r.get(3..4) == Some(":")
            && number(r.get(1..3), 0, 23).and(number(r.get(4..6), 0, 59)).is_some()
    };
    rest == "Z" || offset(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_go_through_go_and_back() {
        let again = |text: &str| parse_duration(text).map(format_duration);
        for (text, want) in [
            ("90s", "1m30s"),
            ("1h", "1h0m0s"),
            ("0", "0s"),
            ("-5s", "-5s"),
            ("1.5s", "1.5s"),
            ("1us", "1µs"),
            (".5m", "30s"),
            ("+1ms", "1ms"),
            ("1h2m3s", "1h2m3s"),
            ("100ms", "100ms"),
            ("1500us", "1.5ms"),
            ("9223372036s", "2562047h47m16s"),
        ] {
            assert_eq!(again(text).as_deref(), Some(want), "{text}");
        }
        for text in [
            "",
            "10",
            "10S",
            "ten",
            "Auto",
            ".s",
            "1d",
            "-",
            "s",
            "9223372037s",
            "1s ",
            "1 s",
        ] {
            assert_eq!(again(text), None, "{text}");
        }
    }

    #[test]
    fn ports_follow_numorstring() {
        assert_eq!(port("080"), Some(Port::Range(80, 80)));
        assert_eq!(port("100:200"), Some(Port::Range(100, 200)));
        assert_eq!(port("http_8.0-"), Some(Port::Name("http_8.0-".into())));
        for text in ["", "65536", "90:80", "80:", ":80", "a b", "1:2:3", "-1"] {
            assert_eq!(
                port(text).filter(|p| !matches!(p, Port::Name(n) if n == "-1")),
                None,
                "{text}"
            );
        }
        assert_eq!(port("-1"), Some(Port::Name("-1".into())));
    }

    #[test]
    fn times() {
        assert!(is_rfc3339("2026-02-28T23:59:59Z") && is_rfc3339("2024-02-29T00:00:00.123+02:00"));
        for text in [
            "",
            "2026-02-29T00:00:00Z",
            "2026-01-01",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
            "é026-01-01T00:00:00Z",
        ] {
            assert!(!is_rfc3339(text), "{text}");
        }
    }
}

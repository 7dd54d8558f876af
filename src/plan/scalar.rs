//! One scalar against one type: what is wrong with it, and what to write instead.
//!
//! Scalars are text until a field's type decides, so that `on` is a word where a word is meant; what other YAML readers
//! would take for something else is refused where a text is meant.

use crate::error::{Diagnostic, codes};
use crate::net::{Cidr, CidrError};
use crate::plan::language::{Form, InputType, Type, nearest, one_of};
use crate::plan::node::Style;
use crate::source::Span;

type Checked = Result<Option<String>, Box<Diagnostic>>;

/// `Ok(Some(text))` is another spelling of the same value: an address from an input where a network is meant.
pub(super) fn check(ty: &Type, text: &str, style: Style, span: Span, name: &str) -> Checked {
    if let Style::Filled(input) = style
        && let Some(problem) = misfit(ty, input, text, span, name)
    {
        return Err(Box::new(problem));
    }
    match ty {
        Type::Text | Type::LabelValue | Type::Name(_) | Type::Ref(_) | Type::Any if style == Style::Plain => {
            if let Some(reading) = other_reading(text).filter(|_| *ty != Type::Any || !is_json(text)) {
                let noun = if *ty == Type::LabelValue {
                    "label value"
                } else {
                    "value"
                };
                let problem = ambiguous(noun, text, reading, span);
                return Err(Box::new(if *ty == Type::Any {
                    problem.fix(plain_fix(text, reading))
                } else {
                    problem
                }));
            }
        }
        _ => {}
    }
    match ty {
        Type::Word(words) | Type::Switch(words) => word(ty, words, text, span, name),
        Type::True => expect(text == "true" && style == Style::Plain, ty, text, span, name),
        Type::Integer(min, max) => integer(ty, (*min, *max), text, style, span, name),
        Type::Number => number(ty, text, style, span, name),
        Type::Name(form) if !form.accepts(text) => Err(Box::new(bad_name(*form, text, span))),
        Type::LabelValue if !is_label_value(text) => {
            let message = format!("`{text}` is not a label value");
            let problem = Diagnostic::error(codes::LABEL, span, message, "not as Kubernetes wants it");
            Err(Box::new(problem.fix(
                "use letters, digits, `-`, `_` and `.`, at most 63, a letter or digit at both ends",
            )))
        }
        Type::Cidr => cidr(text, style, span),
        Type::From => match text.strip_prefix("node/") {
            Some(node) => expect(Form::Subdomain.accepts(node), ty, text, span, name),
            None if ["internet", "others"].contains(&text) => Ok(None),
            None if text.starts_with(|c: char| c.is_ascii_hexdigit() || c == ':') && text.contains(['.', ':', '/']) => {
                cidr(text, style, span)
            }
            None => word(ty, &["internet", "others"], text, span, name),
        },
        Type::PortOrName => port_or_name(ty, text, style, span, name),
        Type::ProtocolPort => {
            let known = text.split_once('/').is_some_and(|(protocol, port)| {
                ["tcp", "udp", "sctp"].contains(&protocol) && parse_port(port).is_some()
            });
            expect(known, ty, text, span, name)
        }
        Type::Workload => expect(workload(text).is_some(), ty, text, span, name),
        Type::Date if day(text).is_none() => {
            let message = format!("`{name}` is `{text}`, expected {}", ty.expects());
            let problem = Diagnostic::error(codes::DATE, span, message, "not a day of the calendar");
            Err(Box::new(problem.fix("write year, month and day: 2026-12-31")))
        }
        Type::NamespacedName => expect(namespaced(text).is_some(), ty, text, span, name),
        _ => Ok(None),
    }
}

/// Why a value of an input cannot stand here, judged by the input's type.
fn misfit(ty: &Type, input: InputType, text: &str, span: Span, name: &str) -> Option<Diagnostic> {
    let fits = match ty {
        Type::Cidr | Type::From => matches!(
            input,
            InputType::Cidr | InputType::Cidrs | InputType::Ip | InputType::String
        ),
        Type::Integer(..) | Type::Number | Type::PortOrName => matches!(input, InputType::Port | InputType::String),
        Type::True => false,
        _ => true,
    };
    (!fits).then(|| {
        let message = format!("`{name}` is filled with `{text}` of an input of type {}", input.word());
        let problem = Diagnostic::error(codes::INPUT_MISFIT, span, message, format!("expected {}", ty.expects()));
        problem.fix(match ty {
            Type::Cidr | Type::From => "use an input of type cidr, cidrs or ip",
            Type::True => "write `true`: no input can stand here",
            _ => "use an input of type port",
        })
    })
}

fn expect(right: bool, ty: &Type, text: &str, span: Span, name: &str) -> Checked {
    if right {
        return Ok(None);
    }
    let message = format!("`{name}` is `{text}`, expected {}", ty.expects());
    let mut problem = Diagnostic::error(codes::WRONG_TYPE, span, message, "not of this form");
    problem.fix = match ty {
        Type::Workload if Form::Subdomain.accepts(text) => Some(format!("write `deployment/{text}` if it is one")),
        Type::NamespacedName if Form::Label.accepts(text) => Some(format!("write `NAMESPACE/{text}`")),
        Type::ProtocolPort if parse_port(text).is_some() => Some(format!("write `tcp/{text}`")),
        Type::From if Form::Subdomain.accepts(&text.to_lowercase()["node/".len()..]) => {
            Some(format!("write `{}`", text.to_lowercase()))
        }
        Type::From => Some("write the name of a node as `kubectl get nodes` prints it".to_string()),
        Type::Workload => Some("write kind and name, such as `deployment/frontend`".to_string()),
        Type::NamespacedName => Some("write `NAMESPACE/NAME`".to_string()),
        Type::ProtocolPort => Some("write tcp, udp or sctp and a port, such as `tcp/9100`".to_string()),
        Type::True => Some(format!("write `true`, or leave `{name}` out")),
        _ => Some(format!("write a name such as `{}`, or a number", Form::Port.example())),
    };
    Err(Box::new(problem))
}

fn word(ty: &Type, words: &[&str], text: &str, span: Span, name: &str) -> Checked {
    if words.contains(&text) {
        return Ok(None);
    }
    let switched = match (ty, text.to_ascii_lowercase().as_str()) {
        (Type::Switch(_), "true" | "on" | "yes" | "enable") => Some("Enabled"),
        (Type::Switch(_), "false" | "off" | "no" | "disable") => Some("Disabled"),
        _ => None,
    };
    let meant = switched.or_else(|| nearest(text, words.iter().copied()));
    let label = meant.map_or("not one of them".to_string(), |meant| {
        format!("did you mean `{meant}`?")
    });
    let message = format!("`{name}` is `{text}`, expected {}", one_of(words));
    let problem = Diagnostic::error(codes::NOT_ONE_OF, span, message, label);
    Err(Box::new(problem.fix(format!(
        "write {}",
        meant.map_or_else(|| one_of(words), |meant| format!("`{meant}`"))
    ))))
}

fn integer(ty: &Type, (min, max): (u64, u64), text: &str, style: Style, span: Span, name: &str) -> Checked {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let canonical =
        !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    if !canonical || style == Style::Quoted {
        let message = format!("`{name}` is {}, expected {}", written(text, style), ty.expects());
        let label = if canonical {
            "a text, because of the quotes"
        } else {
            "not a whole number"
        };
        let mut problem = Diagnostic::error(codes::WRONG_TYPE, span, message, label);
        problem = problem.fix(match text.trim_start_matches('0') {
            _ if canonical => format!("write {text} without quotes"),
            plain if plain.len() < text.len() && plain.parse::<u64>().is_ok() => format!("write {plain}"),
            _ if *ty == Type::Integer(1, 65535) => "write a number such as 8080".to_string(),
            _ => format!("write a number such as {min}"),
        });
        return Err(Box::new(problem));
    }
    match text.parse::<u64>() {
        Ok(number) if (min..=max).contains(&number) => Ok(None),
        _ => {
            let message = format!("`{name}` is {text}, expected {}", ty.expects());
            let problem = Diagnostic::error(codes::OUT_OF_RANGE, span, message, "out of range");
            Err(Box::new(problem.fix(format!("write a number from {min} to {max}"))))
        }
    }
}

fn number(ty: &Type, text: &str, style: Style, span: Span, name: &str) -> Checked {
    if style != Style::Quoted && json_number(text).is_some() {
        return Ok(None);
    }
    let message = format!("`{name}` is {}, expected {}", written(text, style), ty.expects());
    Err(Box::new(if json_number(text).is_some() {
        let problem = Diagnostic::error(codes::WRONG_TYPE, span, message, "a text, because of the quotes");
        problem.fix(format!("write {text} without quotes"))
    } else {
        Diagnostic::error(codes::WRONG_TYPE, span, message, "not a number").fix("write a number such as 500")
    }))
}

fn port_or_name(ty: &Type, text: &str, style: Style, span: Span, name: &str) -> Checked {
    let numeric = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    if numeric {
        return integer(&Type::Integer(1, 65535), (1, 65535), text, style, span, name);
    }
    expect(Form::Port.accepts(text), ty, text, span, name)
}

fn cidr(text: &str, style: Style, span: Span) -> Checked {
    let error = match Cidr::parse(text) {
        Ok(_) => return Ok(None),
        Err(CidrError::BareIp { suggest, .. }) if style == Style::Filled(InputType::Ip) => {
            return Ok(Some(suggest.to_string()));
        }
        Err(error) => error,
    };
    Err(Box::new(bad_cidr(&error, span)))
}

pub(super) fn bad_cidr(error: &CidrError, span: Span) -> Diagnostic {
    let (code, label, consequence) = match error {
        CidrError::HostBits { .. } => (codes::HOST_BITS, "bits set after the prefix", None),
        CidrError::BareIp { .. } => (codes::BARE_IP, "no prefix length", None),
        CidrError::NotAnAddress { .. } | CidrError::BadPrefix { .. } | CidrError::PrefixTooLong { .. } => (
            codes::NOT_A_CIDR,
            "not a network",
            Some("Felix skips an entry it cannot read; a rule that loses its only network matches everybody"),
        ),
        CidrError::Ipv4Mapped { .. } => (
            codes::NOT_A_CIDR,
            "IPv4 inside IPv6",
            Some("Felix can crash on such a network"),
        ),
    };
    let mut problem = Diagnostic::error(code, span, error.to_string(), label);
    problem.consequence = consequence.map(str::to_string);
    problem.fix = error.fix();
    problem
}

pub(super) fn bad_name(form: Form, name: &str, span: Span) -> Diagnostic {
    let code = if form == Form::Policy {
        codes::POLICY_NAME
    } else {
        codes::NAME
    };
    let shown: String = name.chars().take(70).collect();
    let message = format!("`{shown}` is not a valid name here: expected {}", form.expects());
    let problem = Diagnostic::error(code, span, message, "not a valid name");
    let mut tidy = name.to_lowercase().replace(['_', ' '], "-");
    if let (Form::Policy, Some((tier, rest))) = (form, tidy.split_once('.')) {
        tidy = format!("{tier}.{}", rest.replace('.', "-"));
    }
    if form == Form::Code {
        tidy = name.to_uppercase();
    }
    if tidy == name || !form.accepts(&tidy) {
        return problem.fix(format!("write one such as `{}`", form.example()));
    }
    problem.fix(format!("write `{tidy}`"))
}

pub(super) fn ambiguous(noun: &str, text: &str, reading: &str, span: Span) -> Diagnostic {
    let message = format!("{noun} `{text}` is ambiguous: {reading}, or a text?");
    Diagnostic::error(
        codes::AMBIGUOUS,
        span,
        message,
        format!("{reading} in some YAML readers"),
    )
    .fix(format!("quote it: \"{text}\""))
}

/// Where a boolean or a number may be meant as well as a text.
fn plain_fix(text: &str, reading: &str) -> String {
    let plain = match text.to_ascii_lowercase().as_str() {
        "y" | "yes" | "on" | "true" => "`true`",
        "n" | "no" | "off" | "false" => "`false`",
        _ if reading == "a number" => "a plain decimal number",
        _ => "a value",
    };
    format!("write {plain}, or \"{text}\" if a text is meant")
}

/// What an ambiguous plain word is most likely meant as, spelled as in JSON.
pub(super) fn likely(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "y" | "yes" | "on" | "true" => return Some("true".to_string()),
        "n" | "no" | "off" | "false" => return Some("false".to_string()),
        _ => {}
    }
    let digits = lower.replace('_', "");
    let (digits, radix) = match digits.get(..2) {
        Some("0x") => (&digits[2..], 16),
        Some("0o") => (&digits[2..], 8),
        Some("0b") => (&digits[2..], 2),
        _ if digits.starts_with('0') && digits.len() > 1 => (&digits[1..], 8),
        _ => (digits.trim_start_matches('+'), 10),
    };
    u32::from_str_radix(digits, radix).ok().map(|number| number.to_string())
}

/// A scalar as it was written, for messages.
fn written(text: &str, style: Style) -> String {
    if style == Style::Quoted {
        format!("`\"{text}\"`")
    } else {
        format!("`{text}`")
    }
}

/// What else a plain scalar is read as: by YAML 1.1, 1.2, or kubectl.
pub(super) fn other_reading(text: &str) -> Option<&'static str> {
    let lower = text.to_ascii_lowercase();
    // YAML knows `yes`, `Yes` and `YES`, not `yEs`.
    let capitalised = text.is_ascii() && text.get(1..) == lower.get(1..);
    if text == lower || text == text.to_ascii_uppercase() || capitalised {
        match lower.as_str() {
            "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" => return Some("a boolean"),
            "null" => return Some("nothing"),
            _ => {}
        }
    }
    if text.is_empty() || text == "~" {
        return Some("nothing");
    }
    let body = lower.strip_prefix(['-', '+']).unwrap_or(&lower);
    let digits = |text: &str, radix: u32| !text.is_empty() && text.chars().all(|c| c == '_' || c.is_digit(radix));
    let prefixed = [("0x", 16), ("0o", 8), ("0b", 2)]
        .iter()
        .any(|(prefix, radix)| body.strip_prefix(prefix).is_some_and(|rest| digits(rest, *radix)));
    let number = body.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && body.contains(|c: char| c.is_ascii_digit())
        && body.replace('_', "").parse::<f64>().is_ok();
    (prefixed || number || matches!(body, ".inf" | ".nan")).then_some("a number")
}

/// A plain scalar that means the same to every reader as in JSON.
fn is_json(text: &str) -> bool {
    matches!(text, "true" | "false") || json_number(text).is_some()
}

/// A number by JSON's grammar.
pub(super) fn json_number(text: &str) -> Option<serde_json::Number> {
    text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        .then(|| serde_json::from_str(text).ok())?
}

/// `2026-12-31`
pub(super) fn day(text: &str) -> Option<jiff::civil::Date> {
    // jiff takes more than this form
    let digits = |part: std::ops::Range<usize>| {
        text.get(part)
            .is_some_and(|part| part.bytes().all(|b| b.is_ascii_digit()))
    };
    let form = text.len() == 10 && digits(0..4) && digits(5..7) && digits(8..10);
    form.then(|| text.parse().ok())?
}

pub(super) fn parse_port(text: &str) -> Option<u16> {
    text.parse::<crate::net::Port>().ok().map(crate::net::Port::get)
}

/// `deployment/frontend`
pub(super) fn workload(text: &str) -> Option<(super::WorkloadKind, &str)> {
    let (kind, name) = text.split_once('/')?;
    let kind = match kind {
        "deployment" => super::WorkloadKind::Deployment,
        "statefulset" => super::WorkloadKind::StatefulSet,
        "daemonset" => super::WorkloadKind::DaemonSet,
        _ => return None,
    };
    Form::Subdomain.accepts(name).then_some((kind, name))
}

/// `namespace/name`
pub(super) fn namespaced(text: &str) -> Option<(&str, &str)> {
    text.split_once('/')
        .filter(|(namespace, name)| Form::Label.accepts(namespace) && Form::Label.accepts(name))
}

fn is_label_name(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

pub(super) fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_label_name(text)
}

pub(super) fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => Form::Subdomain.accepts(prefix) && is_label_name(name),
        None => is_label_name(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_that_other_readers_take_for_something_else() {
        for text in [
            "on", "Yes", "OFF", "n", "true", "30080", "017", "0x1F", "1_000", "1e3", ".5", "+1", ".inf", "null", "~",
        ] {
            assert!(other_reading(text).is_some(), "{text}");
        }
        for text in [
            "one",
            "1.2.3",
            "v1",
            "yEs",
            "10.0.0.0/8",
            "e1",
            "-",
            "inf",
            "nan",
            "tcp/80",
            "é",
        ] {
            assert_eq!(other_reading(text), None, "{text}");
        }
    }

    #[test]
    fn an_ambiguous_word_has_a_likely_meaning() {
        for (text, meant) in [
            ("On", "true"),
            ("n", "false"),
            ("0x1F", "31"),
            ("017", "15"),
            ("1_000", "1000"),
            ("+1", "1"),
        ] {
            assert_eq!(likely(text).as_deref(), Some(meant));
        }
        for text in ["~", ".inf", "é", "0é", "", "0x", "99999999999"] {
            assert_eq!(likely(text), None, "{text}");
        }
    }

    #[test]
    fn label_keys_may_have_a_domain() {
        assert!(is_label_key("host-end-point") && is_label_key("projectcalico.org/created-by"));
        assert!(!is_label_key("a/b/c") && !is_label_key("-a") && !is_label_key("/a"));
    }
}

//! The plan language as one table: what may stand where, what it means, an example.
//!
//! The decoder interprets the table; the JSON Schema (`schema.rs`) and the field help (`help.rs`) are printed from it, so
//! none of them can drift. Says nothing about how a mistake is worded or what a plan means.

mod cloud;
mod gates;
mod help;
mod promises;
mod schema;
mod sections;
mod table;

pub use help::{field_help, field_paths};
pub use schema::schema;
pub(crate) use table::{AWS_INSTANCE, KIND, NODE_ADDRESS, OWN_ADDRESS, PLAN};

/// What may stand at a place. Every scalar may also be `${name}` where inputs may be used.
#[derive(Debug, PartialEq)]
pub(crate) enum Type {
    /// Any text.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `Enabled` and its opposite, and the like: the same, but `true` and `on` get a fix.
    Switch(&'static [&'static str]),
    /// Only `true`.
    True,
    Integer(u64, u64),
    /// A number with or without a fraction.
    Number,
    /// A name of this form.
    Name(Form),
    /// The name of something in this plan.
    Ref(Section),
    LabelValue,
    /// A network: address and prefix length.
    Cidr,
    /// A port by number or by name.
    PortOrName,
    /// `tcp/9100`.
    ProtocolPort,
    /// `deployment/frontend`.
    Workload,
    /// `namespace/name`.
    NamespacedName,
    /// A day, `2026-12-31`.
    Date,
    /// Where traffic comes from: a network, `internet`, `others` or `node/NAME`.
    From,
    /// A scalar, or a mapping.
    Either(&'static Type, &'static Object),
    /// The default of an input, whose own type decides.
    Default,
    /// Any value, checked elsewhere.
    Any,
    Object(&'static Object),
    /// A list of at least this many.
    List(&'static Type, usize),
    /// Names of this form, each with a value.
    Map(Form, &'static Type),
    /// Keys and values of labels.
    Labels,
}

/// How a name must look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// RFC 1123 label: group, tier, network set.
    Label,
    /// RFC 1035 label: what Kubernetes wants of a Service.
    ServiceLabel,
    /// RFC 1123 subdomain: nodes, objects of others.
    Subdomain,
    /// `tier.name`, or a bare name in tier `default`.
    Policy,
    Input,
    /// A Kubernetes port name.
    Port,
    /// A UUID.
    Uid,
    /// `sg-` and hexadecimal digits.
    SecurityGroup,
    /// `pl-` and hexadecimal digits.
    PrefixList,
    /// `i-` and hexadecimal digits.
    Instance,
    /// `HG` and four digits.
    Code,
}

/// What the value of an input must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InputType {
    Cidr,
    Cidrs,
    Ip,
    Port,
    String,
}

impl InputType {
    pub fn parse(word: &str) -> Option<InputType> {
        [
            InputType::Cidr,
            InputType::Cidrs,
            InputType::Ip,
            InputType::Port,
            InputType::String,
        ]
        .into_iter()
        .find(|ty| ty.word() == word)
    }

    pub fn word(self) -> &'static str {
        match self {
            InputType::Cidr => "cidr",
            InputType::Cidrs => "cidrs",
            InputType::Ip => "ip",
            InputType::Port => "port",
            InputType::String => "string",
        }
    }
}

/// The named parts of a plan that other parts refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Section {
    Nodes,
    Services,
    NetworkSets,
}

impl Section {
    pub fn key(self) -> &'static str {
        match self {
            Section::Nodes => "nodes",
            Section::Services => "services",
            Section::NetworkSets => "networkSets",
        }
    }

    /// What one of them is called.
    pub fn noun(self) -> &'static str {
        match self {
            Section::Nodes => "node group",
            Section::Services => "service",
            Section::NetworkSets => "network set",
        }
    }
}

/// A mapping with fixed keys.
#[derive(Debug, PartialEq)]
pub(crate) struct Object {
    /// As it appears in messages: `a network set`.
    pub noun: &'static str,
    pub fields: &'static [Field],
    /// Exactly one of these ways of writing it; empty: no such choice.
    pub choice: &'static [Choice],
}

/// One way of writing an object: all of `needs`, any of `may`.
#[derive(Debug, PartialEq)]
pub(crate) struct Choice {
    pub needs: &'static [&'static str],
    pub may: &'static [&'static str],
}

#[derive(Debug, PartialEq)]
pub(crate) struct Field {
    pub name: &'static str,
    pub ty: Type,
    pub required: bool,
    pub doc: &'static str,
    pub example: &'static str,
}

impl Object {
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Whether its fields are those of an object of Calico.
    pub fn is_calicos(&'static self) -> bool {
        [&sections::TIER, &sections::NETWORK_SET]
            .iter()
            .any(|object| std::ptr::eq(*object, self))
    }
}

impl Type {
    /// What is expected, for messages: `expected <this>`.
    pub fn expects(&self) -> String {
        match self {
            Type::Text => "a text".to_string(),
            Type::Default | Type::Any => "a value".to_string(),
            Type::Word(words) | Type::Switch(words) => one_of(words),
            Type::True => "`true`".to_string(),
            Type::Integer(1, 65535) => "a port, an integer from 1 to 65535".to_string(),
            Type::Integer(min, u64::MAX) => format!("an integer of at least {min}"),
            Type::Integer(min, max) => format!("an integer from {min} to {max}"),
            Type::Number => "a number".to_string(),
            Type::Name(form) => form.expects().to_string(),
            Type::Ref(section) => format!("the name of a {} of this plan", section.noun()),
            Type::LabelValue => "a label value, a text".to_string(),
            Type::Cidr => "a network such as 10.0.0.0/8".to_string(),
            Type::PortOrName => "a port, by number or name".to_string(),
            Type::ProtocolPort => "a protocol and a port such as tcp/9100".to_string(),
            Type::Workload => "a workload such as deployment/frontend".to_string(),
            Type::NamespacedName => "a Service as namespace/name".to_string(),
            Type::Date => "a day such as 2026-12-31".to_string(),
            Type::From => "a network, `internet`, `others` or `node/NAME`".to_string(),
            Type::Either(scalar, object) => format!("{}, or {}, a mapping", scalar.expects(), object.noun),
            Type::Object(object) => format!("{}, a mapping", object.noun),
            Type::List(item, _) => format!("a list, each item {}", item.expects()),
            Type::Map(..) => "a mapping of names".to_string(),
            Type::Labels => "a mapping of labels".to_string(),
        }
    }

    pub fn is_scalar(&self) -> bool {
        !matches!(
            self,
            Type::Object(_) | Type::List(..) | Type::Map(..) | Type::Labels | Type::Any | Type::Default
        )
    }
}

impl Form {
    pub fn expects(self) -> &'static str {
        match self {
            Form::Label => {
                "a name of at most 63 lower-case letters, digits and `-`, with a letter or digit at both ends"
            }
            Form::ServiceLabel => {
                "a name of at most 63 lower-case letters, digits and `-`, first a letter, last not `-`"
            }
            Form::Subdomain => "a name of lower-case letters, digits, `-` and `.`, with a letter or digit at both ends",
            Form::Policy => "`tier.name` (or a bare name in tier `default`), two names joined by one dot",
            Form::Input => "a name of at most 63 letters, digits, `-` and `_`, first a letter",
            Form::Port => {
                "a port name of at most 15 lower-case letters, digits and single `-`, with at least one letter"
            }
            Form::Uid => "a uid, 32 hexadecimal digits in five groups",
            Form::SecurityGroup => "the id of a security group, `sg-` and hexadecimal digits",
            Form::PrefixList => "the id of a prefix list, `pl-` and hexadecimal digits",
            Form::Instance => "the id of an instance, `i-` and hexadecimal digits",
            Form::Code => "a code, `HG` and four digits",
        }
    }

    pub fn example(self) -> &'static str {
        match self {
            Form::Label => "guarded",
            Form::ServiceLabel => "frontend",
            Form::Subdomain => "ip-10-0-1-5.ec2.internal",
            Form::Policy => "security.allow-ssh",
            Form::Input => "trusted",
            Form::Port => "http",
            Form::Uid => "3f2a9c1e-6d0b-4b7e-9a55-0c8f1d2e7b64",
            Form::SecurityGroup => "sg-0123456789abcdef0",
            Form::PrefixList => "pl-0123456789abcdef0",
            Form::Instance => "i-0123456789abcdef0",
            Form::Code => "HG1001",
        }
    }

    /// The rule as a regular expression in the dialect of JSON Schema.
    pub fn pattern(self) -> &'static str {
        match self {
            Form::Label => "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
            Form::ServiceLabel => "^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$",
            Form::Subdomain => "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
            Form::Policy => "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)?$",
            Form::Input => "^[A-Za-z][-A-Za-z0-9_]{0,62}$",
            Form::Port => "^(?=.{1,15}$)(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*$",
            Form::Uid => "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
            Form::SecurityGroup => "^sg-[0-9a-f]{1,17}$",
            Form::PrefixList => "^pl-[0-9a-f]{1,17}$",
            Form::Instance => "^i-[0-9a-f]{1,17}$",
            Form::Code => "^HG[0-9]{4}$",
        }
    }

    pub fn accepts(self, name: &str) -> bool {
        let label = |text: &str| {
            let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            !text.is_empty()
                && text.chars().all(|c| inner(c) || c == '-')
                && text.starts_with(inner)
                && text.ends_with(inner)
        };
        let id = |prefix: &str| {
            let hex = name.strip_prefix(prefix).unwrap_or_default();
            (1..=17).contains(&hex.len()) && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        match self {
            Form::SecurityGroup => id("sg-"),
            Form::PrefixList => id("pl-"),
            Form::Instance => id("i-"),
            Form::Code => {
                let digits = name.strip_prefix("HG").unwrap_or_default();
                digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit())
            }
            Form::Label => label(name) && name.len() <= 63,
            Form::ServiceLabel => label(name) && name.len() <= 63 && name.starts_with(|c: char| c.is_ascii_lowercase()),
            Form::Subdomain => name.len() <= 253 && name.split('.').all(label),
            Form::Policy => name.len() <= 253 && name.split('.').count() <= 2 && name.split('.').all(label),
            Form::Input => {
                name.len() <= 63
                    && name.starts_with(|c: char| c.is_ascii_alphabetic())
                    && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            }
            Form::Port => {
                name.len() <= 15
                    && label(name)
                    && !name.contains("--")
                    && name.contains(|c: char| c.is_ascii_lowercase())
            }
            Form::Uid => {
                let groups: Vec<&str> = name.split('-').collect();
                groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
                    && groups.iter().all(|group| group.chars().all(|c| c.is_ascii_hexdigit()))
            }
        }
    }
}

/// `` `a`, `b` or `c` ``
pub(crate) fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.as_slice() {
        [] => "nothing".to_string(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// The candidate that was probably meant: the same but for its case, else near enough.
pub(crate) fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = text.to_lowercase();
    let near = |candidate: &&str| {
        let distance = strsim::damerau_levenshtein(&lower, &candidate.to_lowercase());
        (distance <= (text.chars().count() / 3).max(1) && distance < candidate.chars().count()).then_some(distance)
    };
    // A key of a thousand characters is no misspelling.
    (text.len() <= 100).then_some(())?;
    candidates
        .into_iter()
        .filter_map(|candidate| near(&candidate).map(|distance| (distance, candidate)))
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_ignores_case_and_small_slips() {
        let fields = ["nets", "labels"];
        assert_eq!(nearest("Nets", fields), Some("nets"));
        assert_eq!(nearest("lables", fields), Some("labels"));
        assert_eq!(nearest("ports", fields), None);
        assert_eq!(nearest("x", ["y"]), None, "a single other letter is no slip");
        assert_eq!(nearest(&"n".repeat(5000), fields), None);
    }

    #[test]
    fn forms_take_what_kubernetes_takes() {
        assert!(Form::Label.accepts("0a-b") && !Form::Label.accepts("a_b") && !Form::Label.accepts("a-"));
        assert!(!Form::Label.accepts(&"a".repeat(64)) && !Form::Label.accepts(""));
        assert!(Form::ServiceLabel.accepts("web-1") && !Form::ServiceLabel.accepts("1web"));
        assert!(Form::Policy.accepts("security.web") && Form::Policy.accepts("web") && !Form::Policy.accepts("a.b.c"));
        assert!(Form::Port.accepts("http-1") && !Form::Port.accepts("8080") && !Form::Port.accepts("a--b"));
        assert!(Form::Uid.accepts("7f9a4c0e-8f0b-4b5e-9d0a-1c2d3e4f5a6b") && !Form::Uid.accepts("7f9a"));
    }
}

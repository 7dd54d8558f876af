//! The structure of Calico's objects as data: one tree of fields per kind.
//!
//! A field says what two readers make of it: the CRD (types, limits, list kinds) and Calico's Go types (what is lost
//! on the way through them, which format its validator asks for). Walked by `crd.rs`, `decode.rs` and `checks.rs`;
//! rules about two fields at once are not here.

mod felix;
mod kubecontrollers;
mod metadata;
mod others;
mod policy;

pub use metadata::METADATA;

/// A named value, or an item of a list (then the name is empty).
#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    pub ty: Type,
    /// The CRD refuses an object without it.
    pub required: bool,
    /// What the CRD fills in when it is missing.
    pub default: Option<&'static str>,
    pub zero: Zero,
    pub check: Check,
}

#[derive(Debug)]
pub enum Type {
    Bool,
    Text {
        longest: Option<usize>,
        form: Form,
    },
    /// `least` and `most` are the CRD's.
    Integer {
        width: Width,
        least: i64,
        most: i64,
    },
    /// One of these numbers.
    Choice(&'static [i64]),
    Number,
    /// A Go duration, with the form the CRD asks of its text.
    Duration(Form),
    /// A port, a range such as `100:200`, or a port name.
    Port,
    /// A protocol name or number.
    Protocol,
    /// A DSCP name or number.
    Dscp,
    /// RFC 3339, as Kubernetes writes it.
    Time,
    /// Text to text.
    Map,
    List(&'static List),
    Object(&'static [Field]),
    /// Kept as it is.
    Any,
}

/// How Kubernetes merges a list, and what it may hold.
#[derive(Debug)]
pub struct List {
    pub kind: ListKind,
    pub least: usize,
    pub most: usize,
    pub item: Field,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// One owner, replaced whole, order kept, repeats allowed.
    Atomic,
    /// Merged by element, repeats refused.
    Set,
    /// Merged by the named key of its items.
    Map(&'static str),
}

/// What Calico's Go types do with a zero value (`false`, `0`, `""`, `[]`) on writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zero {
    /// Not written: a zero value and none are the same.
    Dropped,
    /// Written when it was given (a Go pointer).
    Kept,
    /// Written even when it was not given.
    Always,
}

/// Size of the Go integer that holds a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    I64,
    I32,
    U16,
}

/// Texts the CRD accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Any,
    OneOf(&'static [&'static str]),
    /// In any case, or empty.
    AnyCase(&'static [&'static str]),
    /// The pattern Calico writes with two backslashes before the dot, so that no fraction is accepted.
    Duration,
    /// The same with one backslash.
    PlainDuration,
    ConntrackTimeout,
    FeatureOverrides,
    FeatureGates,
    RateLimit,
    LogPrefix,
    ConditionReason,
    ConditionType,
}

/// What Calico's validator asks of a value (`libcalico-go/lib/validator/v3/validator.go`); the CRD does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    None,
    /// A strictly masked network or an address.
    Net,
    /// A network or an address, host bits allowed.
    Cidr,
    Cidrs,
    Ip,
    Selector,
    /// A DNS-1123 subdomain without a limit to its length.
    Name,
    Interface,
    InterfaceFilter,
    InterfaceFilters,
    PortName,
    Labels,
    Regexp,
    KeyValues,
    PrometheusHost,
    LogFilters,
    OneOf(&'static [&'static str]),
    Between(i64, i64),
    /// No entry twice; the CRD says so too.
    Unique,
}

const fn field(name: &'static str, ty: Type) -> Field {
    Field {
        name,
        ty,
        required: false,
        default: None,
        zero: Zero::Dropped,
        check: Check::None,
    }
}

const fn flag(name: &'static str) -> Field {
    field(name, Type::Bool)
}

const fn text(name: &'static str) -> Field {
    field(
        name,
        Type::Text {
            longest: None,
            form: Form::Any,
        },
    )
}

const fn choice(name: &'static str, values: &'static [&'static str]) -> Field {
    field(
        name,
        Type::Text {
            longest: None,
            form: Form::OneOf(values),
        },
    )
}

const fn any_case(name: &'static str, values: &'static [&'static str]) -> Field {
    field(
        name,
        Type::Text {
            longest: None,
            form: Form::AnyCase(values),
        },
    )
}

const fn integer(name: &'static str) -> Field {
    field(
        name,
        Type::Integer {
            width: Width::I64,
            least: i64::MIN,
            most: i64::MAX,
        },
    )
}

const fn number(name: &'static str) -> Field {
    field(name, Type::Number)
}

const fn duration(name: &'static str) -> Field {
    field(name, Type::Duration(Form::Any))
}

const fn port(name: &'static str) -> Field {
    field(name, Type::Port)
}

const fn dscp(name: &'static str) -> Field {
    field(name, Type::Dscp)
}

const fn protocol(name: &'static str) -> Field {
    field(name, Type::Protocol)
}

const fn map(name: &'static str) -> Field {
    field(name, Type::Map)
}

const fn list(name: &'static str, list: &'static List) -> Field {
    field(name, Type::List(list))
}

const fn object(name: &'static str, fields: &'static [Field]) -> Field {
    field(name, Type::Object(fields))
}

const fn set_of(item: Field) -> List {
    List {
        kind: ListKind::Set,
        least: 0,
        most: usize::MAX,
        item,
    }
}

const fn list_of(item: Field) -> List {
    List {
        kind: ListKind::Atomic,
        least: 0,
        most: usize::MAX,
        item,
    }
}

impl List {
    const fn sized(mut self, least: usize, most: usize) -> Self {
        self.least = least;
        self.most = most;
        self
    }
}

impl Field {
    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    const fn default(mut self, value: &'static str) -> Self {
        self.default = Some(value);
        self
    }

    const fn kept(mut self) -> Self {
        self.zero = Zero::Kept;
        self
    }

    const fn always(mut self) -> Self {
        self.zero = Zero::Always;
        self
    }

    const fn check(mut self, check: Check) -> Self {
        self.check = check;
        self
    }

    const fn longest(mut self, limit: usize) -> Self {
        self.ty = match self.ty {
            Type::Text { form, .. } => Type::Text {
                longest: Some(limit),
                form,
            },
            other => other,
        };
        self
    }

    const fn form(mut self, form: Form) -> Self {
        self.ty = match self.ty {
            Type::Text { longest, .. } => Type::Text { longest, form },
            Type::Duration(_) => Type::Duration(form),
            other => other,
        };
        self
    }

    const fn within(mut self, least: i64, most: i64) -> Self {
        self.ty = match self.ty {
            Type::Integer { width, .. } => Type::Integer { width, least, most },
            other => other,
        };
        self
    }

    const fn width(mut self, width: Width) -> Self {
        self.ty = match self.ty {
            Type::Integer { least, most, .. } => Type::Integer { width, least, most },
            other => other,
        };
        self
    }

    /// The field at a path of keys; list indexes are not part of it.
    pub fn at(&self, keys: &[&str]) -> Option<&Field> {
        let inner = match &self.ty {
            Type::List(list) => return list.item.at(keys),
            _ if keys.is_empty() => return Some(self),
            Type::Object(fields) => fields.iter().find(|f| f.name == keys[0])?,
            _ => return None,
        };
        match (&inner.ty, keys.len()) {
            (_, 1) => Some(inner),
            _ => inner.at(&keys[1..]),
        }
    }
}

/// Kinds whose structure is known here.
pub const KINDS: [&str; 8] = [
    "FelixConfiguration",
    "GlobalNetworkPolicy",
    "GlobalNetworkSet",
    "HostEndpoint",
    "KubeControllersConfiguration",
    "NetworkPolicy",
    "NetworkSet",
    "Tier",
];

/// The tree of a kind, from `apiVersion` down.
pub fn schema(kind: &str) -> Option<&'static Field> {
    Some(match kind {
        "FelixConfiguration" => &felix::FELIX_CONFIGURATION,
        "GlobalNetworkPolicy" => &policy::GLOBAL_NETWORK_POLICY,
        "GlobalNetworkSet" => &others::GLOBAL_NETWORK_SET,
        "HostEndpoint" => &others::HOST_ENDPOINT,
        "KubeControllersConfiguration" => &kubecontrollers::KUBE_CONTROLLERS_CONFIGURATION,
        "NetworkPolicy" => &policy::NETWORK_POLICY,
        "NetworkSet" => &others::NETWORK_SET,
        "Tier" => &others::TIER,
        _ => return None,
    })
}

/// Lives in a namespace.
pub fn is_namespaced(kind: &str) -> bool {
    matches!(kind, "NetworkPolicy" | "NetworkSet")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_tree_with_sorted_unique_names() {
        fn walk(field: &Field) {
            match &field.ty {
                Type::Object(fields) => {
                    for pair in fields.windows(2) {
                        assert!(pair[0].name < pair[1].name, "{} before {}", pair[0].name, pair[1].name);
                    }
                    fields.iter().for_each(walk);
                }
                Type::List(list) => walk(&list.item),
                _ => {}
            }
        }
        for kind in KINDS {
            walk(schema(kind).expect(kind));
        }
        assert!(schema("Pod").is_none());
    }

    #[test]
    fn lists_know_how_they_merge() {
        let kind_of = |kind: &str, keys: &[&str]| match schema(kind).and_then(|f| f.at(keys)).map(|f| &f.ty) {
            Some(Type::List(list)) => list.kind,
            other => panic!("{kind} {keys:?}: {other:?}"),
        };
        assert_eq!(kind_of("GlobalNetworkPolicy", &["spec", "ingress"]), ListKind::Atomic);
        assert_eq!(
            kind_of("GlobalNetworkPolicy", &["spec", "ingress", "source", "nets"]),
            ListKind::Set
        );
        assert_eq!(kind_of("HostEndpoint", &["spec", "expectedIPs"]), ListKind::Set);
        assert_eq!(
            kind_of("FelixConfiguration", &["spec", "failsafeInboundHostPorts"]),
            ListKind::Atomic
        );
    }
}

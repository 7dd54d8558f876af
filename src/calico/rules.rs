//! The table of rules: every way an object can be wrong, who refuses it, and where that is written.
//!
//! Data only. The functions that look for each row are in `crd.rs`, `decode.rs`, `checks.rs`, `cross.rs`, `felix.rs`
//! and `house.rs`; the corpus test prints how often each row is met.

use std::fmt;

/// A row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// The code a diagnostic carries; never given to another rule.
    pub id: &'static str,
    pub title: &'static str,
    /// The Calico or Kubernetes source it was read from, or the observation that showed it.
    pub source: &'static str,
    pub explain: &'static str,
    /// Who refuses, drops or dies of an object that breaks it.
    pub gates: Gates,
}

/// Places an object passes on its way into a packet filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gates(u8);

impl Gates {
    /// calico-apiserver, and the create path of calicoctl behind its decoder.
    pub const AGGREGATED: Gates = Gates(1);
    /// A kube-apiserver with Calico's v3 CRDs.
    pub const NATIVE: Gates = Gates(2);
    /// Either of them asked with `fieldValidation=Strict`, as kubectl does.
    pub const STRICT: Gates = Gates(4);
    /// calicoctl's own reading of the file.
    pub const CALICOCTL: Gates = Gates(8);
    /// Felix, which drops the object or stops.
    pub const FELIX: Gates = Gates(16);
    /// hostguard alone.
    pub const HOSTGUARD: Gates = Gates(32);

    const NAMES: [(Gates, &'static str); 6] = [
        (Gates::AGGREGATED, "aggregated API server"),
        (Gates::NATIVE, "native v3 CRDs"),
        (Gates::STRICT, "strict field validation"),
        (Gates::CALICOCTL, "calicoctl"),
        (Gates::FELIX, "Felix"),
        (Gates::HOSTGUARD, "hostguard"),
    ];

    pub const fn and(self, other: Gates) -> Gates {
        Gates(self.0 | other.0)
    }

    pub fn contains(self, other: Gates) -> bool {
        self.0 & other.0 == other.0
    }

    /// What each gate does with an object that breaks the rule, in words. kubectl asks strictly, and then a server with
    /// native kinds.
    pub fn words(self) -> String {
        let gates = [
            ("Calico's API server", self.contains(Gates::AGGREGATED)),
            ("native v3 CRDs", self.contains(Gates::NATIVE)),
            ("kubectl", self.contains(Gates::NATIVE) || self.contains(Gates::STRICT)),
            ("calicoctl", self.contains(Gates::CALICOCTL)),
        ];
        let with = |wanted: bool| -> Vec<&'static str> {
            gates
                .into_iter()
                .filter(|(_, refuses)| *refuses == wanted)
                .map(|(name, _)| name)
                .collect()
        };
        let (refuse, accept) = (with(true), with(false));
        let mut parts = Vec::new();
        if !refuse.is_empty() {
            parts.push(format!("refused by {}", refuse.join(", ")));
        }
        if !accept.is_empty() {
            parts.push(format!("let through by {}", accept.join(", ")));
        }
        if self.contains(Gates::FELIX) {
            parts.push("Felix drops it or stops".to_string());
        }
        parts.join("; ")
    }

    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .into_iter()
            .filter(move |(gate, _)| self.contains(*gate))
            .map(|(_, name)| name)
    }
}

impl fmt::Display for Gates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().collect::<Vec<_>>().join(", "))
    }
}

const VAL: &str = "libcalico-go/lib/validator/v3/validator.go";
const CRD: &str = "api/config/crd: schema";
const CEL: &str = "api/config/crd: x-kubernetes-validations";
const SEEN: &str = "observed on a running Felix";
const K8S: &str = "k8s.io/apimachinery/pkg/api/validation/objectmeta.go";
const MODEL: &str = "typha/pkg/validator/v1/validator.go, felix/calc/validation_filter.go";
const HOUSE: &str = "hostguard";

const SERVER: Gates = Gates::AGGREGATED.and(Gates::CALICOCTL);
const BOTH: Gates = SERVER.and(Gates::NATIVE);
const LISTS: Gates = Gates::AGGREGATED.and(Gates::NATIVE);
const DROPPED: Gates = SERVER.and(Gates::FELIX);
const EVERY: Gates = BOTH.and(Gates::FELIX);

macro_rules! rules {
    ($($name:ident $id:literal $gates:expr, $source:expr, $title:literal, $explain:literal;)*) => {
        /// A row by name, for the functions that look for it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Id { $($name),* }

        /// Every rule, by ascending id.
        pub const RULES: &[Rule] = &[$(
            Rule { id: $id, title: $title, source: $source, explain: $explain, gates: $gates },
        )*];
    };
}

impl Id {
    pub(super) fn rule(self) -> &'static Rule {
        &RULES[self as usize]
    }
}

rules! {
    Kind "HG0400" Gates::HOSTGUARD, HOUSE, "not an object hostguard can check",
        "Only projectcalico.org/v3 objects of the eight kinds that make up host protection are known here.";
    UnknownKey "HG0401" Gates::STRICT, CRD, "unknown key",
        "Kubernetes drops keys it does not know, in any spelling but the exact one: a rule loses the condition and matches everybody.";
    WrongType "HG0402" EVERY, CRD, "wrong type",
        "A number where text belongs, or the other way round. What the CRD lets pass may still be unreadable to Felix.";
    Missing "HG0403" BOTH, CRD, "required field missing", "The CRD marks the field as required.";
    Value "HG0404" BOTH, CRD, "value not allowed", "The CRD lists the values, or a pattern for them; case counts unless the pattern says otherwise.";
    Range "HG0405" EVERY, CRD, "number out of range", "The CRD, or the Go type behind it, limits the number.";
    TooLong "HG0406" BOTH, CRD, "text too long", "The CRD limits the length.";
    ListSize "HG0407" BOTH, CRD, "list too long or too short", "The CRD limits the number of entries.";
    Repeated "HG0408" LISTS, CRD, "repeated entry", "The list is a set: Kubernetes merges it by element and refuses repeats. calicoctl on etcd does not notice.";
    DuplicateKey "HG0409" Gates::STRICT, K8S, "key given twice", "The last one wins silently unless the request is strict.";
    Name "HG0410" BOTH, VAL, "name not allowed",
        "Names are DNS-1123 subdomains. Policies take one label or two joined by one dot, tiers one label of at most 63 characters.";
    Label "HG0411" BOTH, K8S, "label or annotation not allowed", "Keys are qualified names; label values have at most 63 letters, digits, `-`, `_` and `.`.";
    Annotations "HG0412" BOTH, K8S, "annotations too large", "All annotations together may have 256 KiB.";
    Namespace "HG0413" BOTH, K8S, "namespace missing or not allowed", "NetworkPolicy and NetworkSet live in a namespace, the other kinds in none.";
    Revision "HG0414" SERVER, "libcalico-go/lib/clientv3/resources.go", "resourceVersion on an object to create", "Only an existing object has one.";
    OnlyDefault "HG0415" SERVER, "libcalico-go/lib/clientv3/kubecontrollersconfig.go", "only the name default is allowed",
        "kube-controllers reads the KubeControllersConfiguration called default and no other.";
    TierExists "HG0416" SERVER, "libcalico-go/lib/clientv3/globalnetworkpolicy.go", "tier does not exist",
        "Calico's create path looks the tier up. Where nothing does, Felix enforces the policy after all others with a deny at the end.";
    ReservedLabel "HG0417" SERVER, VAL, "reserved label", "projectcalico.org/namespace is set by Calico when it flattens namespaces.";
    Duration "HG0418" DROPPED, "k8s.io/apimachinery/pkg/apis/meta/v1/duration.go", "not a duration", "Calico reads durations as Go does: 90s, 1m30s.";
    PortForm "HG0419" DROPPED, "api/pkg/lib/numorstring/port.go", "not a port, range or port name",
        "Felix cannot decode the object at all: it keeps what it had before, and after a restart has nothing.";
    PortZero "HG0420" DROPPED, VAL, "port 0", "Ports go from 1 to 65535. Felix treats a policy with port 0 as missing.";
    PortName "HG0421" DROPPED, VAL, "not a port name", "Named ports are Kubernetes port names: at most 15 lower-case letters, digits and dashes, with a letter.";
    Protocol "HG0422" DROPPED, VAL, "not a protocol", "TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite in this spelling, or 1 to 255.";
    PortsNeedProtocol "HG0423" DROPPED, VAL, "ports without a protocol that has ports", "Felix treats the whole policy as missing: a deny fails open.";
    Network "HG0424" SERVER, VAL, "not a network", "Felix skips an entry it cannot read: a rule without readable entries matches everybody.";
    HostBits "HG0425" SERVER, VAL, "bits set after the prefix length", "Networks in rules must be strictly masked.";
    BareAddress "HG0426" SERVER, VAL, "address without a prefix length", "Networks in rules need one, also for a single address.";
    MixedFamilies "HG0427" SERVER, VAL, "IPv4 and IPv6 in one rule", "All networks of a rule are of one family, and of its ipVersion.";
    CatchAll "HG0428" SERVER, VAL, "everything in notNets", "Nothing is left to match: the rule is dropped.";
    Selector "HG0429" DROPPED, VAL, "selector that does not parse", "Felix treats a policy with such a selector as missing: a deny fails open.";
    Global "HG0430" BOTH, CEL, "global() where it is not allowed", "Only a rule's namespaceSelector may be global(), alone. The test is for the text `global(`, also inside quotes.";
    TypesRepeated "HG0431" BOTH, VAL, "type given twice", "types lists each direction once.";
    TwoStages "HG0432" BOTH, CEL, "preDNAT and doNotTrack together", "A policy runs in one stage.";
    PreDnatEgress "HG0433" BOTH, CEL, "egress in a preDNAT policy", "The stage before DNAT sees incoming packets only.";
    ApplyOnForward "HG0434" BOTH, CEL, "preDNAT or doNotTrack without applyOnForward", "Calico wants it said that forwarded packets are meant too.";
    Http "HG0435" BOTH, CEL, "http where it cannot apply", "http needs action Allow, protocol TCP or none, and an ingress rule.";
    HttpMatch "HG0436" SERVER, VAL, "http method or path not allowed", "Paths start with `/`, without blank, `?` or `#`; each has exact or prefix; methods are given once.";
    Services "HG0437" BOTH, CEL, "services where they cannot apply",
        "services excludes other conditions on its side, needs a name (in a global policy a namespace), and goes in the source of ingress or the destination of egress.";
    IcmpProtocol "HG0438" BOTH, CEL, "icmp without protocol ICMP or ICMPv6", "Type and code mean something in these protocols only.";
    IcmpVersion "HG0439" BOTH, CEL, "ICMP in the wrong IP version", "ICMP is IPv4, ICMPv6 is IPv6.";
    IcmpCode "HG0440" BOTH, CEL, "ICMP code without type", "The kernel cannot match a code alone.";
    EndpointTarget "HG0441" BOTH, CEL, "host endpoint without interface and addresses", "interfaceName or expectedIPs says which interface is meant.";
    EndpointNode "HG0442" BOTH, CEL, "host endpoint without node", "A host endpoint belongs to one node.";
    Address "HG0443" SERVER, VAL, "not an IP address", "Felix skips what it cannot read.";
    Interface "HG0444" DROPPED, VAL, "interface name not allowed", "At most 15 letters, digits, `_`, `.` and `-`, or `*`. Felix treats the host endpoint as missing: the node is unprotected.";
    EndpointProtocol "HG0445" DROPPED, VAL, "endpoint port of a protocol without ports", "Named ports are TCP, UDP or SCTP.";
    BuiltInTier "HG0446" BOTH, CEL, "built-in tier changed", "default, kube-admin and kube-baseline have a fixed order and default action.";
    ScopedConfig "HG0447" BOTH, CEL, "nodeSelector on a fixed configuration", "The configurations default and node.* already say where they apply.";
    RouteTables "HG0448" BOTH, CEL, "route table range not allowed", "One of routeTableRange (within 1 to 250) and routeTableRanges, at most 65535 tables.";
    ConfigAddress "HG0449" BOTH, CEL, "address not allowed here", "The field takes one address of one family.";
    Regexp "HG0450" SERVER, VAL, "regular expression that does not compile", "Felix and kube-controllers compile it again and stop when it fails.";
    Format "HG0451" SERVER, VAL, "value not in the field's format", "Calico's validator asks for a format that the CRD does not.";
    ConfigRange "HG0452" SERVER, VAL, "number out of the field's range", "Calico's validator asks for a range that the CRD does not.";
    Template "HG0453" SERVER, "libcalico-go/lib/clientv3/kubecontrollersconfig.go", "host endpoint template incomplete",
        "A template needs a unique generateName and interfaceCIDRs or interfacePattern.";
    NotIcmp "HG0460" Gates::FELIX, SEEN, "notICMP without protocol ICMP or ICMPv6", "Felix panics on it and stops on every node.";
    IcmpNumber "HG0461" Gates::FELIX, SEEN, "icmp with a numeric protocol and no ipVersion", "Felix panics on it and stops on every node.";
    TwoProtocols "HG0462" Gates::FELIX, SEEN, "protocol and notProtocol in one rule", "Felix panics on it in iptables mode.";
    TypeAndCode "HG0463" Gates::FELIX, SEEN, "ICMP type and code together", "Felix panics on it in nftables mode.";
    SetEntry "HG0464" Gates::FELIX, SEEN, "network set entry that Felix cannot hold", "An empty or IPv4-mapped entry of a set that a rule uses makes Felix panic.";
    FailsafeNet "HG0465" Gates::FELIX, "libcalico-go/lib/backend/syncersv1/updateprocessors/felixconfigprocessor.go", "failsafe network that does not parse",
        "Nothing checks it, and Felix dereferences the failed result.";
    FailsafeProtocol "HG0466" Gates::FELIX, "felix/config/param_types.go", "failsafe protocol other than TCP and UDP", "Felix knows no other and will not start.";
    FailsafePort "HG0467" Gates::HOSTGUARD, HOUSE, "failsafe port 0", "Felix takes it and it opens nothing: the port that was meant stays closed.";
    MarkMask "HG0468" Gates::FELIX, SEEN, "packet mark mask too small", "Felix needs several bits of its own and does not start without them.";
    InterfacePrefix "HG0469" Gates::FELIX, SEEN, "interface prefix that stops Felix or takes the node's addresses",
        "An interface that matches counts as a pod's: Felix removes its addresses.";
    IpsetSize "HG0470" Gates::FELIX, SEEN, "maxIpsetSize below 2", "Felix panics on it.";
    DenyCase "HG0471" Gates::FELIX, SEEN, "deny action reject in lower case", "The CRD ignores case. REJECT is rendered into tables that do not have it, and Felix dies.";
    DenyReject "HG0472" Gates::FELIX.and(Gates::HOSTGUARD), "https://github.com/projectcalico/calico/issues/7914", "deny action Reject", "REJECT is rendered into tables that do not have it: Felix dies once a normal or pre-DNAT policy exists.";
    EndpointPortNumber "HG0473" Gates::FELIX, MODEL, "endpoint port protocol as a number or in another spelling", "Felix drops the whole host endpoint: the node is unprotected.";
    ProfileName "HG0474" Gates::FELIX, MODEL, "profile name that Felix cannot hold", "Felix drops the whole host endpoint: the node is unprotected.";
    Combined "HG0475" Gates::FELIX, MODEL, "selectors that do not parse once combined", "Felix joins the selectors of a policy or rule as text and treats the policy as missing when the result does not parse.";
    StartValue "HG0476" Gates::FELIX, "felix/config/config_params.go", "value Felix does not start with", "The parameter is marked die-on-fail and no server checks it as Felix does.";
    Placeholder "HG0480" Gates::HOSTGUARD, HOUSE, "placeholder or blank left in a network", "Native CRDs accept it and Felix skips it, so the rule matches everybody.";
    PodOnly "HG0481" Gates::HOSTGUARD, HOUSE, "condition that no host satisfies", "Namespace, service account and http conditions hold for pods only; on a host policy they match nothing, or http is not looked at.";
    OtherFamily "HG0482" Gates::HOSTGUARD, "felix/rules/policy.go", "deny without effect in the other family", "A rule whose networks are all of one family is not rendered for the other, also when they are in notNets.";
    NodeSelector "HG0483" Gates::HOSTGUARD, HOUSE, "nodeSelector that does not parse", "No gate checks it, and the configuration then applies nowhere.";
    AnnotatedConfig "HG0484" Gates::HOSTGUARD, "libcalico-go/lib/backend/syncersv1/updateprocessors/configurationprocessor.go", "configuration in an annotation",
        "An annotation config.projectcalico.org/<Parameter> overrides the spec and is checked by nothing.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_ascend_and_rows_are_complete() {
        for pair in RULES.windows(2) {
            assert!(pair[0].id < pair[1].id, "{} before {}", pair[0].id, pair[1].id);
        }
        for rule in RULES {
            assert!(rule.id.len() == 6 && rule.id.starts_with("HG04"), "{}", rule.id);
            assert!(
                rule.explain.ends_with('.') && !rule.title.ends_with('.') && !rule.source.is_empty(),
                "{}",
                rule.id
            );
            assert!(rule.gates.names().next().is_some(), "{}", rule.id);
        }
        assert_eq!(Id::AnnotatedConfig.rule().id, "HG0484");
    }
}

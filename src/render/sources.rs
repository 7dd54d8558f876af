//! Where packets come from, as a person would say it: everybody, everybody but a few, names, networks, nodes and pods.

use std::collections::BTreeMap;

use super::exposure::what;
use crate::escape::escape;
use crate::exposure::{Clients, From, Subject};
use crate::net::{AddressSet, Cidr, Family};

/// More names or networks than this are counted.
const PARTS: usize = 4;

/// Names of address sets: inputs of the plan first, then network sets, so that the nearer name is used.
#[derive(Debug, Default)]
pub struct Names {
    inputs: BTreeMap<String, Vec<Cidr>>,
    sets: BTreeMap<String, Vec<Cidr>>,
}

impl Names {
    pub fn input(&mut self, name: &str, networks: Vec<Cidr>) {
        self.inputs.insert(name.to_string(), networks);
    }

    pub fn network_set(&mut self, name: &str, networks: Vec<Cidr>) {
        self.sets.insert(name.to_string(), networks);
    }

    /// A network with the name of the input or set that is just it; any other text as it is.
    pub fn named(&self, text: &str) -> String {
        let network = Cidr::parse(text).ok();
        let is_it = |(_, nets): &(&String, &Vec<Cidr>)| network.is_some_and(|network| nets.as_slice() == [network]);
        match self.inputs.iter().chain(&self.sets).find(is_it) {
            Some((name, _)) => format!("{text} ({})", escape(name)),
            None => escape(text),
        }
    }

    /// Each with the networks of that family, in words.
    fn of_family(&self, family: Family) -> Vec<(String, AddressSet)> {
        let inputs = self.inputs.iter().map(|(name, nets)| (escape(name), nets));
        let sets = self
            .sets
            .iter()
            .map(|(name, nets)| (format!("network set {}", escape(name)), nets));
        let mut all = Vec::new();
        for (name, nets) in inputs.chain(sets) {
            let nets: Vec<&Cidr> = nets.iter().filter(|net| net.family() == family).collect();
            let words = match nets.as_slice() {
                [] => continue,
                [one] => format!("{one} ({name})"),
                many => format!("{name} ({} networks)", many.len()),
            };
            all.push((words, AddressSet::from_cidrs(nets)));
        }
        all
    }
}

/// What a row is about beside its sources: traffic, in words, and nodes.
type About<'a> = (String, Vec<&'a String>);

/// Sources of all rows, by what the rows are about: what is left of the others is everyone else.
#[derive(Default)]
pub struct Shares<'a>(BTreeMap<About<'a>, Vec<&'a AddressSet>>);

impl<'a> Shares<'a> {
    pub fn of<N: 'a>(rows: impl Iterator<Item = (&'a Subject, &'a BTreeMap<String, N>)>) -> Self {
        let mut shares = Shares::default();
        for (subject, nodes) in rows.filter(|(subject, _)| subject.from == From::Outside) {
            let about = (what(subject), nodes.keys().collect());
            shares.0.entry(about).or_default().push(&subject.sources);
        }
        shares
    }

    fn others<N>(&self, subject: &Subject, nodes: &BTreeMap<String, N>) -> Vec<&AddressSet> {
        let about = (what(subject), nodes.keys().collect());
        let all = self.0.get(&about).into_iter().flatten().copied();
        all.filter(|sources| **sources != subject.sources).collect()
    }
}

/// Who a row is about. The clients of the cluster are named by what they are to the node, never by address.
pub fn who<N>(
    subject: &Subject,
    clients: Option<&Clients>,
    nodes: &BTreeMap<String, N>,
    (names, shares): (&Names, &Shares<'_>),
) -> String {
    let own = if nodes.len() == 1 { "its" } else { "their" };
    let kind = match subject.from {
        From::Outside => {
            let others = shares.others(subject, nodes);
            return sources(&subject.sources, subject.family, names, &others);
        }
        From::ThisNode => format!("{own} own processes"),
        From::OtherNodes => "other nodes".to_string(),
        From::PodsOfThisNode => format!("{own} own pods"),
        From::PodsOfOtherNodes => "pods of other nodes".to_string(),
    };
    match clients.filter(|clients| !clients.all()) {
        Some(some) => format!("{} of {} {kind}, such as {}", some.count, some.of, escape(&some.first)),
        None => kind,
    }
}

/// Sources outside the cluster; `shares` are those of other rows about the same.
fn sources(set: &AddressSet, family: Family, names: &Names, shares: &[&AddressSet]) -> String {
    let others = AddressSet::family(family).minus(set);
    let word = match family {
        Family::V4 => "every IPv4 address",
        Family::V6 => "every IPv6 address",
    };
    if others.is_empty() {
        return word.to_string();
    }
    let named = names.of_family(family);
    let (here, there) = (parts(set, &named), parts(&others, &named));
    let in_full = |share: &&AddressSet| parts(share, &named).len() <= PARTS;
    let rest = || shares.iter().fold(AddressSet::empty(), |all, share| all.union(share)) == others;
    if here.len() > PARTS && there.len() > PARTS && shares.iter().all(in_full) && rest() {
        // The other rows name them all.
        format!(
            "everyone else over {}",
            if family == Family::V4 { "IPv4" } else { "IPv6" }
        )
    } else if there.len() < here.len() {
        format!("{word} but {}", listed(&there))
    } else {
        listed(&here)
    }
}

/// Names that lie in the set, and the networks that none of them holds.
struct Parts {
    names: Vec<String>,
    networks: Vec<Cidr>,
}

impl Parts {
    fn len(&self) -> usize {
        self.names.len() + self.networks.len()
    }
}

fn parts(set: &AddressSet, named: &[(String, AddressSet)]) -> Parts {
    let (mut rest, mut names) = (set.clone(), Vec::new());
    for (words, networks) in named {
        if networks.minus(&rest).is_empty() {
            rest = rest.minus(networks);
            names.push(words.clone());
        }
    }
    Parts {
        names,
        networks: rest.to_cidrs(),
    }
}

fn listed(parts: &Parts) -> String {
    let networks = parts.networks.iter().map(ToString::to_string);
    let shown: Vec<String> = parts.names.iter().cloned().chain(networks).take(PARTS).collect();
    let shown = shown.join(", ");
    match parts.len().saturating_sub(PARTS) {
        0 => shown,
        1 => format!("{shown} and 1 more network"),
        more => format!("{shown} and {more} more networks"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(nets: &[&str]) -> (AddressSet, Vec<Cidr>) {
        let nets: Vec<Cidr> = nets.iter().map(|net| Cidr::parse_lenient(net).unwrap()).collect();
        (AddressSet::from_cidrs(&nets), nets)
    }

    #[test]
    fn names_stand_for_what_they_hold_and_the_rest_is_listed() {
        let mut names = Names::default();
        names.input("trusted", set(&["203.0.113.7/32"]).1);
        names.network_set("partners", set(&["198.51.100.0/25", "192.0.2.0/24", "2001:db8::/32"]).1);
        let say = |nets: &[&str]| sources(&set(nets).0, Family::V4, &names, &[]);
        assert_eq!(say(&["203.0.113.7/32"]), "203.0.113.7/32 (trusted)");
        assert_eq!(
            say(&["198.51.100.0/25", "192.0.2.0/24", "10.0.0.0/8"]),
            "network set partners (2 networks), 10.0.0.0/8"
        );
        assert_eq!(say(&["0.0.0.0/0"]), "every IPv4 address");
        let but = AddressSet::family(Family::V4).minus(&set(&["198.51.100.0/25", "192.0.2.0/24"]).0);
        assert_eq!(
            sources(&but, Family::V4, &names, &[]),
            "every IPv4 address but network set partners (2 networks)"
        );
        let many: Vec<String> = (0..9).map(|i| format!("10.{}.0.0/16", 2 * i)).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(
            say(&many).ends_with("10.6.0.0/16 and 5 more networks"),
            "{}",
            say(&many)
        );
        let (first, second) = (set(&many[..4]).0, set(&many[4..8]).0);
        let rest = AddressSet::family(Family::V4).minus(&first).minus(&second);
        let say = |shares: &[&AddressSet]| sources(&rest, Family::V4, &Names::default(), shares);
        assert_eq!(say(&[&first, &second]), "everyone else over IPv4");
        assert!(
            say(&[&first]).starts_with("every IPv4 address but"),
            "{}",
            say(&[&first])
        );
    }
}

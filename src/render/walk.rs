//! The walk of one packet, hop by hop.

use std::fmt::Write;

use super::exposure::{decided, verdict};
use super::text::wrap;
use crate::escape::escape;
use crate::exposure::{By, Hop, Origin, Packet, Receiver, Ruling, Verdict, Walk};

/// Where the plan wrote what decided; `None` for what is not the plan's.
pub type Places<'a> = dyn Fn(&By) -> Option<String> + 'a;

/// How the walk of a packet ends for the one who asks: a packet that is let through everywhere need not arrive.
pub struct Ending {
    /// What an end is called at which nothing stops the packet any more.
    open: &'static str,
    verdict: &'static str,
    /// Whose the destination is, where it is not plain.
    because: Option<String>,
}

impl Ending {
    /// `in_front`: a Service that the destination is an address in front of, such as a load balancer's.
    pub fn of(walk: &Walk, packet: &Packet, receiver: &Receiver, in_front: Option<&str>) -> Ending {
        let to = packet.destination;
        let outside = packet.from == Origin::Outside;
        let unknown = verdict(Verdict::Unknown);
        let (open, because) = match (receiver, in_front) {
            (Receiver::Service { name, serves: false }, _) => {
                let port = packet.port.map(|port| format!(" {port}")).unwrap_or_default();
                let (name, protocol) = (escape(name), packet.protocol);
                (
                    NOWHERE,
                    format!("{to} is of Service {name}, which has no port {protocol}{port}"),
                )
            }
            (Receiver::Service { name, .. }, _) if outside => {
                let whether = "whether it is routed to the nodes from outside is not looked at";
                (unknown, format!("{to} is of Service {}: {whether}", escape(name)))
            }
            (Receiver::Cluster | Receiver::Service { .. }, _) => (verdict(Verdict::Open), String::new()),
            (Receiver::Public { node }, _) => {
                let whether = "what translates it there is not looked at from inside";
                (
                    unknown,
                    format!("{to} is how node {} is known outside: {whether}", escape(node)),
                )
            }
            (Receiver::Nobody | Receiver::Unread(_), Some(name)) => {
                let whether = "addresses of load balancers and externalIPs are not looked at";
                let because = format!("{to} is in front of Service {}: {whether}", escape(name));
                return Ending::not_known(because);
            }
            (Receiver::Unread(kind), None) => (unknown, format!("{to} may be of a {kind}, which could not be read")),
            (Receiver::Nobody, None) => {
                let nobody = format!("no node, pod or Service of the cluster has {to}");
                (if outside { NOWHERE } else { LEAVES }, nobody)
            }
        };
        Ending {
            open,
            verdict: called(walk.verdict, open),
            because: (!because.is_empty()).then_some(because),
        }
    }

    fn not_known(because: String) -> Ending {
        let unknown = verdict(Verdict::Unknown);
        Ending {
            open: unknown,
            verdict: unknown,
            because: Some(because),
        }
    }

    /// What the verdict of a way is called.
    pub(super) fn of_way(&self, way: Verdict) -> &'static str {
        called(way, self.open)
    }

    pub(super) fn verdict(&self) -> &'static str {
        self.verdict
    }

    pub(super) fn because(&self) -> Option<&str> {
        self.because.as_deref()
    }
}

const NOWHERE: &str = "does not arrive";
const LEAVES: &str = "leaves the cluster";

fn called(found: Verdict, open: &'static str) -> &'static str {
    match found {
        Verdict::Open | Verdict::HostDecides => open,
        other => verdict(other),
    }
}

/// Ends with a newline.
pub fn walk(walk: &Walk, ending: &Ending, places: &Places<'_>) -> String {
    let mut out = String::new();
    for (i, way) in walk.ways.iter().enumerate() {
        if walk.ways.len() > 1 {
            let to = way
                .backend
                .as_ref()
                .map(|name| format!(", to {}", escape(name)))
                .unwrap_or_default();
            let (number, all, verdict) = (i + 1, walk.ways.len(), ending.of_way(way.verdict));
            let _ = writeln!(out, "way {number} of {all}{to}: {verdict}");
        }
        for (at, step) in way.hops.iter().enumerate() {
            hop(&mut out, step, way.decided == Some(at), places);
        }
    }
    // whose the destination is, is no reason for a packet that is stopped on the way
    let so = if ending.verdict == ending.open { ':' } else { ';' };
    let because = ending.because().map(|why| format!("{so} {why}")).unwrap_or_default();
    let end = wrap(&format!("{}{because}", ending.verdict()), 78).join("\n  ");
    let _ = writeln!(out, "{end}");
    out
}

/// The ruling in a word.
pub(super) fn ruling(ruling: Ruling) -> &'static str {
    match ruling {
        Ruling::Accept => "accept",
        Ruling::Pass => "pass",
        Ruling::Drop => "drop",
        Ruling::Nothing => "nothing",
        Ruling::Unknown => "unknown",
    }
}

fn hop(out: &mut String, hop: &Hop, decides: bool, places: &Places<'_>) {
    let mark = if decides { '>' } else { ' ' };
    let word = match hop.ruling {
        Ruling::Drop => "DROP",
        Ruling::Nothing => "-",
        other => ruling(other),
    };
    let endpoint = hop
        .endpoint
        .as_ref()
        .map(|name| format!(" [{}]", escape(name)))
        .unwrap_or_default();
    let (node, hook) = (escape(&hop.node), hop.hook.as_str());
    let text = format!("{mark} {node} {hook:<20} {word:<8}{endpoint}");
    let _ = writeln!(out, "{}", text.trim_end());
    let place = places(&hop.by).map(|place| format!("at {}", escape(&place)));
    for part in wrap(&decided(&hop.by), 70).into_iter().chain(place) {
        let _ = writeln!(out, "      {part}");
    }
}

//! The walk of one packet, hop by hop.

use std::fmt::Write;

use super::exposure::{decided, verdict};
use super::text::wrap;
use crate::escape::escape;
use crate::exposure::{By, Hop, Ruling, Walk};

/// Where the plan wrote what decided; `None` for what is not the plan's.
pub type Places<'a> = dyn Fn(&By) -> Option<String> + 'a;

/// Ends with a newline.
pub fn walk(walk: &Walk, places: &Places<'_>) -> String {
    let mut out = String::new();
    for (i, way) in walk.ways.iter().enumerate() {
        if walk.ways.len() > 1 {
            let to = way
                .backend
                .as_ref()
                .map(|name| format!(", to {}", escape(name)))
                .unwrap_or_default();
            let (number, all, verdict) = (i + 1, walk.ways.len(), verdict(way.verdict));
            let _ = writeln!(out, "way {number} of {all}{to}: {verdict}");
        }
        for (at, step) in way.hops.iter().enumerate() {
            hop(&mut out, step, way.decided == Some(at), places);
        }
    }
    let _ = writeln!(out, "{}", verdict(walk.verdict));
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

//! What a fault proxy does to which request: a list of rules, the first that matches counts.

use std::ops::RangeInclusive;
use std::time::Duration;

/// One misbehaviour.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Never answers, and keeps the connection; the server is not asked.
    Hang,
    /// The head of the server's answer, and never its body.
    HangAfterHead,
    /// The connection is reset before the server is asked.
    Reset,
    /// Answers in the server's place.
    Answer(Said),
    /// Half of the server's answer, then a reset.
    Truncate,
    /// The server's answer in ten pieces over this time.
    Slow(Duration),
    /// The server does what it was asked; the connection is reset instead of its answer.
    LoseAnswer,
    /// The server does what it was asked; nothing is answered.
    KeepAnswer,
    /// A write is answered with success and the object as it is; the server never hears of it.
    Swallow,
    /// The server's answer, with this header.
    Header(&'static str, &'static str),
}

/// An answer that is made up.
#[derive(Clone, Debug)]
pub struct Said {
    pub code: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

/// Which requests a fault happens to.
#[derive(Clone, Debug)]
pub struct Rule {
    verb: &'static str,
    path: String,
    which: RangeInclusive<usize>,
    pub fault: Fault,
    seen: usize,
}

/// Requests of this verb (`*`: any; `write`: those that can change something) whose path matches: `*` stands for anything, and the query counts only where the
/// pattern has a `?`.
pub fn on(verb: &'static str, path: &str) -> Rule {
    Rule {
        verb,
        path: path.to_string(),
        which: 1..=usize::MAX,
        fault: Fault::Hang,
        seen: 0,
    }
}

impl Rule {
    /// Only the n-th matching request, counted from one.
    pub fn nth(mut self, n: usize) -> Rule {
        self.which = n..=n;
        self
    }

    /// The n-th matching request and all after it.
    pub fn from(mut self, n: usize) -> Rule {
        self.which = n..=usize::MAX;
        self
    }

    pub fn first(mut self, n: usize) -> Rule {
        self.which = 1..=n;
        self
    }

    pub fn then(mut self, fault: Fault) -> Rule {
        self.fault = fault;
        self
    }

    /// Whether the fault happens to this request. Counts it.
    pub fn matches(&mut self, verb: &str, path_and_query: &str) -> bool {
        let path = match self.path.contains('?') {
            true => path_and_query,
            false => path_and_query.split('?').next().expect("split gives one"),
        };
        let verbs = match self.verb {
            "*" => true,
            "write" => verb != "GET" && !path.contains("accessreviews"),
            own => own == verb,
        };
        if !verbs || !glob(&self.path, path) {
            return false;
        }
        self.seen += 1;
        self.which.contains(&self.seen)
    }
}

impl Said {
    pub fn text(code: u16, content: &str, body: &str) -> Said {
        Said {
            code,
            headers: vec![("content-type", content.to_string())],
            body: body.to_string(),
        }
    }

    /// A `Status` of the API server; without a reason where that is empty.
    pub fn status(code: u16, reason: &str, message: &str) -> Said {
        let mut status = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": code,
        });
        if !reason.is_empty() {
            status["reason"] = reason.into();
        }
        Said::text(code, "application/json", &status.to_string())
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Said {
        self.headers.push((name, value.to_string()));
        self
    }
}

impl From<Said> for Fault {
    fn from(said: Said) -> Fault {
        Fault::Answer(said)
    }
}

/// Whether the text is the pattern, with anything for each `*`.
fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => text
            .strip_prefix(head)
            .is_some_and(|text| (0..=text.len()).any(|at| text.is_char_boundary(at) && glob(rest, &text[at..]))),
    }
}

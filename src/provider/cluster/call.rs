//! One request to the API server: at most so many at once, within a deadline, repeated only where that is safe.
//!
//! A read is asked again when the server or the way to it had a bad moment. A write is sent once: only a 429 is
//! waited out, because a server that throttles has done nothing. Status codes, reasons and `Warning` headers come
//! from the raw response. Knows nothing of kinds or of what a request means.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, USER_AGENT, WARNING};
use http::{Method, Request};
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

use super::failure::{Failure, excerpt, failure, transport};

const AGENT: &str = concat!("hostguard/", env!("CARGO_PKG_VERSION"));
const JSON: &str = "application/json";
/// An answer above this is given up: a page of 500 objects is a few MiB.
const MAX_ANSWER: usize = 256 << 20;
/// Pauses between tries grow up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const MAX_WARNINGS: usize = 100;

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// A connection, TLS included.
    pub connect: Duration,
    /// One call with its repetitions and the waits that the server asks for.
    pub call: Duration,
    /// A whole read.
    pub read: Duration,
    /// How often a read is sent when the server fails; 429 counts only against the deadline.
    pub tries: u32,
    /// The pause before the second try; it doubles.
    pub pause: Duration,
    pub in_flight: usize,
}

impl Limits {
    pub fn new(request_timeout: Duration) -> Limits {
        Limits {
            connect: Duration::from_secs(5),
            call: request_timeout,
            read: request_timeout * 4,
            tries: 5,
            pause: Duration::from_millis(200),
            in_flight: 8,
        }
    }
}

/// A request as data, so that it can be sent again.
#[derive(Clone, Debug)]
pub(super) struct Call {
    method: Method,
    path: String,
    accept: &'static str,
    body: Option<(&'static str, Vec<u8>)>,
    changes_something: bool,
}

impl Call {
    pub fn get(path: impl Into<String>) -> Call {
        Call {
            method: Method::GET,
            path: path.into(),
            accept: JSON,
            body: None,
            changes_something: false,
        }
    }

    pub fn accept(mut self, accept: &'static str) -> Call {
        self.accept = accept;
        self
    }

    /// A POST that asks and leaves nothing behind (an access review): a read in all but its method.
    pub fn question(path: impl Into<String>, body: &serde_json::Value) -> Call {
        Call {
            body: Some((JSON, body.to_string().into_bytes())),
            method: Method::POST,
            ..Call::get(path)
        }
    }

    pub fn write(method: Method, path: impl Into<String>, content: &'static str, body: &serde_json::Value) -> Call {
        let body = Some((content, body.to_string().into_bytes()));
        Call {
            method,
            path: path.into(),
            accept: JSON,
            body,
            changes_something: true,
        }
    }

    fn request(&self) -> Request<Body> {
        let mut request = Request::builder().method(self.method.clone()).uri(&self.path);
        request = request.header(ACCEPT, self.accept).header(USER_AGENT, AGENT);
        let body = match &self.body {
            None => Body::empty(),
            Some((content, bytes)) => {
                request = request.header(CONTENT_TYPE, *content);
                Body::from(bytes.clone())
            }
        };
        request.body(body).expect("paths are built from escaped parts")
    }
}

/// A successful answer.
#[derive(Debug)]
pub(super) struct Answer {
    code: u16,
    body: Vec<u8>,
}

impl Answer {
    /// The answer as JSON. A page with status 200 is no answer of an API server either.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|_| Failure::Foreign {
            code: self.code,
            excerpt: excerpt(&self.body),
        })
    }
}

/// Sends calls.
pub(super) struct Caller {
    client: kube::Client,
    pub limits: Limits,
    permits: Semaphore,
    warnings: Mutex<BTreeSet<String>>,
}

impl Caller {
    pub fn new(client: kube::Client, limits: Limits) -> Caller {
        Caller {
            client,
            limits,
            permits: Semaphore::new(limits.in_flight),
            warnings: Mutex::default(),
        }
    }

    /// What the server said in `Warning` headers, each text once, sorted.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings
            .lock()
            .expect("no panic while held")
            .iter()
            .cloned()
            .collect()
    }

    /// Sends a call until it is answered or given up.
    pub async fn send(&self, call: &Call) -> Result<Answer, Failure> {
        let mut deadline = None;
        let mut tries = 0;
        loop {
            let permit = self.permits.acquire().await.expect("the semaphore is never closed");
            // Waiting for a place is not waiting for the server: the clock starts with the first try.
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + self.limits.call);
            let outcome = timeout_at(deadline, self.attempt(call)).await;
            drop(permit);
            tries += 1;
            let failure = match outcome {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failure)) => failure,
                Err(_) => {
                    return Err(Failure::TimedOut {
                        after: self.limits.call,
                    });
                }
            };
            match self.pause(call, &failure, tries) {
                Some(pause) if Instant::now() + pause < deadline => sleep(pause).await,
                _ => return Err(failure),
            }
        }
    }

    /// How long to wait before the same call is sent again; `None`: never.
    fn pause(&self, call: &Call, failure: &Failure, tries: u32) -> Option<Duration> {
        let growing = (self.limits.pause * 2u32.saturating_pow(tries - 1)).min(LONGEST_PAUSE);
        let asked = match failure {
            Failure::Refused(refused) => refused.retry_after.unwrap_or_default(),
            _ => Duration::ZERO,
        };
        let throttled = failure.code() == Some(429);
        let again = throttled || (!call.changes_something && failure.passes() && tries < self.limits.tries);
        again.then(|| growing.max(asked))
    }

    async fn attempt(&self, call: &Call) -> Result<Answer, Failure> {
        let response = self.client.send(call.request()).await.map_err(|e| transport(&e))?;
        let (head, body) = response.into_parts();
        self.note_warnings(&head.headers);
        let body = Limited::new(body, MAX_ANSWER)
            .collect()
            .await
            .map_err(|e| match transport(&*e) {
                // The request has been answered in part: whatever broke, it was sent.
                Failure::Unsent(text) | Failure::Untrusted(text) => Failure::Broken(text),
                other => other,
            })?;
        let body = Vec::from(body.to_bytes());
        if head.status.is_success() {
            return Ok(Answer {
                code: head.status.as_u16(),
                body,
            });
        }
        Err(failure(head.status, &head.headers, &body))
    }

    fn note_warnings(&self, headers: &HeaderMap) {
        let mut warnings = self.warnings.lock().expect("no panic while held");
        for text in headers
            .get_all(WARNING)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .filter_map(warning_text)
        {
            if warnings.len() < MAX_WARNINGS {
                warnings.insert(text);
            }
        }
    }
}

/// The text of a `Warning` header: `299 - "text"`, with `\"` and `\\` inside (RFC 7234, 5.5).
fn warning_text(header: &str) -> Option<String> {
    let quoted = header.split_once('"')?.1;
    let mut text = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return Some(text),
            '\\' => text.push(chars.next()?),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_warning_is_between_its_quotes() {
        let text = |header| warning_text(header);
        assert_eq!(
            text(r#"299 - "unknown field \"spec.Nets\"" "Tue, 24 Nov""#),
            Some(r#"unknown field "spec.Nets""#.into())
        );
        assert_eq!(text(r#"299 - "never ends"#), None);
        assert_eq!(text("299 - nothing"), None);
    }
}

//! One request to the API server: at most so many at once, within a deadline, repeated only where that is safe.
//!
//! A read is asked again when the server or the way to it had a bad moment. A write is sent once: only a 429 is
//! waited out, because a server that throttles has done nothing. Status codes, reasons and `Warning` headers come
//! from the raw response. Knows nothing of kinds or of what a request means.

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, RETRY_AFTER, USER_AGENT, WARNING};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use kube::client::{AuthError, Body};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

use super::credentials;

const AGENT: &str = concat!("hostguard/", env!("CARGO_PKG_VERSION"));
const JSON: &str = "application/json";
/// An answer above this is given up: a page of 500 objects is a few MiB.
const MAX_ANSWER: usize = 256 << 20;
/// Pauses between tries grow up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const MAX_WARNINGS: usize = 100;
/// Foreign text is clipped to this many characters.
const CLIP: usize = 200;

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

/// What came instead of a successful answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The server answered with a failure.
    Refused(Refused),
    /// Something answered that is no API server.
    Foreign {
        code: u16,
        excerpt: String,
    },
    TimedOut {
        after: Duration,
    },
    /// There was no connection: nothing was sent.
    Unsent(String),
    /// The server's certificate or the TLS session is not good.
    Untrusted(String),
    /// The connection broke: the request may have arrived.
    Broken(String),
    /// A credential plugin or file failed.
    Credentials(String),
}

/// A failure in the server's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub code: u16,
    /// The reason of a `Status` (empty where the server gives none); `None` when the answer is plain text.
    pub reason: Option<String>,
    pub message: String,
    /// The reasons in `details.causes`.
    pub causes: Vec<String>,
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// The HTTP status of the answer, if an API server gave one.
    pub fn code(&self) -> Option<u16> {
        match self {
            Failure::Refused(refused) => Some(refused.code),
            _ => None,
        }
    }

    /// The failure passes by itself, as far as one can know.
    fn passes(&self) -> bool {
        match self {
            Failure::Refused(Refused { code, .. }) | Failure::Foreign { code, .. } => {
                matches!(code, 500 | 502 | 503 | 504)
            }
            Failure::Broken(_) => true,
            Failure::TimedOut { .. } | Failure::Unsent(_) | Failure::Untrusted(_) | Failure::Credentials(_) => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused(Refused { code, message, .. }) if message.is_empty() => write!(f, "HTTP {code}"),
            Failure::Refused(Refused { message, .. }) => f.write_str(message),
            Failure::Foreign { code, excerpt } => {
                write!(f, "HTTP {code}, not an answer of an API server: {excerpt}")
            }
            Failure::TimedOut { after } => write!(f, "no answer within {}", seconds(*after)),
            Failure::Unsent(text) | Failure::Untrusted(text) | Failure::Broken(text) | Failure::Credentials(text) => {
                f.write_str(text)
            }
        }
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

/// What an answer without success says.
fn failure(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
    #[derive(Deserialize)]
    struct Status {
        kind: String,
        #[serde(default)]
        reason: String,
        #[serde(default)]
        message: String,
        #[serde(default)]
        details: Option<Details>,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Details {
        causes: Option<Vec<Cause>>,
        retry_after_seconds: Option<u64>,
    }
    #[derive(Deserialize)]
    struct Cause {
        #[serde(default)]
        reason: String,
    }
    let code = status.as_u16();
    let header = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok());
    if let Ok(Status {
        kind,
        reason,
        message,
        details,
    }) = serde_json::from_slice::<Status>(body)
        && kind == "Status"
    {
        let details = details.unwrap_or_default();
        let causes = details
            .causes
            .unwrap_or_default()
            .into_iter()
            .map(|cause| cause.reason)
            .collect();
        let retry_after = header.or(details.retry_after_seconds).map(Duration::from_secs);
        return Failure::Refused(Refused {
            code,
            reason: Some(reason),
            message,
            causes,
            retry_after,
        });
    }
    let content = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    // The API server itself answers some failures in plain text: `404 page not found`, 429, a panic. And nobody
    // who asks to come back later has done anything, whoever it is.
    if content.starts_with("text/plain") || code == 429 {
        let retry_after = header.map(Duration::from_secs);
        return Failure::Refused(Refused {
            code,
            reason: None,
            message: excerpt(body),
            causes: vec![],
            retry_after,
        });
    }
    Failure::Foreign {
        code,
        excerpt: excerpt(body),
    }
}

/// One line of a foreign text: the title of a page, or the first line that is not blank.
fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(8192)]);
    let title = text
        .split_once("<title>")
        .and_then(|(_, rest)| rest.split_once("</title>"))
        .map(|(title, _)| title);
    let line = title
        .unwrap_or(&text)
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty());
    match line {
        None => "an empty body".to_string(),
        Some(line) if line.chars().count() > CLIP => line.chars().take(CLIP).chain(['…']).collect(),
        Some(line) => line.to_string(),
    }
}

/// What a failed exchange was, by the types in its chain of causes; the words are those of the innermost one.
fn transport(error: &(dyn StdError + 'static)) -> Failure {
    let mut at = error;
    loop {
        if let Some(auth) = at.downcast_ref::<AuthError>() {
            return Failure::Credentials(credentials::describe(auth));
        }
        if let Some(io) = at.downcast_ref::<io::Error>() {
            let text = io.to_string();
            match io.kind() {
                io::ErrorKind::ConnectionRefused
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::AddrNotAvailable => return Failure::Unsent(text),
                // Only the connector has a timeout of its own; the system's carries an OS error.
                io::ErrorKind::TimedOut if io.raw_os_error().is_none() => {
                    return Failure::Unsent("no connection in time".to_string());
                }
                io::ErrorKind::InvalidData => return Failure::Untrusted(text),
                _ => {}
            }
        }
        match at.source() {
            Some(cause) => at = cause,
            None => return Failure::Broken(at.to_string()),
        }
    }
}

/// `30 s`, `0.3 s`.
pub(super) fn seconds(duration: Duration) -> String {
    format!("{} s", (duration.as_secs_f64() * 10.0).round() / 10.0)
}

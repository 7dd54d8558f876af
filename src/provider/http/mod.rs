//! One request to a cloud's API: at most so many at once, within a deadline, repeated only where that is safe.
//!
//! A read is asked again when the API throttles, fails by itself or the way to it broke. A write is sent again only
//! after an answer that says it was not looked at (throttled, or signed at the wrong time); one whose answer was lost
//! may have been made, and its caller reads back. Redirects are not followed, so nothing that is signed goes to
//! another place. Knows no cloud: a [`Dialect`] signs, and says what an answer means.

mod transport;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use http::header::{DATE, HeaderMap, RETRY_AFTER};
use http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};

pub(super) use self::transport::innermost;
pub use self::transport::{Transport, Web};

/// Foreign text is clipped to this many characters.
const CLIP: usize = 300;
/// Pauses between tries grow up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// A refused signature is blamed on the clock when it is off by more (botocore and the SDKs: four minutes).
const TOLERATED_SKEW: SignedDuration = SignedDuration::from_mins(4);

/// What is given, so that tests can: the time of day, and a number of [0, 1) for each pause.
#[derive(Clone, Copy, Debug)]
pub struct Given {
    pub now: fn() -> Timestamp,
    pub jitter: fn() -> f64,
}

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A connection, TLS included.
    pub connect: Duration,
    /// One call with its repetitions and pauses.
    pub call: Duration,
    /// How often a call is sent at most.
    pub tries: u32,
    /// The pause before the second try is at most this; it doubles.
    pub pause: Duration,
    pub in_flight: usize,
}

impl Limits {
    pub fn new(request_timeout: Duration) -> Limits {
        Limits {
            connect: Duration::from_secs(5).min(request_timeout),
            call: request_timeout,
            tries: 6,
            pause: Duration::from_millis(400),
            in_flight: 8,
        }
    }
}

/// A request as data, so that it can be signed and sent again.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: Method,
    /// Scheme, host and port.
    pub origin: String,
    /// From the first slash, query included.
    pub path: String,
    pub content: &'static str,
    pub body: String,
    pub changes_something: bool,
}

/// A successful answer.
#[derive(Debug)]
pub struct Answer {
    pub body: Vec<u8>,
}

/// What came instead of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The API answered with a failure.
    Refused(Refused),
    /// Something answered that is not the API.
    Foreign {
        status: u16,
        excerpt: String,
    },
    TimedOut {
        after: Duration,
    },
    /// There was no connection: nothing was sent.
    Unsent(String),
    /// The certificate or the TLS session is not good: nothing was sent.
    Untrusted(String),
    /// The connection broke: the request may have arrived.
    Broken(String),
    /// There are no credentials, or what gives them failed: nothing was sent.
    Credentials(String),
}

/// A failure in the API's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub status: u16,
    pub code: String,
    pub message: String,
    pub sort: Sort,
}

/// What a failure means for asking again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Refused unseen, because there were too many requests.
    Throttled,
    /// The API failed by itself; a write may have been made.
    Passing,
    /// Signed for another time than the API's.
    Skewed,
    /// A signature that does not fit, for which the time of day may be the reason.
    Unsigned,
    /// An answer that stays the same.
    Final,
}

/// What one cloud's API needs and says.
#[async_trait]
pub trait Dialect: Send + Sync {
    /// The request with its signature for this time of day.
    async fn sign(&self, call: &Call, at: Timestamp) -> Result<http::Request<Vec<u8>>, Failure>;

    /// The API's own words in an answer without success; `None`: they are not the API's.
    fn refused(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Refused>;

    /// Without the secrets that were used to sign.
    fn redact(&self, text: &str) -> String;
}

/// Sends calls.
pub struct Caller {
    transport: Arc<dyn Transport>,
    dialect: Arc<dyn Dialect>,
    limits: Limits,
    given: Given,
    permits: Semaphore,
    /// How far the API's clock is ahead of ours, in seconds, once it has complained.
    ahead: AtomicI64,
}

/// What a try came to, when it was not an answer.
struct Tried {
    failure: Failure,
    /// What the API asks to wait.
    retry_after: Option<Duration>,
    /// How far its clock is ahead of ours, where the answer says.
    ahead: Option<SignedDuration>,
}

impl Caller {
    pub fn new(transport: Arc<dyn Transport>, dialect: Arc<dyn Dialect>, limits: Limits, given: Given) -> Caller {
        Caller {
            transport,
            dialect,
            limits,
            given,
            permits: Semaphore::new(limits.in_flight),
            ahead: AtomicI64::new(0),
        }
    }

    /// Sends a call until it is answered or given up.
    pub async fn send(&self, call: &Call) -> Result<Answer, Failure> {
        let mut deadline = None;
        let mut signed_again = false;
        let mut tries = 0;
        loop {
            let permit = self.permits.acquire().await.expect("the semaphore is never closed");
            // Waiting for a place is not waiting for the API: the clock starts with the first try.
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + self.limits.call);
            let outcome = timeout_at(deadline, self.attempt(call)).await;
            drop(permit);
            tries += 1;
            let tried = match outcome {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(tried)) => tried,
                Err(_) => {
                    let after = self.limits.call;
                    return Err(Failure::TimedOut { after });
                }
            };
            if !signed_again && self.keeps_other_time(&tried) {
                signed_again = true;
                continue;
            }
            match self.pause(call, &tried, tries) {
                Some(pause) if Instant::now() + pause < deadline => sleep(pause).await,
                _ => return Err(tried.failure),
            }
        }
    }

    /// Whether the signature was refused because our clock is wrong; the difference is kept for all further calls.
    fn keeps_other_time(&self, tried: &Tried) -> bool {
        let Failure::Refused(Refused { sort, .. }) = &tried.failure else {
            return false;
        };
        let Some(ahead) = tried.ahead else { return false };
        let used = SignedDuration::from_secs(self.ahead.load(Ordering::Relaxed));
        let off = (ahead - used).abs() > TOLERATED_SKEW;
        let blamed = match sort {
            Sort::Skewed => ahead != used,
            Sort::Unsigned => off,
            Sort::Throttled | Sort::Passing | Sort::Final => false,
        };
        if blamed {
            self.ahead.store(ahead.as_secs(), Ordering::Relaxed);
        }
        blamed
    }

    /// How long to wait before the same call is sent again; `None`: never.
    fn pause(&self, call: &Call, tried: &Tried, tries: u32) -> Option<Duration> {
        let passes = match &tried.failure {
            Failure::Refused(refused) if refused.sort == Sort::Throttled => true,
            Failure::Unsent(_) => tries == 1, // nothing was sent; a name that does not resolve rarely will
            Failure::Refused(refused) => refused.sort == Sort::Passing && !call.changes_something,
            Failure::Foreign { status, .. } => matches!(status, 500 | 502..=504) && !call.changes_something,
            Failure::Broken(_) => !call.changes_something,
            Failure::TimedOut { .. } | Failure::Untrusted(_) | Failure::Credentials(_) => false,
        };
        if !passes || tries >= self.limits.tries {
            return None;
        }
        // Full jitter, as the SDKs do it: clients that were throttled together do not come back together.
        let most = (self.limits.pause * 2u32.saturating_pow(tries - 1)).min(LONGEST_PAUSE);
        let pause = most.mul_f64((self.given.jitter)().clamp(0.0, 1.0));
        Some(pause.max(tried.retry_after.unwrap_or_default()))
    }

    async fn attempt(&self, call: &Call) -> Result<Answer, Tried> {
        let ahead = SignedDuration::from_secs(self.ahead.load(Ordering::Relaxed));
        let at = (self.given.now)().saturating_add(ahead).unwrap_or(Timestamp::MAX);
        let failed = |failure| Tried {
            failure,
            retry_after: None,
            ahead: None,
        };
        let request = self.dialect.sign(call, at).await.map_err(failed)?;
        let response = self.transport.send(request).await;
        let response = response.map_err(|failure| failed(self.without_secrets(failure)))?;
        let (head, body) = response.into_parts();
        if head.status.is_success() {
            return Ok(Answer { body });
        }
        let failure = match self.dialect.refused(head.status, &head.headers, &body) {
            Some(refused) => Failure::Refused(refused),
            None => Failure::Foreign {
                status: head.status.as_u16(),
                excerpt: excerpt(&body),
            },
        };
        Err(Tried {
            failure: self.without_secrets(failure),
            retry_after: text(&head.headers, RETRY_AFTER)
                .and_then(|seconds| seconds.parse().ok())
                .map(Duration::from_secs),
            ahead: text(&head.headers, DATE)
                .and_then(|date| jiff::fmt::rfc2822::parse(date).ok())
                .map(|date| date.timestamp().duration_since((self.given.now)())),
        })
    }

    fn without_secrets(&self, failure: Failure) -> Failure {
        let clean = |text: String| self.dialect.redact(&text);
        match failure {
            Failure::Refused(refused) => Failure::Refused(Refused {
                message: clean(refused.message),
                ..refused
            }),
            Failure::Foreign { status, excerpt } => Failure::Foreign {
                status,
                excerpt: clean(excerpt),
            },
            Failure::Unsent(text) => Failure::Unsent(clean(text)),
            Failure::Untrusted(text) => Failure::Untrusted(clean(text)),
            Failure::Broken(text) => Failure::Broken(clean(text)),
            Failure::Credentials(text) => Failure::Credentials(clean(text)),
            timed_out @ Failure::TimedOut { .. } => timed_out,
        }
    }
}

fn text(headers: &HeaderMap, name: http::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// The first line of a foreign text that is not blank.
pub fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(8192)]);
    match text.lines().map(str::trim).find(|line| !line.is_empty()) {
        None => "an empty body".to_string(),
        Some(line) => clip(line),
    }
}

/// The beginning of a long text.
pub fn clip(text: &str) -> String {
    if text.chars().count() > CLIP {
        text.chars().take(CLIP).chain(['…']).collect()
    } else {
        text.to_string()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused(Refused { code, message, .. }) if message.is_empty() => f.write_str(code),
            Failure::Refused(Refused { code, message, .. }) => write!(f, "{code}: {message}"),
            Failure::Foreign { status, excerpt } => {
                write!(f, "HTTP {status}, not an answer of the API: {excerpt}")
            }
            Failure::TimedOut { after } => write!(f, "no answer within {} s", after.as_secs_f64()),
            Failure::Unsent(text) | Failure::Untrusted(text) | Failure::Broken(text) | Failure::Credentials(text) => {
                f.write_str(text)
            }
        }
    }
}

#[cfg(test)]
mod tests;

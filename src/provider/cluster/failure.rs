//! What came instead of a successful answer, told apart by status code, reason and the types of errors.
//!
//! Never by words: those are the server's own, and only passed on. A page of HTML is clipped to one line.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use kube::client::AuthError;
use serde::Deserialize;

use super::credentials;

/// Foreign text is clipped to this many characters.
const CLIP: usize = 200;
/// Of a longer message of the server, beginning and end are kept: some quote the whole object before they say why.
const LONG: usize = 800;

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
    pub fn passes(&self) -> bool {
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
            Failure::Refused(Refused {
                message,
                retry_after: Some(after),
                ..
            }) => write!(f, "{message} (the server asks to come back in {})", seconds(*after)),
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

/// The `Status` of an API server, as far as it is used.
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

/// What an answer without success says.
pub(super) fn failure(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
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
            message: without_its_middle(message),
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

fn without_its_middle(message: String) -> String {
    let length = message.chars().count();
    if length <= LONG {
        return message;
    }
    let head: String = message.chars().take(LONG / 4).collect();
    let tail: String = message.chars().skip(length - LONG / 2).collect();
    format!("{head} […] {tail}")
}

/// One line of a foreign text: the title of a page, or the first line that is not blank.
pub(super) fn excerpt(body: &[u8]) -> String {
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
pub(super) fn transport(error: &(dyn StdError + 'static)) -> Failure {
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
        // The source of an I/O error is the cause of what it holds, not what it holds.
        let held = at.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        match held
            .map(|held| held as &(dyn StdError + 'static))
            .or_else(|| at.source())
        {
            Some(cause) => at = cause,
            None => return Failure::Broken(at.to_string()),
        }
    }
}

/// `30 s`, `0.3 s`.
pub(super) fn seconds(duration: Duration) -> String {
    format!("{} s", (duration.as_secs_f64() * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_becomes_one_line() {
        assert_eq!(
            excerpt(b"<html>\n<head><title>502 Bad Gateway</title></head>"),
            "502 Bad Gateway"
        );
        assert_eq!(excerpt(b"\n\n  upstream down\nmore"), "upstream down");
        assert_eq!(excerpt(b""), "an empty body");
        assert_eq!(excerpt("ü".repeat(5000).as_bytes()).chars().count(), CLIP + 1);
    }

    #[test]
    fn a_long_message_keeps_its_beginning_and_its_end() {
        let message = format!("patch: {}: unknown field", "x".repeat(5000));
        let short = without_its_middle(message);
        assert!(short.starts_with("patch: x") && short.ends_with("x: unknown field") && short.len() < LONG);
    }

    #[test]
    fn a_time_is_said_in_seconds() {
        assert_eq!(seconds(Duration::from_secs(30)), "30 s");
        assert_eq!(seconds(Duration::from_millis(300)), "0.3 s");
    }
}

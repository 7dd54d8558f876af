//! Signs requests (SigV4) and reads the failures of the two APIs that are spoken: EC2's XML and EKS's JSON.

use std::collections::BTreeSet;
use std::sync::Mutex as StdMutex;
use std::time::Duration;

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use http::header::{CONTENT_TYPE, HOST, HeaderMap, USER_AGENT};
use http::{StatusCode, Uri};
use jiff::Timestamp;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::account::Service;
use crate::provider::http::{Call, Dialect, Failure, Refused, Sort, innermost};

const AGENT: &str = concat!("hostguard/", env!("CARGO_PKG_VERSION"));
/// Credentials that end sooner than this are asked for again.
const FRESH: Duration = Duration::from_secs(60);
/// Words that stand for a secret.
const REDACTED: &str = "[redacted]";

/// How one service is spoken to.
pub(super) struct Signer {
    service: Service,
    region: String,
    provider: Option<SharedCredentialsProvider>,
    current: Mutex<Option<Credentials>>,
    secrets: StdMutex<BTreeSet<String>>,
}

impl Signer {
    pub fn new(service: Service, region: &str, provider: Option<SharedCredentialsProvider>) -> Signer {
        Signer {
            service,
            region: region.to_string(),
            provider,
            current: Mutex::default(),
            secrets: StdMutex::default(),
        }
    }

    /// Credentials that are good for a while; asked for once, by one at a time.
    async fn credentials(&self, at: Timestamp) -> Result<Credentials, Failure> {
        let mut current = self.current.lock().await;
        let fresh = |credentials: &&Credentials| match credentials.expiry() {
            None => true,
            Some(expiry) => Timestamp::try_from(expiry).is_ok_and(|expiry| expiry > at + FRESH),
        };
        if let Some(credentials) = current.as_ref().filter(fresh) {
            return Ok(credentials.clone());
        }
        let provider = self
            .provider
            .as_ref()
            .ok_or_else(|| Failure::Credentials("no AWS credentials: nothing gives any".to_string()))?;
        let found = provider.provide_credentials().await;
        let found = found.map_err(|error| Failure::Credentials(described(&error)))?;
        let mut secrets = self.secrets.lock().expect("no panic while held");
        secrets.insert(found.secret_access_key().to_string());
        secrets.extend(found.session_token().map(ToString::to_string));
        *current = Some(found.clone());
        Ok(found)
    }
}

/// Why there are no credentials. The chain's own words name profiles and files, never keys.
fn described(error: &CredentialsError) -> String {
    match error {
        CredentialsError::CredentialsNotLoaded(_) => {
            "no AWS credentials were found: sign in (aws sso login), name a profile with AWS_PROFILE, or set \
             AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                .to_string()
        }
        other => format!("no AWS credentials: {}", innermost(other)),
    }
}

#[async_trait]
impl Dialect for Signer {
    async fn sign(&self, call: &Call, at: Timestamp) -> Result<http::Request<Vec<u8>>, Failure> {
        let impossible = |what: String| Failure::Unsent(format!("the request cannot be signed: {what}"));
        let credentials = self.credentials(at).await?;
        let url = format!("{}{}", call.origin, call.path);
        let uri: Uri = url
            .parse()
            .map_err(|_| impossible("the address is no URL".to_string()))?;
        let host = uri.authority().map(ToString::to_string).unwrap_or_default();
        let identity = credentials.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(self.service.name())
            .time(at.into())
            .settings(SigningSettings::default())
            .build();
        let parameters = parameters.map_err(|error| impossible(error.to_string()))?.into();
        let headers = [("host", host.as_str()), ("content-type", call.content)];
        let body = SignableBody::Bytes(call.body.as_bytes());
        let signable = SignableRequest::new(call.method.as_str(), &url, headers.into_iter(), body);
        let signed = signable.and_then(|signable| sign(signable, &parameters));
        let (instructions, _) = signed.map_err(|error| impossible(error.to_string()))?.into_parts();
        let mut request = http::Request::builder()
            .method(call.method.clone())
            .uri(uri)
            .header(HOST, &host)
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, call.content);
        for (name, value) in instructions.headers() {
            request = request.header(name, value);
        }
        let body = call.body.clone().into_bytes();
        request.body(body).map_err(|error| impossible(error.to_string()))
    }

    fn refused(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Refused> {
        let (code, message) = match self.service {
            Service::Ec2 => xml_words(body)?,
            Service::Eks => json_words(headers, body)?,
        };
        let sort = sort(status, &code);
        // After a signature that does not fit, AWS quotes the request as it saw it, with its session token.
        let message = match sort {
            Sort::Unsigned => message.split("\n\n").next().unwrap_or_default().trim().to_string(),
            _ => message,
        };
        Some(Refused {
            status: status.as_u16(),
            code,
            message,
            sort,
        })
    }

    fn redact(&self, text: &str) -> String {
        let secrets = self.secrets.lock().expect("no panic while held");
        let longest_first = secrets.iter().filter(|secret| secret.len() > 3).rev();
        longest_first.fold(text.to_string(), |text, secret| text.replace(secret, REDACTED))
    }
}

/// What a code means for asking again.
///
/// Source: botocore's `_retry.json` and `retries/standard.py` (throttling and transient codes), the Go SDK's
/// `retry_clock_skew` middleware (codes that blame the clock, and those that may).
fn sort(status: StatusCode, code: &str) -> Sort {
    match code {
        "BandwidthLimitExceeded"
        | "EC2ThrottledException"
        | "LimitExceededException"
        | "PriorRequestNotComplete"
        | "ProvisionedThroughputExceededException"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "SlowDown"
        | "ThrottledException"
        | "Throttling"
        | "ThrottlingException"
        | "TooManyRequestsException" => Sort::Throttled,
        "RequestExpired" | "RequestInTheFuture" | "RequestTimeTooSkewed" => Sort::Skewed,
        "AuthFailure" | "InvalidSignatureException" | "SignatureDoesNotMatch" => Sort::Unsigned,
        _ if status == StatusCode::TOO_MANY_REQUESTS => Sort::Throttled,
        _ if matches!(status.as_u16(), 500 | 502..=504) => Sort::Passing,
        _ => Sort::Final,
    }
}

/// `<Response><Errors><Error><Code>…</Code><Message>…</Message></Error></Errors><RequestID>…`.
fn xml_words(body: &[u8]) -> Option<(String, String)> {
    #[derive(Deserialize)]
    struct Response {
        #[serde(rename = "Errors")]
        errors: Errors,
    }
    #[derive(Deserialize)]
    struct Errors {
        #[serde(rename = "Error")]
        error: Vec<Words>,
    }
    #[derive(Deserialize)]
    struct Words {
        #[serde(rename = "Code")]
        code: String,
        #[serde(rename = "Message", default)]
        message: String,
    }
    let response: Response = quick_xml::de::from_str(std::str::from_utf8(body).ok()?).ok()?;
    let first = response.errors.error.into_iter().next()?;
    Some((first.code, first.message))
}

/// The code stands in a header, with a suffix after a colon, or in the body, with a prefix before a hash.
fn json_words(headers: &HeaderMap, body: &[u8]) -> Option<(String, String)> {
    #[derive(Default, Deserialize)]
    struct Words {
        #[serde(rename = "__type", alias = "code")]
        code: Option<String>,
        #[serde(alias = "Message")]
        message: Option<String>,
    }
    let words: Words = serde_json::from_slice(body).ok()?;
    let header = headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
    let code = header.map(ToString::to_string).or(words.code)?;
    let code = code.split(':').next().unwrap_or_default();
    let code = code.rsplit('#').next().unwrap_or_default();
    Some((code.to_string(), words.message.unwrap_or_default()))
}

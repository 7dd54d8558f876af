//! An account that was found: one caller a service, and how pages and failures of EC2 are taken.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::Method;
use serde::Deserialize;

use super::Connect;
use super::account::{Account, Service};
use super::answers::Page;
use super::form::Form;
use super::sign::Signer;
use crate::provider::http::{Call, Caller, Failure, Limits, Refused, Sort, Transport};
use crate::state::{Reason, Unreadable};

/// One service of an account.
pub(super) struct Endpoint {
    pub caller: Caller,
    pub origin: String,
}

/// Where requests go.
pub(super) struct Session {
    pub region: String,
    pub ec2: Endpoint,
    pub eks: Endpoint,
    /// How many objects a page holds.
    page: usize,
    /// Endpoints that are not AWS's public ones.
    pub elsewhere: Vec<String>,
}

impl Session {
    pub fn new(
        account: &Account,
        transport: Arc<dyn Transport>,
        connect: &Connect,
        limits: Limits,
    ) -> Result<Session, String> {
        let mut elsewhere = Vec::new();
        let mut endpoint = |service: Service| {
            let (origin, public) = account.origin(service)?;
            if !public {
                elsewhere.push(format!("AWS, {} at {origin}", service.name()));
            }
            let signer = Signer::new(service, &account.region, account.config.credentials_provider());
            let caller = Caller::new(transport.clone(), Arc::new(signer), limits, connect.given);
            Ok::<Endpoint, String>(Endpoint { caller, origin })
        };
        let (ec2, eks) = (endpoint(Service::Ec2)?, endpoint(Service::Eks)?);
        Ok(Session {
            region: account.region.clone(),
            ec2,
            eks,
            page: connect.page,
            elsewhere,
        })
    }

    /// Asks EC2, or has it do something.
    pub async fn ec2<T: for<'de> Deserialize<'de>>(&self, form: &Form, changes_something: bool) -> Result<T, Failure> {
        let call = Call {
            method: Method::POST,
            origin: self.ec2.origin.clone(),
            path: "/".to_string(),
            content: "application/x-www-form-urlencoded",
            body: form.encoded(),
            changes_something,
        };
        let answer = self.ec2.caller.send(&call).await?;
        let text = String::from_utf8_lossy(&answer.body);
        // A write was made even when what came back cannot be read.
        quick_xml::de::from_str(&text).map_err(|error| {
            let what = format!("EC2's answer to {} cannot be read: {error}", form.name());
            Failure::Broken(crate::provider::http::clip(&what))
        })
    }

    /// Everything that a description brings, page by page.
    pub async fn all<P: Page>(&self, form: Form) -> Result<Vec<P::Item>, Failure> {
        self.pages::<P>(form, 1000).await
    }

    /// The same for actions whose pages hold less.
    pub async fn pages<P: Page>(&self, form: Form, most: usize) -> Result<Vec<P::Item>, Failure> {
        let form = form.with("MaxResults", self.page.min(most).to_string());
        let mut items = Vec::new();
        let mut seen = BTreeSet::new();
        let mut next = form.clone();
        loop {
            let page: P = self.ec2(&next, false).await?;
            let (more, token) = page.parts();
            items.extend(more);
            let Some(token) = token else { return Ok(items) };
            next = form.clone().with("NextToken", &token);
            if !seen.insert(token) {
                let what = format!("EC2 gives the same page of {} again and again", form.name());
                return Err(Failure::Broken(what));
            }
        }
    }
}

/// The right that is missing, when that is what a failure says.
pub(super) fn is_denied(failure: &Failure) -> bool {
    let Failure::Refused(Refused { code, .. }) = failure else {
        return false;
    };
    matches!(
        code.as_str(),
        "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" | "Client.UnauthorizedOperation"
    )
}

/// The action that EC2 names as not allowed: one request can take several (tags need `ec2:CreateTags`).
pub(super) fn missing_action(failure: &Failure) -> Option<String> {
    let text = failure.to_string();
    let (_, after) = text.split_once("not authorized to perform: ")?;
    let action: String = after
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || *c == ':')
        .collect();
    action.contains(':').then_some(action)
}

/// What a failure says in words, with the action by name where a right is missing.
pub(super) fn words(failure: &Failure, action: &str) -> String {
    if is_denied(failure) {
        let named = missing_action(failure);
        let action = named.as_deref().unwrap_or(action);
        format!("{action} is not allowed ({})", without_blob(&failure.to_string()))
    } else {
        failure.to_string()
    }
}

/// EC2 adds hundreds of characters that only `sts decode-authorization-message` can read.
fn without_blob(text: &str) -> String {
    let text = text
        .split("Encoded authorization failure message:")
        .next()
        .unwrap_or_default();
    text.trim().trim_end_matches('.').to_string()
}

/// Why a kind could not be read.
pub(super) fn unreadable(failure: &Failure, action: &str) -> Unreadable {
    let reason = match failure {
        Failure::TimedOut { .. } => Reason::TimedOut,
        Failure::Refused(refused) if refused.sort == Sort::Unsigned => Reason::Forbidden,
        failure if is_denied(failure) => Reason::Forbidden,
        _ => Reason::Failed,
    };
    Unreadable {
        reason,
        detail: words(failure, action),
    }
}

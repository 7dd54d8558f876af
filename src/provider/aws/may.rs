//! Asks EC2 which requests the identity may not make: the requests themselves, with `DryRun`. Writes nothing.
//!
//! One question for each action on each group, whatever the number of rules.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use serde::de::IgnoredAny;

use super::form::Form;
use super::session::{Session, is_denied, missing_action};
use super::write;
use crate::changes::{Change, Op, merge};
use crate::error::{Error, codes};
use crate::provider::http::Failure;
use crate::provider::{Denied, Refusal};
use crate::resource::Kind;

pub(super) async fn may(session: &Session, changes: &[&Change]) -> Result<Vec<Denied>, Error> {
    let mut questions: BTreeMap<(String, String), Form> = BTreeMap::new();
    for change in changes
        .iter()
        .filter(|change| change.key.kind == Kind::SecurityGroupRule)
    {
        let group = change.key.name.split('/').next().unwrap_or_default();
        // What cannot be put as a request is refused when it is to be made.
        for form in forms(change).unwrap_or_default() {
            let question = (write::right(&form), group.to_string());
            questions.entry(question).or_insert(form);
        }
    }
    let answers = questions.into_iter().map(|((action, group), form)| async move {
        let denied = ask(session, form)
            .await
            .map_err(|failure| unanswered(session, &failure))?;
        Ok::<_, Error>(denied.map(|failure| Denied {
            verb: missing_action(&failure).unwrap_or(action),
            kind: Kind::SecurityGroupRule,
            namespace: String::new(),
            name: group,
            reason: failure.to_string(),
        }))
    });
    let mut denied: Vec<Denied> = try_join_all(answers).await?.into_iter().flatten().collect();
    denied.sort();
    denied.dedup();
    Ok(denied)
}

/// The requests that a change takes.
fn forms(change: &Change) -> Result<Vec<Form>, Refusal> {
    match &change.op {
        Op::Create { object } => Ok(vec![write::authorize(object)?]),
        Op::Delete { before } => Ok(vec![write::revoke(before)?]),
        Op::Update { before, patch } => {
            let mut wanted = (**before).clone();
            merge(&mut wanted, patch);
            write::updates(before, &wanted)
        }
    }
}

/// The refusal, when the answer is that the identity may not.
async fn ask(session: &Session, form: Form) -> Result<Option<Failure>, Failure> {
    match session.ec2::<IgnoredAny>(&form.with("DryRun", "true"), false).await {
        Ok(_) => Ok(None),
        Err(failure) if is_denied(&failure) => Ok(Some(failure)),
        // DryRunOperation is a yes; a group that is gone or a rule that is there is found out when it is written.
        Err(Failure::Refused(refused)) if refused.status < 500 && refused.status != 401 => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn unanswered(session: &Session, failure: &Failure) -> Error {
    let message = format!("EC2 in {} does not say what may be written", session.region);
    let error = Error::failed(codes::ACCESS_REVIEW, message).cause(failure.to_string());
    error.fix("try again; if it stays, see why EC2 answers so")
}

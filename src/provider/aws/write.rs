//! Makes, changes and takes away one rule of a security group.
//!
//! A rule has no version. Before it is changed or taken away it is read by its id and compared with the one seen, so
//! that somebody else's change is refused; what happens in the moment between is not noticed. A rule is never
//! authorized twice: when the answer was lost, or says that the rule is there, it is read back and is ours only with
//! our tags on it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::de::IgnoredAny;
use serde_json::Value;
use tokio::time::sleep;

use super::answers::{Authorized, DescribeSecurityGroupRules, Rule};
use super::form::Form;
use super::objects;
use super::session::{Session, is_denied, words};
use crate::changes::{Change, Op, merge};
use crate::provider::http::{Failure, Sort};
use crate::provider::{Refusal, Why};
use crate::resource::Kind;

/// What was written can take a moment to be seen (EC2 API: "eventual consistency").
const LOOKS: u32 = 4;
const BETWEEN_LOOKS: Duration = Duration::from_millis(400);

/// Makes the change, and answers with the rule as it is afterwards.
pub(super) async fn perform(session: &Session, change: &Change) -> Result<Option<Value>, Refusal> {
    if change.key.kind != Kind::SecurityGroupRule {
        return Err(refusal(
            Why::Other,
            format!("not sent: a {} is only read", change.key.kind),
        ));
    }
    match &change.op {
        Op::Create { object } => create(session, object).await.map(Some),
        Op::Update { before, patch } => update(session, before, patch).await.map(Some),
        Op::Delete { before } => delete(session, before).await.map(|()| None),
    }
}

fn refusal(why: Why, message: String) -> Refusal {
    Refusal { why, message }
}

async fn create(session: &Session, object: &Value) -> Result<Value, Refusal> {
    let form = authorize(object)?;
    let action = right(&form);
    let lost = match session.ec2::<Authorized>(&form, true).await {
        Ok(answer) => {
            let made = answer
                .security_group_rule_set
                .item
                .iter()
                .filter_map(|rule| objects::rule(rule).ok());
            let same = made.into_iter().find(|made| is_ours(made, object));
            match same {
                Some(made) => return Ok(made),
                None => Failure::Broken("EC2 answered with success, and named another rule".to_string()),
            }
        }
        Err(failure) => failure,
    };
    let duplicate = matches!(&lost, Failure::Refused(refused) if refused.code == "InvalidPermission.Duplicate");
    let refused = refused(&lost, &action);
    if !duplicate && refused.why != Why::AnswerLost {
        return Err(refused);
    }
    for look in 0..LOOKS {
        if look > 0 {
            sleep(BETWEEN_LOOKS).await;
        }
        match find(session, object).await {
            Ok(Some(found)) if is_ours(&found, object) => return Ok(found),
            Ok(Some(found)) => {
                let id = text(&found, "/metadata/uid");
                let message = format!("the same rule is there as {id}, and this plan did not make it");
                return Err(refusal(Why::Changed, message));
            }
            Ok(None) => {}
            Err(failure) => {
                let message = format!("{}; reading back failed: {failure}", refused.message);
                return Err(refusal(Why::AnswerLost, message));
            }
        }
    }
    let message = format!("{}; read back, the rule is not there", refused.message);
    Err(refusal(Why::AnswerLost, message))
}

async fn update(session: &Session, before: &Value, patch: &Value) -> Result<Value, Refusal> {
    let mut wanted = before.clone();
    merge(&mut wanted, patch);
    let forms = updates(before, &wanted)?;
    let id = id_of(before)?;
    match seen(session, before).await? {
        Some(_) => {}
        None => return Err(refusal(Why::Gone, format!("{id} is not there any more"))),
    }
    for form in &forms {
        let done = session.ec2::<IgnoredAny>(form, true).await;
        done.map_err(|failure| refused(&failure, &right(form)))?;
    }
    let lost = |what: String| refusal(Why::AnswerLost, format!("{id} was changed, but {what}"));
    for look in 0..LOOKS {
        if look > 0 {
            sleep(BETWEEN_LOOKS).await;
        }
        let found = by_id(session, before)
            .await
            .map_err(|failure| lost(format!("reading it back failed: {failure}")))?;
        match found {
            Some(found) if found["spec"] == wanted["spec"] => return Ok(found),
            Some(_) | None => {}
        }
    }
    Err(refusal(
        Why::Swallowed,
        format!("EC2 answered with success, but {id} is not as written"),
    ))
}

async fn delete(session: &Session, before: &Value) -> Result<(), Refusal> {
    let id = id_of(before)?;
    if seen(session, before).await?.is_none() {
        return Ok(());
    }
    let form = revoke(before)?;
    let failure = match session.ec2::<IgnoredAny>(&form, true).await {
        Ok(_) => return Ok(()),
        Err(failure) => failure,
    };
    let refused = refused(&failure, &right(&form));
    match refused.why {
        Why::Gone => Ok(()),
        Why::AnswerLost => match by_id(session, before).await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(refusal(
                Why::AnswerLost,
                format!("{}; read back, {id} is still there", refused.message),
            )),
            Err(again) => Err(refusal(
                Why::AnswerLost,
                format!("{}; reading back failed: {again}", refused.message),
            )),
        },
        _ => Err(refused),
    }
}

/// The rule that the change was computed from, if it is still the same; an error if it is another one now.
async fn seen(session: &Session, before: &Value) -> Result<Option<Value>, Refusal> {
    let found = by_id(session, before).await;
    let found = found.map_err(|failure| {
        let refused = refused(&failure, "ec2:DescribeSecurityGroupRules");
        // Nothing was written yet.
        let why = if refused.why == Why::AnswerLost {
            Why::Other
        } else {
            refused.why
        };
        refusal(why, format!("not sent: {}", refused.message))
    })?;
    match found {
        Some(found) if found["spec"] != before["spec"] => {
            let id = text(&found, "/metadata/uid");
            let message = match text(&found, "/metadata/name") {
                name if name == text(before, "/metadata/name") => {
                    let fields = differing(&found["spec"], &before["spec"]).join(", ");
                    format!("{id} was changed by somebody else: {fields}")
                }
                now => format!("{id} was changed by somebody else: it is {now} now"),
            };
            Err(refusal(Why::Changed, message))
        }
        other => Ok(other),
    }
}

/// The fields in which two maps differ.
fn differing(one: &Value, other: &Value) -> Vec<String> {
    let keys = |value: &Value| -> BTreeSet<String> {
        let map = value.as_object();
        map.into_iter().flatten().map(|(key, _)| key.clone()).collect()
    };
    let all = keys(one).union(&keys(other)).cloned().collect::<BTreeSet<_>>();
    all.into_iter().filter(|key| one.get(key) != other.get(key)).collect()
}

/// The rule with the id of `before`, whatever it says now.
async fn by_id(session: &Session, before: &Value) -> Result<Option<Value>, Failure> {
    let id = text(before, "/metadata/uid").to_string();
    let found = rules_of(session, before).await?;
    let found = found.iter().find(|rule| rule.security_group_rule_id == id);
    found.map(objects::rule).transpose().map_err(Failure::Broken)
}

/// A rule that lets in the same as `object`, whoever made it.
async fn find(session: &Session, object: &Value) -> Result<Option<Value>, Failure> {
    let found = rules_of(session, object).await?;
    let mut rules = found.iter().filter_map(|rule| objects::rule(rule).ok());
    Ok(rules.find(|rule| rule["metadata"]["name"] == object["metadata"]["name"]))
}

/// Every rule of the group of a rule. By group and not by id, because an id that is gone is an error to EC2.
async fn rules_of(session: &Session, rule: &Value) -> Result<Vec<Rule>, Failure> {
    let group = text(rule, "/spec/groupId").to_string();
    let form = Form::action("DescribeSecurityGroupRules").filter(1, "group-id", [&group]);
    session.all::<DescribeSecurityGroupRules>(form).await
}

/// Whether a rule that is there is the one that is wanted: same name, and every tag of ours.
fn is_ours(found: &Value, wanted: &Value) -> bool {
    let there = tags(found);
    let same = found["metadata"]["name"] == wanted["metadata"]["name"];
    same && tags(wanted).iter().all(|(key, value)| there.get(key) == Some(value))
}

fn tags(rule: &Value) -> BTreeMap<String, String> {
    let map = rule.pointer("/spec/tags").and_then(Value::as_object);
    let pairs = map.into_iter().flatten();
    pairs
        .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_string()))
        .collect()
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn id_of(rule: &Value) -> Result<&str, Refusal> {
    match text(rule, "/metadata/uid") {
        "" => Err(refusal(Why::Other, "not sent: the rule seen has no id".to_string())),
        id => Ok(id),
    }
}

fn direction(rule: &Value) -> &'static str {
    if rule.pointer("/spec/isEgress") == Some(&Value::Bool(true)) {
        "Egress"
    } else {
        "Ingress"
    }
}

/// The request that makes a rule.
pub(super) fn authorize(rule: &Value) -> Result<Form, Refusal> {
    let form = Form::action(&format!("AuthorizeSecurityGroup{}", direction(rule)));
    let form = permission(form, rule)?;
    let tags = tags(rule);
    if tags.is_empty() {
        return Ok(form);
    }
    let form = form.with("TagSpecification.1.ResourceType", "security-group-rule");
    Ok(with_tags(form, "TagSpecification.1.Tag", &tags))
}

/// What a rule lets in, with its description.
fn permission(form: Form, rule: &Value) -> Result<Form, Refusal> {
    let spec = |field: &str| text(rule, &format!("/spec/{field}")).to_string();
    let mut form = form
        .with("GroupId", spec("groupId"))
        .with("IpPermissions.1.IpProtocol", spec("ipProtocol"));
    for (field, name) in [("fromPort", "FromPort"), ("toPort", "ToPort")] {
        if let Some(port) = rule.pointer(&format!("/spec/{field}")).and_then(Value::as_i64) {
            form = form.with(format!("IpPermissions.1.{name}"), port.to_string());
        }
    }
    let peers = [
        ("cidrIpv4", "IpRanges.1", "CidrIp"),
        ("cidrIpv6", "Ipv6Ranges.1", "CidrIpv6"),
        ("prefixListId", "PrefixListIds.1", "PrefixListId"),
        ("referencedGroupId", "Groups.1", "GroupId"),
    ];
    let given: Vec<_> = peers
        .into_iter()
        .filter(|(field, _, _)| !spec(field).is_empty())
        .collect();
    let [(field, list, name)] = given[..] else {
        let message = "not sent: a rule has exactly one peer".to_string();
        return Err(refusal(Why::Invalid, message));
    };
    form = form.with(format!("IpPermissions.1.{list}.{name}"), spec(field));
    if !spec("description").is_empty() {
        form = form.with(format!("IpPermissions.1.{list}.Description"), spec("description"));
    }
    Ok(form)
}

/// The request that takes a rule away.
pub(super) fn revoke(rule: &Value) -> Result<Form, Refusal> {
    let form = Form::action(&format!("RevokeSecurityGroup{}", direction(rule)));
    let form = form.with("GroupId", text(rule, "/spec/groupId"));
    Ok(form.list("SecurityGroupRuleId", [id_of(rule)?]))
}

/// The requests that give a rule other tags and another description. Nothing else of a rule can change: what it lets
/// in is its identity.
pub(super) fn updates(before: &Value, wanted: &Value) -> Result<Vec<Form>, Refusal> {
    let without = |rule: &Value| {
        let mut spec = rule["spec"].clone();
        if let Some(map) = spec.as_object_mut() {
            map.remove("tags");
            map.remove("description");
        }
        spec
    };
    if without(before) != without(wanted) {
        let message = "not sent: what a rule lets in cannot be changed, only its tags and its description".to_string();
        return Err(refusal(Why::Invalid, message));
    }
    let id = id_of(before)?;
    let (there, then) = (tags(before), tags(wanted));
    let differs = |one: &BTreeMap<String, String>, other: &BTreeMap<String, String>, by_value: bool| {
        let pairs = one.iter().filter(|(key, value)| match other.get(*key) {
            None => true,
            Some(other) => by_value && other != *value,
        });
        pairs.map(|(k, v)| (k.clone(), v.clone())).collect::<BTreeMap<_, _>>()
    };
    let mut forms = Vec::new();
    let (set, unset) = (differs(&then, &there, true), differs(&there, &then, false));
    if !set.is_empty() {
        forms.push(with_tags(
            Form::action("CreateTags").list("ResourceId", [id]),
            "Tag",
            &set,
        ));
    }
    if !unset.is_empty() {
        forms.push(with_tags(
            Form::action("DeleteTags").list("ResourceId", [id]),
            "Tag",
            &unset,
        ));
    }
    let description = text(wanted, "/spec/description");
    if text(before, "/spec/description") != description {
        // By what it lets in, which is its identity; without a description, the one that is there goes.
        let form = Form::action(&format!("UpdateSecurityGroupRuleDescriptions{}", direction(before)));
        let form = permission(form, wanted)?;
        forms.push(form);
    }
    Ok(forms)
}

fn with_tags(mut form: Form, list: &str, tags: &BTreeMap<String, String>) -> Form {
    for (at, (key, value)) in tags.iter().enumerate() {
        form = form.with(format!("{list}.{}.Key", at + 1), key);
        form = form.with(format!("{list}.{}.Value", at + 1), value);
    }
    form
}

/// The IAM action of a request.
pub(super) fn right(form: &Form) -> String {
    format!("ec2:{}", form.name())
}

/// Why a request was not carried out, or is not known to have been.
fn refused(failure: &Failure, action: &str) -> Refusal {
    let why = match failure {
        Failure::Unsent(_) | Failure::Untrusted(_) | Failure::Credentials(_) => {
            return refusal(Why::Other, format!("not sent: {failure}"));
        }
        Failure::TimedOut { .. } | Failure::Broken(_) | Failure::Foreign { status: 500.., .. } => Why::AnswerLost,
        Failure::Foreign { .. } => Why::Other,
        failure if is_denied(failure) => Why::Denied,
        Failure::Refused(refused) => match (refused.sort, refused.code.as_str()) {
            (Sort::Throttled, _) => Why::Throttled,
            (Sort::Passing, _) => Why::AnswerLost,
            (Sort::Unsigned | Sort::Skewed, _) => Why::Denied,
            (Sort::Final, code) if code.ends_with(".NotFound") => Why::Gone,
            (Sort::Final, _) if refused.status < 500 => Why::Invalid,
            (Sort::Final, _) => Why::Other,
        },
    };
    refusal(why, words(failure, action))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule() -> Value {
        json!({
            "metadata": {"name": "sg-1/ingress/tcp/30080/203.0.113.7/32", "uid": "sgr-1"},
            "spec": {"groupId": "sg-1", "isEgress": false, "ipProtocol": "tcp", "fromPort": 30080, "toPort": 30080,
                "cidrIpv4": "203.0.113.7/32", "description": "by hostguard", "tags": {"a": "1", "b": "2"}},
        })
    }

    #[test]
    fn a_rule_becomes_one_permission_with_its_tags() {
        let form = authorize(&rule()).expect("a rule").encoded();
        for part in [
            "Action=AuthorizeSecurityGroupIngress&",
            "&GroupId=sg-1&",
            "&IpPermissions.1.FromPort=30080&",
            "&IpPermissions.1.IpRanges.1.CidrIp=203.0.113.7%2F32&",
            "&IpPermissions.1.IpRanges.1.Description=by+hostguard&",
            "&TagSpecification.1.ResourceType=security-group-rule&TagSpecification.1.Tag.1.Key=a&",
        ] {
            assert!(form.contains(part), "{part} in {form}");
        }
        let mut two = rule();
        two["spec"]["prefixListId"] = json!("pl-1");
        assert_eq!(authorize(&two).expect_err("two peers").why, Why::Invalid);
    }

    #[test]
    fn only_tags_and_description_of_a_rule_change() {
        let mut wanted = rule();
        wanted["spec"]["tags"] = json!({"a": "3", "c": "4"});
        wanted["spec"]["description"] = json!("other");
        let forms = updates(&rule(), &wanted).expect("an update");
        let forms: Vec<String> = forms.iter().map(Form::encoded).collect();
        assert_eq!(forms.len(), 3);
        assert!(forms[0].starts_with("Action=CreateTags&"), "{}", forms[0]);
        assert!(
            forms[0].ends_with("Tag.1.Key=a&Tag.1.Value=3&Tag.2.Key=c&Tag.2.Value=4"),
            "{}",
            forms[0]
        );
        assert!(
            forms[1].ends_with("ResourceId.1=sgr-1&Tag.1.Key=b&Tag.1.Value=2"),
            "{}",
            forms[1]
        );
        assert!(
            forms[2].contains("UpdateSecurityGroupRuleDescriptionsIngress"),
            "{}",
            forms[2]
        );
        wanted["spec"]["toPort"] = json!(30081);
        assert_eq!(updates(&rule(), &wanted).expect_err("another rule").why, Why::Invalid);
    }

    #[test]
    fn a_rule_is_ours_by_its_tags() {
        let mut found = rule();
        found["spec"]["tags"]["more"] = json!("of others");
        assert!(is_ours(&found, &rule()));
        found["spec"]["tags"]["a"] = json!("another plan");
        assert!(!is_ours(&found, &rule()));
    }
}

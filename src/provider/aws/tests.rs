//! An account whose EC2 is played: what is asked, and how often.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::*;
use crate::provider::http::{Failure, Given};
use crate::state::CloudScope;

type Form = BTreeMap<String, String>;
type Answer = dyn Fn(&Form) -> (u16, String) + Send + Sync;

/// Answers EC2's actions by one function, each after a while.
struct Played {
    answer: Box<Answer>,
    asked: Mutex<Vec<Form>>,
    after: Duration,
}

#[async_trait]
impl Transport for Played {
    async fn send(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, Failure> {
        sleep(self.after).await;
        let mut form: Form = form_urlencoded::parse(request.body()).into_owned().collect();
        if form.is_empty() {
            form.insert("Action".to_string(), request.uri().path().to_string());
        }
        let (status, body) = (self.answer)(&form);
        self.asked.lock().expect("one at a time").push(form);
        let response = http::Response::builder().status(status);
        Ok(response.body(body.into_bytes()).expect("a response"))
    }
}

impl Played {
    fn new(answer: impl Fn(&Form) -> (u16, String) + Send + Sync + 'static) -> Arc<Played> {
        Arc::new(Played {
            answer: Box::new(answer),
            asked: Mutex::default(),
            after: Duration::from_millis(20),
        })
    }

    /// How often each action was asked.
    fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for form in self.asked.lock().expect("one at a time").iter() {
            *counts.entry(form["Action"].clone()).or_default() += 1;
        }
        counts
    }
}

fn aws(played: &Arc<Played>) -> Aws {
    let credentials = Credentials::new("AKIATEST", "s3cret", Some("t0ken".to_string()), None, "test");
    let account = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-2"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build();
    let connect = Connect {
        region: None,
        request_timeout: Duration::from_secs(30),
        page: PAGE,
        given: Given {
            now: || Timestamp::from_second(1_795_867_200).expect("a time"),
            jitter: || 1.0,
        },
    };
    Aws {
        transport: Some(played.clone()),
        ..Aws::of_account(connect, account)
    }
}

fn scope(instances: usize) -> Scope {
    Scope {
        kinds: kinds().collect(),
        inventory_namespace: "hostguard".to_string(),
        cloud: Some(CloudScope {
            instances: (0..instances).map(|n| format!("i-{n:05x}")).collect(),
            eks_cluster: Some("shop".to_string()),
            ..CloudScope::default()
        }),
    }
}

/// The values of a filter.
fn values(form: &Form) -> Vec<&String> {
    let values = form.iter().filter(|(name, _)| name.starts_with("Filter.1.Value."));
    values.map(|(_, value)| value).collect()
}

/// A cluster of which every node has two interfaces in three subnets, with two groups that are the same everywhere.
fn large(form: &Form) -> (u16, String) {
    let body = match form["Action"].as_str() {
        "DescribeInstances" => {
            let instances = values(form).into_iter().map(|id| {
                let interface = |n: u32| {
                    format!(
                        "<item><networkInterfaceId>eni-{id}-{n}</networkInterfaceId><subnetId>subnet-{}</subnetId>\
                         <attachment><deviceIndex>{n}</deviceIndex></attachment><groupSet><item><groupId>sg-2</groupId>\
                         </item><item><groupId>sg-1</groupId></item></groupSet></item>",
                        id.len() as u32 % 3 + n
                    )
                };
                let set = interface(0) + &interface(1);
                format!("<item><instanceId>{id}</instanceId><networkInterfaceSet>{set}</networkInterfaceSet></item>")
            });
            let set: String = instances.collect();
            format!("<R><reservationSet><item><instancesSet>{set}</instancesSet></item></reservationSet></R>")
        }
        "DescribeSecurityGroups" => {
            let groups = values(form)
                .into_iter()
                .map(|id| format!("<item><groupId>{id}</groupId></item>"));
            format!(
                "<R><securityGroupInfo>{}</securityGroupInfo></R>",
                groups.collect::<String>()
            )
        }
        "DescribeSecurityGroupRules" => {
            let rules = values(form).into_iter().map(|id| {
                format!(
                    "<item><securityGroupRuleId>sgr-{id}</securityGroupRuleId><groupId>{id}</groupId><isEgress>false\
                     </isEgress><ipProtocol>tcp</ipProtocol><fromPort>443</fromPort><toPort>443</toPort>\
                     <referencedGroupInfo><groupId>sg-9</groupId></referencedGroupInfo></item>"
                )
            });
            format!(
                "<R><securityGroupRuleSet>{}</securityGroupRuleSet></R>",
                rules.collect::<String>()
            )
        }
        "DescribeNetworkAcls" => "<R><networkAclSet/></R>".to_string(),
        "/clusters/shop" => {
            r#"{"cluster": {"name": "shop", "resourcesVpcConfig": {"clusterSecurityGroupId": "sg-1"}}}"#.to_string()
        }
        other => panic!("{other} is not expected"),
    };
    (200, body)
}

/// The ceiling: requests grow with pages and batches of ids, and not with nodes.
#[tokio::test(start_paused = true)]
async fn a_thousand_nodes_take_a_dozen_requests() {
    let mut seen = Vec::new();
    for nodes in [3, 1000] {
        let played = Played::new(large);
        let start = Instant::now();
        let state = aws(&played).read(&scope(nodes)).await.expect("a state");
        assert_eq!(state.list(Kind::Instance).expect("listed").count(), nodes);
        assert_eq!(state.list(Kind::NetworkInterface).expect("listed").count(), 2 * nodes);
        let groups: Vec<&str> = state
            .list(Kind::SecurityGroup)
            .expect("listed")
            .map(|(key, _)| &*key.name)
            .collect();
        assert_eq!(
            groups,
            ["sg-1", "sg-2", "sg-9"],
            "a group that a rule names is read by its id"
        );
        assert_eq!(
            start.elapsed(),
            Duration::from_millis(60),
            "three questions, one after the other"
        );
        seen.push(played.counts());
    }
    let counts = |instances: usize| -> BTreeMap<String, usize> {
        let all = [
            ("/clusters/shop", 1),
            ("DescribeInstances", instances),
            ("DescribeNetworkAcls", 1),
            ("DescribeSecurityGroupRules", 1),
            ("DescribeSecurityGroups", 2),
        ];
        all.into_iter().map(|(name, n)| (name.to_string(), n)).collect()
    };
    assert_eq!(seen, [counts(1), counts(5)], "a filter takes 200 ids");
}

#[tokio::test(start_paused = true)]
async fn each_kind_that_cannot_be_read_says_which_right_is_missing() {
    let denied = |action: &'static str| {
        let played = Played::new(move |form| {
            if form["Action"] != action {
                return large(form);
            }
            let message = "You are not authorized to perform this operation. User: arn:aws:iam::1:user/u is not \
                           authorized to perform: ec2:Other on resource: * because no policy allows it. Encoded \
                           authorization failure message: AAAA";
            let body = format!(
                "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>{message}</Message></Error>\
                 </Errors></Response>"
            );
            (
                403,
                if action.starts_with('/') {
                    "{\"message\": \"no\", \"code\": \"AccessDeniedException\"}".into()
                } else {
                    body
                },
            )
        });
        async move { aws(&played).read(&scope(3)).await.expect("a state") }
    };
    let unreadable = |state: &State| -> BTreeSet<Kind> {
        let coverage = state.coverage().iter();
        coverage
            .filter(|(_, why)| why.is_some())
            .map(|(kind, _)| *kind)
            .collect()
    };
    let state = denied("DescribeSecurityGroupRules").await;
    assert_eq!(unreadable(&state), [Kind::SecurityGroupRule, Kind::PrefixList].into());
    let why = state.coverage()[&Kind::SecurityGroupRule].clone().expect("unreadable");
    assert_eq!(why.reason, Reason::Forbidden);
    assert!(why.detail.starts_with("ec2:Other is not allowed"), "{}", why.detail);
    assert!(!why.detail.contains("AAAA"), "{}", why.detail);
    let state = denied("/clusters/shop").await;
    assert_eq!(unreadable(&state), [Kind::EksCluster].into());
    let why = state.coverage()[&Kind::EksCluster].clone().expect("unreadable");
    assert!(
        why.detail.starts_with("eks:DescribeCluster is not allowed"),
        "{}",
        why.detail
    );
    let state = denied("DescribeInstances").await;
    assert_eq!(
        unreadable(&state),
        [Kind::Instance, Kind::NetworkInterface, Kind::NetworkAcl].into()
    );
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_where_nothing_is_of_aws() {
    let played = Played::new(|form| panic!("asked: {form:?}"));
    let mut nothing = scope(0);
    nothing.cloud = Some(CloudScope::default());
    let state = aws(&played).read(&nothing).await.expect("a state");
    assert!(kinds().all(|kind| state.list(kind).is_ok_and(|mut all| all.next().is_none())));
}

#[tokio::test(start_paused = true)]
async fn a_page_that_repeats_itself_ends_the_read() {
    let played = Played::new(|form| match form["Action"].as_str() {
        "DescribeInstances" => (200, "<R><reservationSet/><nextToken>again</nextToken></R>".to_string()),
        _ => large(form),
    });
    let state = aws(&played).read(&scope(3)).await.expect("a state");
    let why = state.coverage()[&Kind::Instance].clone().expect("unreadable");
    assert!(why.detail.contains("again and again"), "{}", why.detail);
}

#[tokio::test(start_paused = true)]
async fn secrets_are_in_no_reason() {
    let body = "<Response><Errors><Error><Code>SignatureDoesNotMatch</Code><Message>It does not match.\n\nThe Canonical \
                String was 'x-amz-security-token:t0ken'</Message></Error></Errors></Response>";
    let played = Played::new(move |_| (403, body.replace("match.", "match s3cret t0ken.")));
    let state = aws(&played).read(&scope(1)).await.expect("a state");
    let why = state.coverage()[&Kind::Instance].clone().expect("unreadable");
    assert_eq!(
        why.detail,
        "SignatureDoesNotMatch: It does not match [redacted] [redacted]."
    );
}

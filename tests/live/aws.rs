//! The provider on an emulated EC2 that is strict where AWS documents it, with faults on the way.
//!
//! What is there is always asked of boto3, past the proxy and past hostguard.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use hostguard::aws::Rule;
use hostguard::changes::{Change, FieldChange, Op};
use hostguard::provider::aws::Aws;
use hostguard::provider::{Provider, Refusal, Why};
use hostguard::resource::{FieldPath, Key, Kind, Origin};
use hostguard::state::{CloudScope, Reason, Scope, State};
use serde_json::{Value, json};

use crate::support::aws::{Emulator, aws, enforcing};

const KEYS: (&str, &str) = ("testing", "testing");

/// Runs one future to its end.
fn wait_for<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

/// A VPC with a group; `vpc`, `subnets` and `group` stay known to later scripts.
fn group(aws: &Emulator) -> String {
    let script = "\
vpc = ec2.create_vpc(CidrBlock='192.168.0.0/16')['Vpc']['VpcId']
subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f'192.168.{n}.0/24')['Subnet']['SubnetId'] for n in (1, 2)]
group = ec2.create_security_group(GroupName='nodes', Description='x', VpcId=vpc)['GroupId']
out = group";
    aws.python(script).as_str().expect("an id").to_string()
}

/// Rules into a group, as boto3 sees them.
fn rules(aws: &Emulator, group: &str) -> Vec<Value> {
    let script = "\
pages = ec2.get_paginator('describe_security_group_rules').paginate(Filters=[{'Name': 'group-id', 'Values': [group]}])
out = [rule for page in pages for rule in page['SecurityGroupRules'] if not rule['IsEgress']]";
    let given = json!({"group": group});
    aws.python_with(&given, script).as_array().expect("rules").clone()
}

/// The rule that lets a network reach port 30080, as a plan `shop` makes it.
fn rule(group: &str, net: &str) -> Value {
    let spec = json!({
        "groupId": group, "isEgress": false, "ipProtocol": "tcp", "fromPort": 30080, "toPort": 30080,
        if net.contains(':') { "cidrIpv6" } else { "cidrIpv4" }: net,
        "description": "hostguard, plan shop", "tags": {"hostguard.dev/plan": "shop"},
    });
    let object = json!({"apiVersion": "aws/v1", "kind": "SecurityGroupRule", "spec": spec});
    let name = Rule::read(&object).expect("a rule").key().name;
    let mut object = object;
    object["metadata"] = json!({"name": name});
    object
}

fn change(op: Op) -> Change {
    let object = match &op {
        Op::Create { object } => object,
        Op::Update { before, .. } | Op::Delete { before } => before,
    };
    let key = Key::of(Kind::SecurityGroupRule, object).expect("a name");
    Change {
        key,
        op,
        fields: Vec::new(),
        origin: Origin {
            section: "cloud".to_string(),
            span: None,
        },
        needs: Vec::new(),
    }
}

fn create(object: &Value) -> Change {
    change(Op::Create { object: object.clone() })
}

fn delete(before: &Value) -> Change {
    let before = before.clone().into();
    change(Op::Delete { before })
}

fn perform(aws: &Aws, change: &Change) -> Result<Option<Value>, Refusal> {
    wait_for(aws.perform(change))
}

/// A rule that is there now, made by hostguard.
fn made(aws: &Aws, group: &str, net: &str) -> Value {
    let made = perform(aws, &create(&rule(group, net)));
    made.expect("it is made").expect("it is there")
}

fn scope(cloud: CloudScope) -> Scope {
    Scope {
        kinds: Kind::ALL.into_iter().filter(|kind| kind.cloud()).collect(),
        inventory_namespace: "hostguard".to_string(),
        cloud: Some(cloud),
    }
}

fn of_group(group: &str) -> Scope {
    scope(CloudScope {
        groups: [group.to_string()].into(),
        ..CloudScope::default()
    })
}

fn read(aws: &Aws, scope: &Scope) -> State {
    wait_for(aws.read(scope)).expect("a state")
}

fn fault(operation: &str, times: u32, what: (&str, Value)) -> Value {
    let (name, value) = what;
    json!([{"service": "ec2", "operation": operation, "times": times, name: value}])
}

/// Two reservations, several nodes, two groups on one interface, two interfaces on one node; five objects a page.
#[test]
fn everything_in_front_of_the_nodes_is_read_page_by_page() {
    let Some(emulator) = aws!() else { return };
    let group = group(&emulator);
    let script = "\
other = ec2.create_security_group(GroupName='rdp', Description='x', VpcId=vpc)['GroupId']
third = ec2.create_security_group(GroupName='third', Description='x', VpcId=vpc)['GroupId']
image = ec2.describe_images(Owners=['amazon'])['Images'][0]['ImageId']
def run(count, subnet, groups):
    made = ec2.run_instances(ImageId=image, MinCount=count, MaxCount=count, SubnetId=subnet, SecurityGroupIds=groups,
        TagSpecifications=[{'ResourceType': 'instance', 'Tags': [{'Key': 'Name', 'Value': 'shop-node'}]}])
    return [i['InstanceId'] for i in made['Instances']]
ids = run(2, subnets[0], [group, other]) + run(11, subnets[1], [group]) + run(1, subnets[1], [third])
eni = ec2.create_network_interface(SubnetId=subnets[1], Groups=[other])['NetworkInterface']['NetworkInterfaceId']
ec2.attach_network_interface(NetworkInterfaceId=eni, InstanceId=ids[0], DeviceIndex=1)
allow = lambda **peer: ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
    dict({'IpProtocol': 'tcp', 'FromPort': 443, 'ToPort': 443}, **peer)])
for n in range(7):
    allow(IpRanges=[{'CidrIp': f'10.{n}.0.0/16', 'Description': f'range {n}'}])
allow(Ipv6Ranges=[{'CidrIpv6': '2001:DB8:0::/48'}])
allow(UserIdGroupPairs=[{'GroupId': third}])
list = ec2.create_managed_prefix_list(PrefixListName='office', MaxEntries=9, AddressFamily='IPv4',
    Entries=[{'Cidr': f'198.51.{n}.0/24'} for n in range(3)])['PrefixList']['PrefixListId']
allow(PrefixListIds=[{'PrefixListId': list}])
ec2.authorize_security_group_ingress(GroupId=other, IpPermissions=[{'IpProtocol': '-1', 'IpRanges': [{'CidrIp': '10.0.0.0/8'}]}])
role = iam.create_role(RoleName='eks', AssumeRolePolicyDocument='{}')['Role']['Arn']
eks.create_cluster(name='shop', roleArn=role, resourcesVpcConfig={'subnetIds': subnets})
cluster = eks.describe_cluster(name='shop')['cluster']['resourcesVpcConfig']['clusterSecurityGroupId']
acl = ec2.create_network_acl(VpcId=vpc)['NetworkAcl']['NetworkAclId']
ec2.create_network_acl_entry(NetworkAclId=acl, RuleNumber=90, Protocol='6', RuleAction='deny', Egress=False,
    CidrBlock='203.0.113.0/24', PortRange={'From': 30080, 'To': 30090})
was = [a for n in ec2.describe_network_acls()['NetworkAcls'] for a in n['Associations'] if a['SubnetId'] == subnets[0]]
ec2.replace_network_acl_association(AssociationId=was[0]['NetworkAclAssociationId'], NetworkAclId=acl)
wanted = ids[:13]
enis = {}
for page in ec2.get_paginator('describe_instances').paginate(InstanceIds=wanted):
    for instance in (i for r in page['Reservations'] for i in r['Instances']):
        for n in instance['NetworkInterfaces']:
            enis[n['NetworkInterfaceId']] = [instance['InstanceId'], n['Attachment']['DeviceIndex'], n['SubnetId'],
                sorted(g['GroupId'] for g in n['Groups']), [p['PrivateIpAddress'] for p in n['PrivateIpAddresses']]]
out = dict(wanted=wanted, enis=enis, other=other, third=third, list=list, cluster=cluster, acl=acl)";
    let there = emulator.python_with(&json!({"group": group}), script);
    let text = |name: &str| there[name].as_str().expect("text").to_string();

    emulator.faults(json!([]));
    let provider = emulator.provider(5, KEYS);
    let wanted: BTreeSet<String> = serde_json::from_value(there["wanted"].clone()).expect("ids");
    let state = read(
        &provider,
        &scope(CloudScope {
            instances: wanted.clone(),
            eks_cluster: Some("shop".to_string()),
            ..CloudScope::default()
        }),
    );
    let unreadable: Vec<_> = state.coverage().iter().filter(|(_, why)| why.is_some()).collect();
    assert!(unreadable.is_empty(), "{unreadable:?}");
    let names = |kind: Kind| -> BTreeSet<String> {
        let all = state.list(kind).expect("listed");
        all.map(|(key, _)| key.name.clone()).collect()
    };
    assert_eq!(names(Kind::Instance), wanted, "and not the one that is no node");
    let read: BTreeMap<String, Value> = state
        .list(Kind::NetworkInterface)
        .expect("listed")
        .map(|(key, object)| {
            let spec = &object["spec"];
            let addresses = spec["privateIpAddresses"].as_array().expect("a list");
            let addresses: Vec<&Value> = addresses.iter().map(|a| &a["privateIpAddress"]).collect();
            let row = json!([
                spec["instanceId"],
                spec["deviceIndex"],
                spec["subnetId"],
                spec["groups"],
                addresses
            ]);
            (key.name.clone(), row)
        })
        .collect();
    assert_eq!(json!(read), there["enis"]);
    let groups = [group.clone(), text("other"), text("third"), text("cluster")];
    assert_eq!(names(Kind::SecurityGroup), groups.into());
    let of_group: BTreeSet<String> = names(Kind::SecurityGroupRule)
        .into_iter()
        .filter(|name| name.starts_with(&format!("{group}/ingress")))
        .collect();
    let mut expected: BTreeSet<String> = (0..7)
        .map(|n| format!("{group}/ingress/tcp/443/10.{n}.0.0/16"))
        .collect();
    for peer in ["2001:db8::/48", &text("third"), &text("list")] {
        expected.insert(format!("{group}/ingress/tcp/443/{peer}"));
    }
    assert_eq!(of_group, expected);
    assert!(names(Kind::SecurityGroupRule).contains(&format!("{}/ingress/all/all/10.0.0.0/8", text("other"))));
    let list = state
        .present(&Key::cluster(Kind::PrefixList, text("list")))
        .expect("the list");
    let entries = ["198.51.0.0/24", "198.51.1.0/24", "198.51.2.0/24"];
    assert_eq!(list["spec"]["entries"], json!(entries));
    assert_eq!(list["spec"]["maxEntries"], 9);
    let acl = state
        .present(&Key::cluster(Kind::NetworkAcl, text("acl")))
        .expect("the ACL");
    let denies = json!({"ruleNumber": 90, "egress": false, "protocol": "6", "ruleAction": "deny",
        "cidrBlock": "203.0.113.0/24", "portRange": {"from": 30080, "to": 30090}});
    let entries = acl["spec"]["entries"].as_array().expect("entries");
    assert!(entries.contains(&denies), "{acl}");
    assert!(hostguard::aws::Acl::read(&acl).is_some(), "{acl}");
    let cluster = state
        .present(&Key::cluster(Kind::EksCluster, "shop"))
        .expect("the cluster");
    assert_eq!(cluster["spec"]["clusterSecurityGroupId"], text("cluster"));
    assert_eq!(cluster["spec"]["region"], "us-east-2");
}

#[test]
fn a_rule_is_made_with_its_mark_changed_and_taken_away() {
    let Some(emulator) = aws!() else { return };
    let group = group(&emulator);
    let provider = emulator.provider(1000, KEYS);
    for net in ["203.0.113.7/32", "2001:db8:1::/48"] {
        let made = made(&provider, &group, net);
        let there = rules(&emulator, &group);
        assert_eq!(there.len(), 1);
        assert_eq!(made["metadata"]["uid"], there[0]["SecurityGroupRuleId"]);
        assert_eq!(there[0]["Description"], "hostguard, plan shop");
        assert_eq!(
            there[0]["Tags"],
            json!([{"Key": "hostguard.dev/plan", "Value": "shop"}])
        );
        let state = read(&provider, &of_group(&group));
        let key = Key::of(Kind::SecurityGroupRule, &made).expect("a name");
        assert_eq!(state.present(&key).as_deref(), Some(&made), "read as it was answered");

        let mut update = change(Op::Update {
            before: made.clone().into(),
            patch: json!({"spec": {"description": "other", "tags": {"hostguard.dev/plan": null, "team": "a b*~"}}}),
        });
        update.fields = vec![FieldChange {
            path: FieldPath::dotted("spec.description"),
            before: Some(json!("hostguard, plan shop")),
            after: Some(json!("other")),
            taken_from: None,
        }];
        let updated = perform(&provider, &update)
            .expect("it is changed")
            .expect("it is there");
        let there = rules(&emulator, &group);
        assert_eq!(there[0]["Description"], "other");
        assert_eq!(there[0]["Tags"], json!([{"Key": "team", "Value": "a b*~"}]));
        assert_eq!(perform(&provider, &delete(&updated)), Ok(None));
        assert!(rules(&emulator, &group).is_empty());
    }
}

/// The request is carried out, the answer is cut: the rule is found and taken for ours, and there is one of it.
#[test]
fn a_rule_whose_answer_was_cut_is_adopted() {
    let Some(emulator) = aws!() else { return };
    let group = group(&emulator);
    let provider = emulator.provider(1000, KEYS);
    let cut = fault(
        "AuthorizeSecurityGroupIngress",
        1,
        ("response", json!({"abort_frac": 0.3})),
    );
    emulator.faults(cut);
    let made = made(&provider, &group, "203.0.113.7/32");
    assert_eq!(emulator.fired(), 1);
    let there = rules(&emulator, &group);
    assert_eq!(there.len(), 1);
    assert_eq!(made["metadata"]["uid"], there[0]["SecurityGroupRuleId"]);

    // A run that was killed before it heard the answer asks again, and meets its own rule.
    let again = perform(&provider, &create(&rule(&group, "203.0.113.7/32")));
    assert_eq!(again, Ok(Some(made)));
    assert_eq!(rules(&emulator, &group).len(), 1);
}

/// The connection breaks before anything arrives: it was not made, that is said, and it is not sent again.
#[test]
fn a_rule_that_did_not_arrive_is_not_sent_again_blindly() {
    let Some(emulator) = aws!() else { return };
    let group = group(&emulator);
    let provider = emulator.provider(1000, KEYS);
    emulator.faults(fault("AuthorizeSecurityGroupIngress", 5, ("reset", json!(true))));
    let refused = perform(&provider, &create(&rule(&group, "203.0.113.7/32"))).expect_err("lost");
    assert_eq!(refused.why, Why::AnswerLost, "{}", refused.message);
    assert!(
        refused.message.contains("read back, the rule is not there"),
        "{}",
        refused.message
    );
    assert_eq!(emulator.fired(), 1);
    assert!(rules(&emulator, &group).is_empty());
}

#[test]
fn a_lost_revoke_is_read_back() {
    let Some(emulator) = aws!() else { return };
    let group = group(&emulator);
    let provider = emulator.provider(1000, KEYS);
    let rule = made(&provider, &group, "203.0.113.7/32");
    emulator.faults(fault(
        "RevokeSecurityGroupIngress",
        1,
        ("response", json!({"abort_frac": 0.3})),
    ));
    assert_eq!(perform(&provider, &delete(&rule)), Ok(None));
    assert_eq!(emulator.fired(), 1);
    let rule = made(&provider, &group, "203.0.113.7/32");
    emulator.faults(fault("RevokeSecurityGroupIngress", 1, ("reset", json!(true))));
    let refused = perform(&provider, &delete(&rule)).expect_err("lost");
    assert_eq!(refused.why, Why::AnswerLost, "{}", refused.message);
    assert_eq!(rules(&emulator, &group).len(), 1);
}

#[test]
fn throttling_is_waited_out_within_bounds() {
    let Some(emulator) = aws!() else { return };
    let group = group(&emulator);
    let provider = emulator.provider(1000, KEYS);
    let slow_down = |operation, times| fault(operation, times, ("error", json!({"code": "RequestLimitExceeded"})));
    emulator.faults(slow_down("AuthorizeSecurityGroupIngress", 2));
    made(&provider, &group, "203.0.113.7/32");
    assert_eq!(emulator.fired(), 2);
    emulator.faults(slow_down("DescribeSecurityGroupRules", 2));
    let state = read(&provider, &of_group(&group));
    assert!(state.list(Kind::SecurityGroupRule).is_ok());
    assert_eq!(emulator.fired(), 2);

    emulator.faults(slow_down("AuthorizeSecurityGroupIngress", 1000));
    let start = Instant::now();
    let refused = perform(&provider, &create(&rule(&group, "203.0.113.8/32"))).expect_err("throttled");
    assert_eq!(refused.why, Why::Throttled, "{}", refused.message);
    assert_eq!(emulator.fired(), 6);
    let took = start.elapsed();
    assert!(
        took > Duration::from_secs(5) && took < Duration::from_secs(11),
        "{took:?}"
    );
    assert_eq!(rules(&emulator, &group).len(), 1);
}

#[test]
fn a_missing_right_is_named() {
    let Some(emulator) = aws!() else { return };
    let group = group(&emulator);
    let provider = emulator.provider(1000, KEYS);
    let message = "You are not authorized to perform this operation. Encoded authorization failure message: AAAA";
    let denied = |operation| {
        let error = json!({"code": "UnauthorizedOperation", "status": 403, "message": message});
        fault(operation, 100, ("error", error))
    };
    emulator.faults(denied("DescribeSecurityGroupRules"));
    let state = read(&provider, &of_group(&group));
    let why = state.coverage()[&Kind::SecurityGroupRule].clone().expect("unreadable");
    assert_eq!(why.reason, Reason::Forbidden);
    let wanted = "ec2:DescribeSecurityGroupRules is not allowed \
                  (UnauthorizedOperation: You are not authorized to perform this operation)";
    assert_eq!(why.detail, wanted);
    assert!(state.list(Kind::SecurityGroup).is_ok(), "what could be read was read");

    emulator.faults(denied("AuthorizeSecurityGroupIngress"));
    let change = create(&rule(&group, "203.0.113.7/32"));
    let other = create(&rule(&group, "203.0.113.8/32"));
    let missing = wait_for(provider.may(&[&change, &other])).expect("an answer");
    let missing: Vec<(&str, &str)> = missing.iter().map(|right| (&*right.verb, &*right.name)).collect();
    assert_eq!(missing, [("ec2:AuthorizeSecurityGroupIngress", &*group)]);
    assert_eq!(emulator.fired(), 1, "asked once for all rules of a group");
    let refused = perform(&provider, &change).expect_err("denied");
    assert_eq!(refused.why, Why::Denied);
    assert!(
        refused
            .message
            .contains("ec2:AuthorizeSecurityGroupIngress is not allowed"),
        "{}",
        refused.message
    );
    emulator.faults(json!([]));
    assert_eq!(wait_for(provider.may(&[&change, &other])), Ok(Vec::new()));
    assert!(rules(&emulator, &group).is_empty(), "asking makes nothing");
}

#[test]
fn what_others_did_meanwhile_is_respected() {
    let Some(emulator) = aws!() else { return };
    let group = group(&emulator);
    let provider = emulator.provider(1000, KEYS);
    let given = |rule: &Value| json!({"group": group, "rule": rule["metadata"]["uid"]});

    // gone: nothing is left to do
    let gone = made(&provider, &group, "203.0.113.7/32");
    let revoke = "ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=[rule])";
    emulator.python_with(&given(&gone), revoke);
    assert_eq!(perform(&provider, &delete(&gone)), Ok(None));

    // changed: it is not the rule that was seen
    let changed = made(&provider, &group, "203.0.113.8/32");
    let modify = "\
ec2.modify_security_group_rules(GroupId=group, SecurityGroupRules=[{'SecurityGroupRuleId': rule, 'SecurityGroupRule': {
    'IpProtocol': 'tcp', 'FromPort': 30080, 'ToPort': 30080, 'CidrIpv4': '198.51.100.0/24', 'Description': 'mine now'}}])";
    emulator.python_with(&given(&changed), modify);
    let refused = perform(&provider, &delete(&changed)).expect_err("changed");
    assert_eq!(refused.why, Why::Changed);
    let now = format!("it is {group}/ingress/tcp/30080/198.51.100.0/24 now");
    assert!(refused.message.contains(&now), "{}", refused.message);
    assert_eq!(rules(&emulator, &group).len(), 1);

    // made by somebody else: it is not ours
    let make = "\
ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[{'IpProtocol': 'tcp', 'FromPort': 30080,
    'ToPort': 30080, 'IpRanges': [{'CidrIp': '203.0.113.9/32'}]}])";
    emulator.python_with(&json!({"group": group}), make);
    let refused = perform(&provider, &create(&rule(&group, "203.0.113.9/32"))).expect_err("there");
    assert_eq!(refused.why, Why::Changed);
    assert!(
        refused.message.contains("this plan did not make it"),
        "{}",
        refused.message
    );
    let untagged = rules(&emulator, &group);
    let untagged = untagged
        .iter()
        .find(|rule| rule["CidrIpv4"] == "203.0.113.9/32")
        .expect("it stays");
    assert!(
        untagged["Tags"].as_array().is_none_or(Vec::is_empty),
        "and stays as it was: {untagged}"
    );

    // the group is gone
    let refused = perform(&provider, &create(&rule("sg-0123456789abcdef0", "203.0.113.7/32"))).expect_err("gone");
    assert_eq!(refused.why, Why::Gone, "{}", refused.message);
    let mut nonsense = rule(&group, "203.0.113.7/32");
    nonsense["spec"]["description"] = json!("büro");
    let refused = perform(&provider, &create(&nonsense)).expect_err("invalid");
    assert_eq!(refused.why, Why::Invalid, "{}", refused.message);
}

/// Signatures are recomputed and IAM policies evaluated; EC2 only, because the emulator cannot check EKS's.
#[test]
fn the_shipped_policies_are_enough_and_not_more_than_they_say() {
    let Some(emulator) = enforcing("aws::the_shipped_policies_are_enough_and_not_more_than_they_say") else {
        return;
    };
    let group = group(&emulator);
    let policy = |file: &str| {
        let path = format!("{}/iam/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        serde_json::from_str::<Value>(&text).expect("a policy is JSON")
    };
    let script = "\
def user(name, policy):
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName='p', PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=name)['AccessKey']
    return [key['AccessKeyId'], key['SecretAccessKey']]
image = ec2.describe_images(Owners=['amazon'])['Images'][0]['ImageId']
made = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, SubnetId=subnets[0], SecurityGroupIds=[group])
list = ec2.create_managed_prefix_list(PrefixListName='office', MaxEntries=5, AddressFamily='IPv4',
    Entries=[{'Cidr': '198.51.100.0/24'}])['PrefixList']['PrefixListId']
ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[{'IpProtocol': 'tcp', 'FromPort': 1, 'ToPort': 1,
    'PrefixListIds': [{'PrefixListId': list}]}])
admin = user('admin', {'Version': '2012-10-17', 'Statement': [{'Effect': 'Allow', 'Action': '*', 'Resource': '*'}]})
out = dict(instance=made['Instances'][0]['InstanceId'], plan=user('planner', plan), apply=user('applier', apply), admin=admin)";
    let given = json!({"group": group, "plan": policy("plan.json"), "apply": policy("apply.json")});
    let there = emulator.python_with(&given, script);
    let keys = |name: &str| {
        let text = |n: usize| there[name][n].as_str().expect("a key").to_string();
        (text(0), text(1))
    };
    emulator.enforce();
    let instance = there["instance"].as_str().expect("an id").to_string();
    let all = scope(CloudScope {
        instances: [instance].into(),
        ..CloudScope::default()
    });

    let (key, secret) = keys("plan");
    let planner = emulator.provider(1000, (&key, &secret));
    let state = read(&planner, &all);
    let unreadable: Vec<_> = state.coverage().iter().filter(|(_, why)| why.is_some()).collect();
    assert!(unreadable.is_empty(), "{unreadable:?}");
    assert_eq!(state.list(Kind::PrefixList).expect("listed").count(), 1);
    let refused = perform(&planner, &create(&rule(&group, "203.0.113.7/32"))).expect_err("denied");
    assert_eq!(refused.why, Why::Denied);
    assert!(
        refused.message.contains("ec2:AuthorizeSecurityGroupIngress"),
        "{}",
        refused.message
    );

    let wrong = emulator.provider(1000, (&key, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"));
    let state = read(&wrong, &all);
    let why = state.coverage()[&Kind::Instance].clone().expect("unreadable");
    assert_eq!(why.reason, Reason::Forbidden);
    assert!(why.detail.starts_with("AuthFailure"), "{}", why.detail);

    let (key, secret) = keys("apply");
    let applier = emulator.provider(1000, (&key, &secret));
    let object = made(&applier, &group, "203.0.113.7/32");
    let update = change(Op::Update {
        before: object.into(),
        patch: json!({"spec": {"description": "other", "tags": {"hostguard.dev/plan": null, "team": "a"}}}),
    });
    assert_eq!(wait_for(applier.may(&[&update])), Ok(Vec::new()));
    let updated = perform(&applier, &update).expect("it is changed").expect("it is there");
    assert_eq!(perform(&applier, &delete(&updated)), Ok(None));
}

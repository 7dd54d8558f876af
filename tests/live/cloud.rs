//! A plan over both layers, end to end: a real API server, and the strict EC2 in front of its nodes.

use serde_json::{Value, json};

use super::workshop::{content, controller};
use crate::support::aws::{Emulator, aws};
use crate::support::cluster::{command_on, plan_file};
use crate::support::command::{Ran, finish};
use crate::support::control_plane::{ControlPlane, Identity};
use crate::support::live::live;
use crate::support::metadata::Metadata;
use crate::support::world::{self, Node};

const REGION: (&str, &str) = ("topology.kubernetes.io/region", "us-east-2");

/// The workshop's cluster on EC2: three nodes in two reservations, their group, and rules of somebody else. Returns the
/// public address of the first node, and its group.
fn workshop(server: &ControlPlane, aws: &Emulator) -> (String, String) {
    let script = "\
vpc = ec2.create_vpc(CidrBlock='192.168.0.0/16')['Vpc']['VpcId']
subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f'192.168.{n}.0/24')['Subnet']['SubnetId'] for n in (1, 2)]
ec2.modify_subnet_attribute(SubnetId=subnets[0], MapPublicIpOnLaunch={'Value': True})
role = iam.create_role(RoleName='eks', AssumeRolePolicyDocument='{}')['Role']['Arn']
eks.create_cluster(name='calicocloud-workshop', roleArn=role, resourcesVpcConfig={'subnetIds': subnets})
group = eks.describe_cluster(name='calicocloud-workshop')['cluster']['resourcesVpcConfig']['clusterSecurityGroupId']
other = ec2.create_security_group(GroupName='remote', Description='x', VpcId=vpc)['GroupId']
image = ec2.describe_images(Owners=['amazon'])['Images'][0]['ImageId']
out = []
for count, subnet, groups in ((1, 0, [other, group]), (2, 1, [group])):
    made = ec2.run_instances(ImageId=image, MinCount=count, MaxCount=count, SubnetId=subnets[subnet], SecurityGroupIds=groups)
    ids = [i['InstanceId'] for i in made['Instances']]
    for i in ec2.describe_instances(InstanceIds=ids)['Reservations'][0]['Instances']:
        out.append([i['InstanceId'], i['PrivateIpAddress'], i.get('PublicIpAddress')])
ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
    {'IpProtocol': '-1', 'UserIdGroupPairs': [{'GroupId': group}]},
    {'IpProtocol': 'tcp', 'FromPort': 22, 'ToPort': 22, 'IpRanges': [{'CidrIp': '10.0.0.0/8', 'Description': 'ours'}]}])
out = dict(nodes=out, group=group)";
    let there = aws.python(script);
    world::fresh_calico(server);
    for (n, node) in there["nodes"].as_array().expect("nodes").iter().enumerate() {
        let text = |at: usize| node[at].as_str();
        let mut made = Node::named(&format!("node-{n}"))
            .label(REGION.0, REGION.1)
            .provider_id(&format!("aws:///us-east-2a/{}", text(0).expect("an id")))
            .internal_ip(text(1).expect("an address"));
        if let Some(public) = text(2) {
            made = made.external_ip(public);
        }
        made.create(server);
    }
    world::namespace(server, "hipstershop");
    let container = json!({"name": "server", "image": "frontend"});
    server
        .rest()
        .create(&world::workload("Deployment", "hipstershop", "frontend", container));
    world::pod(server, "hipstershop", "frontend", "node-0", "10.0.1.71");
    let public = there["nodes"][0][2].as_str().expect("the first node is public");
    let group = there["group"].as_str().expect("a group");
    (public.to_string(), group.to_string())
}

/// All rules of the account, as boto3 sees them.
fn rules(aws: &Emulator) -> Vec<Value> {
    let script = "\
pages = ec2.get_paginator('describe_security_group_rules').paginate()
out = sorted([r for page in pages for r in page['SecurityGroupRules']], key=lambda r: r['SecurityGroupRuleId'])";
    aws.python(script).as_array().expect("rules").clone()
}

fn hostguard(server: &ControlPlane, variables: &[(&str, &str)], args: &[&str]) -> Ran {
    let mut command = command_on(server, Identity::Admin, args);
    command.envs(variables.iter().copied());
    finish(command.output().expect("the binary under test starts"))
}

#[track_caller]
fn done(ran: &Ran, code: i32) {
    assert_eq!(ran.code, code, "stdout:\n{}\nstderr:\n{}", ran.stdout, ran.stderr);
}

const PLAN: &str = "plans/eks-workshop.yaml";
const TRUSTED: &str = "trusted=203.0.113.7/32";

#[test]
fn the_workshop_in_one_file_opens_both_layers_and_leaves_nothing_of_ours() {
    let Some(aws) = aws!() else { return };
    let Some(server) = live!() else { return };
    let (public, group) = workshop(&server, &aws);
    let _controller = controller(&server);
    let endpoint = aws.endpoint();
    let variables = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", "testing"),
        ("AWS_SECRET_ACCESS_KEY", "s3cret-testing"),
    ];
    let run = |args: &[&str]| hostguard(&server, &variables, args);
    let (before, theirs) = (content(&server), rules(&aws));
    let why = |from: &str| run(&["why", from, &format!("{public}:30080/tcp"), "--with-cloud"]);

    let planned = run(&["plan", PLAN, "--set", TRUSTED, "--detailed-exitcode"]);
    done(&planned, 2);
    let name = format!("SecurityGroupRule/{group}/ingress/tcp/30080/203.0.113.7/32");
    assert!(planned.stdout.contains(&name), "{}", planned.stdout);
    assert!(
        planned.stderr.contains(&format!("asked: AWS, ec2 at {endpoint}")),
        "{}",
        planned.stderr
    );
    assert!(!planned.stderr.contains("s3cret"), "{}", planned.stderr);
    assert_eq!(
        (content(&server), rules(&aws)),
        (before.clone(), theirs.clone()),
        "plan writes nothing"
    );

    let applied = run(&["apply", PLAN, "--set", TRUSTED, "--yes"]);
    done(&applied, 0);
    let ours: Vec<Value> = rules(&aws).into_iter().filter(|rule| !theirs.contains(rule)).collect();
    assert_eq!(ours.len(), 1, "{ours:?}");
    assert_eq!(ours[0]["GroupId"], group);
    assert_eq!(ours[0]["CidrIpv4"], "203.0.113.7/32");
    assert_eq!(
        (&ours[0]["FromPort"], &ours[0]["ToPort"]),
        (&json!(30080), &json!(30080))
    );

    let again = run(&["plan", PLAN, "--set", TRUSTED, "--detailed-exitcode"]);
    done(&again, 0);
    assert!(again.stdout.contains("Nothing to do"), "{}", again.stdout);
    done(&run(&["apply", PLAN, "--set", TRUSTED, "--yes"]), 0);

    // Both layers let the trusted client through, and neither the other; nobody makes endpoints here, so that there is
    // nothing behind the port.
    let trusted = why("203.0.113.7").stdout;
    assert!(trusted.contains("security-group       pass"), "{trusted}");
    assert!(
        trusted.contains(&format!("security group {group}: tcp/30080 from 203.0.113.7/32")),
        "{trusted}"
    );
    assert!(trusted.contains("mangle-prerouting    accept"), "{trusted}");
    let untrusted = why("198.51.100.7").stdout;
    assert!(!untrusted.contains("security-group       pass"), "{untrusted}");
    assert!(untrusted.contains("blocked"), "{untrusted}");

    done(&run(&["destroy", PLAN, "--yes"]), 0);
    assert_eq!(rules(&aws), theirs, "nothing of ours, everything of theirs");
    done(&run(&["destroy", PLAN, "--yes"]), 0);
}

/// On an instance there is nothing to configure: region, credentials and the own address come from its metadata service.
#[test]
fn on_an_instance_everything_comes_from_its_metadata() {
    let Some(aws) = aws!() else { return };
    let Some(server) = live!() else { return };
    workshop(&server, &aws);
    let (endpoint, metadata) = (aws.endpoint(), Metadata::start(Some("198.51.100.200")));
    let at = metadata.endpoint();
    let variables = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", at.as_str()),
    ];
    let plan = plan_file(
        "inputs:\n  me: { type: cidr, lookup: { from: imds/public-ipv4 } }\n\
         networkSets:\n  operator: { labels: { role: operator }, nets: [ \"${me}\" ] }\n",
    );
    let ran = hostguard(&server, &variables, &["plan", plan.path()]);
    done(&ran, 0);
    assert!(ran.stdout.contains("198.51.100.200/32"), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("imds/public-ipv4"),
        "its provenance: {}",
        ran.stdout
    );
    let asked = metadata.asked();
    for path in [
        "/latest/api/token",
        "/latest/meta-data/public-ipv4",
        "/latest/meta-data/iam/security-credentials/node-role",
    ] {
        assert!(asked.iter().any(|asked| asked == path), "{path} in {asked:?}");
    }

    let homeless = Metadata::start(None);
    let at = homeless.endpoint();
    let variables = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", at.as_str()),
    ];
    let ran = hostguard(&server, &variables, &["plan", plan.path()]);
    assert_ne!(ran.code, 0);
    assert!(ran.stderr.contains("has no public IPv4 address"), "{}", ran.stderr);
}

/// Without credentials the rest of the plan is shown, what is not known is said, and nothing is applied.
#[test]
fn without_credentials_the_cloud_is_unreadable_and_nothing_is_written() {
    let Some(aws) = aws!() else { return };
    let Some(server) = live!() else { return };
    workshop(&server, &aws);
    let (before, theirs) = (content(&server), rules(&aws));
    let endpoint = aws.endpoint();
    let variables = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    let ran = hostguard(&server, &variables, &["apply", PLAN, "--set", TRUSTED, "--yes"]);
    assert_ne!(ran.code, 0);
    assert!(ran.stderr.contains("no AWS credentials"), "{}", ran.stderr);
    assert_eq!((content(&server), rules(&aws)), (before, theirs));
}

//! The table itself, top down: the document, the cluster, the inputs. `sections.rs`, `promises.rs`,
//! `cloud.rs` and `gates.rs` go on.

use super::cloud::CLOUD;
use super::gates::{GATES, WAIVER};
use super::promises::{EXPECT, FLOW};
use super::sections::{CLAIM, HOST_ENDPOINTS, NETWORK_SET, NODE_GROUP, POLICY, SERVICE, TIER};
use super::{Choice, Field, Form, Object, Section, Type};

const API_VERSION: &str = "hostguard.dev/v1alpha1";
pub(crate) const KIND: &str = "HostProtection";

pub(super) const fn optional(name: &'static str, ty: Type, doc: &'static str, example: &'static str) -> Field {
    Field {
        name,
        ty,
        required: false,
        doc,
        example,
    }
}

pub(super) const fn required(name: &'static str, ty: Type, doc: &'static str, example: &'static str) -> Field {
    Field {
        name,
        ty,
        required: true,
        doc,
        example,
    }
}

/// A whole plan.
pub(crate) static PLAN: Object = Object {
    noun: "a plan",
    choice: &[],
    fields: &[
        required(
            "apiVersion",
            Type::Word(&[API_VERSION]),
            "The version of the plan language.",
            API_VERSION,
        ),
        required("kind", Type::Word(&[KIND]), "What this document is.", KIND),
        required(
            "metadata",
            Type::Object(&METADATA),
            "What identifies the plan.",
            "{ name: eks-frontend }",
        ),
        required(
            "spec",
            Type::Object(&SPEC),
            "What should be so.",
            "{ cluster: { platform: generic } }",
        ),
    ],
};

static METADATA: Object = Object {
    noun: "metadata",
    choice: &[],
    fields: &[required(
        "name",
        Type::Name(Form::Label),
        "The plan's name: what it owns in the cluster is recorded under it. A renamed plan is another plan.",
        "eks-frontend",
    )],
};

static SPEC: Object = Object {
    noun: "a plan's spec",
    choice: &[],
    fields: &[
        required(
            "cluster",
            Type::Object(&CLUSTER),
            "Which cluster the plan is for.",
            "{ platform: eks, name: shop }",
        ),
        optional(
            "inputs",
            Type::Map(Form::Input, &Type::Object(&INPUT)),
            "Values that differ from run to run, used as `${name}`. Each comes from --set NAME=VALUE, else --inputs FILE, \
             else HOSTGUARD_INPUT_NAME, else its lookup, else its default.",
            "{ trusted: { type: cidr } }",
        ),
        optional(
            "hostEndpoints",
            Type::Object(&HOST_ENDPOINTS),
            "Automatic host endpoints: Calico's objects for the nodes' own interfaces, without which no policy reaches a node.",
            "{ autoCreate: Enabled }",
        ),
        optional(
            "nodes",
            Type::Map(Form::Label, &Type::Object(&NODE_GROUP)),
            "Groups of nodes, and the labels they get.",
            "{ guarded: { all: true, labels: { host-end-point: test } } }",
        ),
        optional(
            "services",
            Type::Map(Form::ServiceLabel, &Type::Object(&SERVICE)),
            "NodePort Services: made by this plan in front of a workload, or there already.",
            "{ frontend: { existing: shop/frontend } }",
        ),
        optional(
            "tiers",
            Type::Map(Form::Label, &Type::Object(&TIER)),
            "Calico tiers that hold this plan's policies.",
            "{ security: { order: 500 } }",
        ),
        optional(
            "networkSets",
            Type::Map(Form::Label, &Type::Object(&NETWORK_SET)),
            "Named sets of networks; policies select them by their labels.",
            "{ partners: { labels: { role: partner }, nets: [203.0.113.0/24] } }",
        ),
        optional(
            "policies",
            Type::Map(Form::Policy, &Type::Object(&POLICY)),
            "Calico GlobalNetworkPolicies by name: `tier.name`, or a bare name in tier `default`.",
            "{ security.web: { spec: { selector: all(), ingress: [{ action: Deny }] } } }",
        ),
        optional(
            "claims",
            Type::List(&Type::Object(&CLAIM), 0),
            "Fields of objects that others own. Their values go back to what was found when the plan no longer claims them.",
            "[{ kind: FelixConfiguration, name: default, set: { logSeverityScreen: Info } }]",
        ),
        optional(
            "cloud",
            Type::List(&Type::Object(&CLOUD), 0),
            "Rules of the cloud's own firewall in front of the nodes: of AWS, with `platform: eks` or nodes that are instances.",
            "[{ allow: { to: guarded, service: frontend, from: [203.0.113.0/24] } }]",
        ),
        optional(
            "expect",
            Type::List(&Type::Object(&EXPECT), 0),
            "What must be open or blocked when all is done.",
            "[{ from: others, to: guarded, service: frontend, is: blocked }]",
        ),
        optional(
            "neverOpen",
            Type::List(&Type::Object(&FLOW), 0),
            "Flows that no step may open, and that are not open in the end.",
            "[{ from: internet, to: guarded, ports: [tcp/10250] }]",
        ),
        optional(
            "neverClose",
            Type::List(&Type::Object(&FLOW), 0),
            "Flows that no step may cut: what is open before is open in the end.",
            "[{ from: 192.0.2.0/24, to: guarded, ports: [tcp/22] }]",
        ),
        optional(
            "gates",
            Type::Object(&GATES),
            "What a plan has to pass before it is applied, beside its promises: levels of findings, and rules of your own.",
            "{ levels: { HG0534: error } }",
        ),
        optional(
            "waivers",
            Type::List(&Type::Object(&WAIVER), 0),
            "Findings that are let through until a day. Every answer prints them.",
            "[{ code: HG1001, subject: tcp/30080, reason: public shop front, owner: team-shop, expires: 2026-12-31 }]",
        ),
    ],
};

static CLUSTER: Object = Object {
    noun: "a cluster",
    choice: &[],
    fields: &[
        required(
            "platform",
            Type::Word(&["eks", "aks", "gke", "kubeadm", "rke2", "generic"]),
            "What kind of cluster it is: decides the API server's port, interface names and what stands in front.",
            "eks",
        ),
        optional(
            "name",
            Type::Text,
            "A name for people: shown in every answer, not verified.",
            "shop",
        ),
        optional(
            "uid",
            Type::Name(Form::Uid),
            "The uid of namespace kube-system. With it, hostguard refuses to touch any other cluster.",
            "7f9a4c0e-8f0b-4b5e-9d0a-1c2d3e4f5a6b",
        ),
    ],
};

static INPUT: Object = Object {
    noun: "an input",
    choice: &[],
    fields: &[
        required(
            "type",
            Type::Word(&["cidr", "cidrs", "ip", "port", "string"]),
            "What the value must be. `cidrs` is a list, on the command line separated by commas; an `ip` becomes /32 or \
             /128 where a network is meant; only a `string` may stand inside a longer text.",
            "cidr",
        ),
        optional(
            "description",
            Type::Text,
            "What the value is for, for the person who must give it.",
            "who may reach it",
        ),
        optional(
            "default",
            Type::Default,
            "The value when none is given. May use other inputs.",
            "203.0.113.0/24",
        ),
        optional(
            "lookup",
            Type::Object(&LOOKUP),
            "Takes the value from live state when the plan is made; for inputs of type ip, cidr and cidrs.",
            "{ from: node/address, group: guarded, address: InternalIP }",
        ),
    ],
};

/// Sources of lookups that work.
pub(crate) const NODE_ADDRESS: &str = "node/address";
pub(crate) const OWN_ADDRESS: &str = "imds/public-ipv4";
pub(crate) const AWS_INSTANCE: &str = "aws/instance";

static LOOKUP: Object = Object {
    noun: "a lookup",
    choice: &[
        Choice {
            needs: &["node", "address"],
            may: &["family"],
        },
        Choice {
            needs: &["group", "address"],
            may: &["family"],
        },
        Choice {
            needs: &["instance"],
            may: &["address", "family"],
        },
        Choice {
            needs: &["vm"],
            may: &["resourceGroup", "address", "family"],
        },
        Choice { needs: &[], may: &[] },
    ],
    fields: &[
        required(
            "from",
            Type::Word(&[NODE_ADDRESS, OWN_ADDRESS, AWS_INSTANCE, "azure/vm"]),
            "What is asked. `node/address` reads a node of the cluster, `aws/instance` an instance of AWS, \
             `imds/public-ipv4` the AWS instance that hostguard runs on; `azure/vm` comes in a later version.",
            NODE_ADDRESS,
        ),
        optional("node", Type::Name(Form::Subdomain), "The node, by name.", "worker-1"),
        optional(
            "group",
            Type::Ref(Section::Nodes),
            "The only node of a group of this plan.",
            "guarded",
        ),
        optional(
            "address",
            Type::Word(&["InternalIP", "ExternalIP"]),
            "Which of its addresses.",
            "InternalIP",
        ),
        optional(
            "family",
            Type::Word(&["IPv4", "IPv6"]),
            "Which family, where it has both. IPv4 when not written.",
            "IPv4",
        ),
        optional(
            "instance",
            Type::Name(super::Form::Instance),
            "The AWS instance; its public address, unless `address` says InternalIP.",
            "i-0123456789abcdef0",
        ),
        optional("vm", Type::Text, "The Azure virtual machine.", "client"),
        optional("resourceGroup", Type::Text, "Its resource group.", "shop"),
    ],
};

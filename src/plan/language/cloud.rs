//! The table of the cloud's own firewall.

use super::promises::SERVICE_OR_PORTS;
use super::table::{optional, required};
use super::{Choice, Form, Object, Section, Type};

pub(super) static CLOUD: Object = Object {
    noun: "a cloud rule",
    choice: &[],
    fields: &[required(
        "allow",
        Type::Object(&ALLOW),
        "What the firewall in front of the nodes lets through.",
        "{ to: guarded, service: frontend, from: [203.0.113.0/24] }",
    )],
};

static ALLOW: Object = Object {
    noun: "an allow",
    choice: SERVICE_OR_PORTS,
    fields: &[
        required(
            "to",
            Type::Ref(Section::Nodes),
            "The nodes. The rules go into a security group of theirs, and hold for everything in it.",
            "guarded",
        ),
        optional(
            "service",
            Type::Ref(Section::Services),
            "The service, at its node ports.",
            "frontend",
        ),
        optional(
            "ports",
            Type::List(&Type::ProtocolPort, 1),
            "The ports of the nodes themselves, as protocol/port; tcp or udp.",
            "[tcp/9100]",
        ),
        required(
            "from",
            Type::List(&SOURCE, 1),
            "The sources, as they arrive at the nodes: networks, prefix lists, or what is in a security group.",
            "[203.0.113.0/24, { prefixList: pl-0123456789abcdef0 }]",
        ),
        optional(
            "securityGroup",
            Type::Name(Form::SecurityGroup),
            "Which security group, where the nodes have several. Found when not written: the EKS cluster's own where the \
             nodes have it, else the only one of their first interfaces.",
            "sg-0123456789abcdef0",
        ),
    ],
};

static SOURCE: Type = Type::Either(&Type::Cidr, &PEER);

static PEER: Object = Object {
    noun: "a source by its id",
    choice: &[
        Choice {
            needs: &["prefixList"],
            may: &[],
        },
        Choice {
            needs: &["securityGroup"],
            may: &[],
        },
    ],
    fields: &[
        optional(
            "prefixList",
            Type::Name(Form::PrefixList),
            "The networks of a prefix list, now and later.",
            "pl-0123456789abcdef0",
        ),
        optional(
            "securityGroup",
            Type::Name(Form::SecurityGroup),
            "What is in a security group, by its private addresses: a load balancer's nodes, for one.",
            "sg-0123456789abcdef0",
        ),
    ],
};

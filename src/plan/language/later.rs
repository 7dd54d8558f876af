//! The table of what a later version brings: read and checked for references already, then refused.

use super::table::{optional, required};
use super::{Choice, Object, Section, Type};

pub(super) static GUARD: Object = Object {
    noun: "a guard",
    choice: &[
        Choice {
            needs: &["allowOnly"],
            may: &[],
        },
        Choice {
            needs: &["deny"],
            may: &[],
        },
    ],
    fields: &[
        required("nodes", Type::Ref(Section::Nodes), "The nodes it protects.", "guarded"),
        optional(
            "service",
            Type::Ref(Section::Services),
            "The service it protects.",
            "frontend",
        ),
        optional(
            "ports",
            Type::List(&Type::ProtocolPort, 1),
            "The ports of the nodes themselves it protects.",
            "[tcp/9100]",
        ),
        optional(
            "allowOnly",
            Type::List(&Type::Cidr, 0),
            "Only these may connect.",
            "[203.0.113.0/24]",
        ),
        optional(
            "deny",
            Type::List(&Type::Cidr, 1),
            "These may not connect.",
            "[203.0.113.7/32]",
        ),
    ],
};

pub(super) static CLOUD: Object = Object {
    noun: "a cloud rule",
    choice: &[],
    fields: &[required(
        "allow",
        Type::Object(&ALLOW),
        "What the firewall lets through.",
        "{ to: guarded, from: [0.0.0.0/0] }",
    )],
};

pub(super) static ALLOW: Object = Object {
    noun: "an allow",
    choice: &[],
    fields: &[
        required("to", Type::Ref(Section::Nodes), "The nodes.", "guarded"),
        optional("service", Type::Ref(Section::Services), "The service.", "frontend"),
        optional(
            "ports",
            Type::List(&Type::ProtocolPort, 1),
            "Ports of the nodes themselves.",
            "[tcp/9100]",
        ),
        required("from", Type::List(&Type::Cidr, 1), "The sources.", "[0.0.0.0/0]"),
    ],
};

pub(super) static EXPECT: Object = Object {
    noun: "an expectation",
    choice: &[],
    fields: &[
        required(
            "from",
            Type::From,
            "The source; `others` is every source not expected open there.",
            "others",
        ),
        required("to", Type::Ref(Section::Nodes), "The nodes.", "guarded"),
        optional("service", Type::Ref(Section::Services), "The service.", "frontend"),
        optional(
            "ports",
            Type::List(&Type::ProtocolPort, 1),
            "Ports of the nodes themselves.",
            "[tcp/22]",
        ),
        required("is", Type::Word(&["open", "blocked"]), "What must be so.", "blocked"),
    ],
};

pub(super) static FLOW: Object = Object {
    noun: "a flow",
    choice: &[],
    fields: &[
        required("from", Type::From, "The source.", "internet"),
        required("to", Type::Ref(Section::Nodes), "The nodes.", "guarded"),
        optional("service", Type::Ref(Section::Services), "The service.", "frontend"),
        optional(
            "ports",
            Type::List(&Type::ProtocolPort, 1),
            "Ports of the nodes themselves.",
            "[tcp/22]",
        ),
    ],
};

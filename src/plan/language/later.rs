//! The table of what a later version brings: read and checked for references already, then refused.

use super::table::{optional, required};
use super::{Object, Section, Type};

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

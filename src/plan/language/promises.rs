//! The table of what is promised about traffic: guards, expectations, and flows that no step may open or cut.

use super::table::{optional, required};
use super::{Choice, Object, Section, Type};

const SERVICE: Type = Type::Ref(Section::Services);
const PORTS: Type = Type::List(&Type::ProtocolPort, 1);
pub(super) const SERVICE_OR_PORTS: &[Choice] = &[
    Choice {
        needs: &["service"],
        may: &[],
    },
    Choice {
        needs: &["ports"],
        may: &[],
    },
];
const PORTS_DOC: &str = "The ports of the nodes themselves, as protocol/port.";

pub(super) static GUARD: Object = Object {
    noun: "a guard",
    choice: &[
        Choice {
            needs: &["service", "allowOnly"],
            may: &[],
        },
        Choice {
            needs: &["ports", "allowOnly"],
            may: &[],
        },
        Choice {
            needs: &["service", "deny"],
            may: &[],
        },
        Choice {
            needs: &["ports", "deny"],
            may: &[],
        },
    ],
    fields: &[
        required(
            "nodes",
            Type::Ref(Section::Nodes),
            "The nodes it protects. On every other node everything stays as it is.",
            "guarded",
        ),
        optional(
            "service",
            SERVICE,
            "The service it protects, at its node ports.",
            "frontend",
        ),
        optional("ports", PORTS, PORTS_DOC, "[tcp/9100]"),
        optional(
            "allowOnly",
            Type::List(&SOURCE, 0),
            "Only these may connect, beside the nodes of the cluster themselves; pods count as anybody else. An empty list \
             lets in the nodes alone.",
            "[203.0.113.0/24, { networkSet: partners }]",
        ),
        optional(
            "deny",
            Type::List(&SOURCE, 1),
            "These may not connect, the nodes of the cluster themselves excepted; everybody else fares as before.",
            "[203.0.113.7/32]",
        ),
        optional(
            "order",
            Type::Number,
            "The policy's place in its tier, lower first. Last when not written.",
            "100",
        ),
    ],
};

/// A source of a guard.
static SOURCE: Type = Type::Either(&Type::Cidr, &SET);

static SET: Object = Object {
    noun: "a source by network set",
    choice: &[
        Choice {
            needs: &["networkSet"],
            may: &[],
        },
        Choice {
            needs: &["matchLabels"],
            may: &[],
        },
    ],
    fields: &[
        optional(
            "networkSet",
            Type::Ref(Section::NetworkSets),
            "A network set of this plan; the policy selects it by its labels.",
            "partners",
        ),
        optional(
            "matchLabels",
            Type::Labels,
            "Every network set with all of these labels, of this plan or there already, now and later.",
            "{ role: partner }",
        ),
    ],
};

/// Who sends, where it is no network.
static SENDERS: Object = Object {
    noun: "a source by name or label",
    choice: &[
        Choice {
            needs: &["networkSet"],
            may: &[],
        },
        Choice {
            needs: &["matchLabels"],
            may: &[],
        },
        Choice {
            needs: &["pods"],
            may: &["namespace"],
        },
    ],
    fields: &[
        optional(
            "networkSet",
            Type::Ref(Section::NetworkSets),
            "The networks of a network set of this plan.",
            "partners",
        ),
        optional(
            "matchLabels",
            Type::Labels,
            "The networks of every network set with all of these labels.",
            "{ role: partner }",
        ),
        optional(
            "pods",
            Type::Labels,
            "The pods with all of these labels.",
            "{ app: client }",
        ),
        optional(
            "namespace",
            Type::Name(super::Form::Label),
            "Only pods of this namespace.",
            "shop",
        ),
    ],
};

const FROM: Type = Type::Either(&Type::From, &SENDERS);
const FROM_DOC: &str = "Who connects: a network, which stands for clients outside the cluster; `internet`, every public \
                        address; `others`, every source outside the cluster that no expectation says is open there; \
                        `node/NAME`; a network set; or pods by label.";
const TO_DOC: &str = "The nodes, each by every address of its own.";

pub(super) static EXPECT: Object = Object {
    noun: "an expectation",
    choice: SERVICE_OR_PORTS,
    fields: &[
        required("from", FROM, FROM_DOC, "others"),
        required("to", Type::Ref(Section::Nodes), TO_DOC, "guarded"),
        optional("service", SERVICE, "A service, at its node ports.", "frontend"),
        optional("ports", PORTS, PORTS_DOC, "[tcp/22]"),
        required(
            "is",
            Type::Word(&["open", "blocked"]),
            "What must be so once everything is done, for every source, node, port and family named.",
            "blocked",
        ),
    ],
};

pub(super) static FLOW: Object = Object {
    noun: "a flow",
    choice: SERVICE_OR_PORTS,
    fields: &[
        required("from", FROM, FROM_DOC, "internet"),
        required("to", Type::Ref(Section::Nodes), TO_DOC, "guarded"),
        optional("service", SERVICE, "A service, at its node ports.", "frontend"),
        optional("ports", PORTS, PORTS_DOC, "[tcp/22]"),
    ],
};

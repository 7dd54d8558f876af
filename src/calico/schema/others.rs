//! HostEndpoint, the network sets and Tier (`api/pkg/apis/projectcalico/v3/hostendpoint.go`, `globalnetworkset.go`,
//! `networkset.go`, `tier.go`).

use super::metadata::top_level_metadata;
use super::*;

pub(super) static HOST_ENDPOINT: Field = object(
    "",
    &[
        text("apiVersion"),
        text("kind"),
        top_level_metadata(),
        object(
            "spec",
            &[
                list("expectedIPs", &set_of(text("").check(Check::Ip))),
                text("interfaceName").longest(15).check(Check::Interface),
                text("node").longest(253).check(Check::Name),
                list("ports", &ENDPOINT_PORTS),
                list("profiles", &set_of(text("").check(Check::Name))),
            ],
        )
        .required()
        .always(),
    ],
);

static ENDPOINT_PORTS: List = list_of(object(
    "",
    &[
        text("name").required().always().check(Check::PortName),
        integer("port").width(Width::U16).within(1, 65535).required().always(),
        protocol("protocol").required().always(),
    ],
));

pub(super) static GLOBAL_NETWORK_SET: Field = object("", NETWORK_SET_FIELDS);

pub(super) static NETWORK_SET: Field = object("", NETWORK_SET_FIELDS);

const NETWORK_SET_FIELDS: &[Field] = &[
    text("apiVersion"),
    text("kind"),
    top_level_metadata(),
    object("spec", &[list("nets", &set_of(text("").check(Check::Cidr)))])
        .required()
        .always(),
];

pub(super) static TIER: Field = object(
    "",
    &[
        text("apiVersion"),
        text("kind"),
        top_level_metadata(),
        object(
            "spec",
            &[
                choice("defaultAction", &["Pass", "Deny"]).default("Deny").kept(),
                number("order").kept(),
            ],
        )
        .required()
        .always(),
        object("status", &[list("conditions", &CONDITIONS)]).always(),
    ],
);

static CONDITIONS: List = List {
    kind: ListKind::Map("type"),
    least: 0,
    most: usize::MAX,
    item: object(
        "",
        &[
            field("lastTransitionTime", Type::Time).required().always(),
            text("message").longest(32768).required().always(),
            integer("observedGeneration").within(0, i64::MAX),
            text("reason")
                .longest(1024)
                .form(Form::ConditionReason)
                .required()
                .always(),
            choice("status", &["True", "False", "Unknown"]).required().always(),
            text("type").longest(316).form(Form::ConditionType).required().always(),
        ],
    ),
};

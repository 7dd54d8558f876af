//! GlobalNetworkPolicy and NetworkPolicy (`api/pkg/apis/projectcalico/v3/policy_common.go`, `globalnetworkpolicy.go`,
//! `networkpolicy.go`).

use super::metadata::top_level_metadata;
use super::*;

pub(super) static GLOBAL_NETWORK_POLICY: Field = object(
    "",
    &[
        text("apiVersion"),
        text("kind"),
        top_level_metadata(),
        object(
            "spec",
            &[
                flag("applyOnForward"),
                flag("doNotTrack"),
                list("egress", &RULES),
                list("ingress", &RULES),
                selector("namespaceSelector").longest(1024),
                number("order").kept(),
                list("performanceHints", &HINTS).check(Check::Unique),
                flag("preDNAT"),
                selector("selector").longest(1024),
                selector("serviceAccountSelector").longest(1024),
                tier(),
                list("types", &TYPES),
            ],
        )
        .required()
        .always(),
    ],
);

pub(super) static NETWORK_POLICY: Field = object(
    "",
    &[
        text("apiVersion"),
        text("kind"),
        top_level_metadata(),
        object(
            "spec",
            &[
                list("egress", &RULES),
                list("ingress", &RULES),
                number("order").kept(),
                list("performanceHints", &HINTS).check(Check::Unique),
                selector("selector").longest(1024),
                selector("serviceAccountSelector").longest(1024),
                tier(),
                list("types", &TYPES),
            ],
        )
        .required()
        .always(),
    ],
);

const fn selector(name: &'static str) -> Field {
    text(name).check(Check::Selector)
}

const fn tier() -> Field {
    text("tier").default("default").check(Check::Name)
}

static HINTS: List = set_of(choice("", &["AssumeNeededOnEveryNode"]));

static TYPES: List = set_of(choice("", &["Ingress", "Egress"])).sized(1, 2);

static RULES: List = list_of(object(
    "",
    &[
        choice("action", &["Allow", "Deny", "Log", "Pass"]).required().always(),
        object("destination", ENTITY),
        object(
            "http",
            &[
                list("methods", &list_of(text("")).sized(0, 20)),
                list(
                    "paths",
                    &list_of(object("", &[text("exact").longest(1024), text("prefix").longest(1024)])).sized(0, 20),
                ),
            ],
        )
        .kept(),
        object("icmp", ICMP).kept(),
        field("ipVersion", Type::Choice(&[4, 6])).kept(),
        object("metadata", &[map("annotations")]).kept(),
        object("notICMP", ICMP).kept(),
        protocol("notProtocol").kept(),
        protocol("protocol").kept(),
        object("source", ENTITY),
    ],
))
.sized(0, 1024);

const ICMP: &[Field] = &[
    integer("code").within(0, 255).kept(),
    integer("type").within(0, 254).kept(),
];

const ENTITY: &[Field] = &[
    selector("namespaceSelector").longest(1024),
    list("nets", &NETS),
    list("notNets", &NETS),
    list("notPorts", &PORTS),
    selector("notSelector").longest(1024),
    list("ports", &PORTS),
    selector("selector").longest(1024),
    object(
        "serviceAccounts",
        &[list("names", &set_of(text(""))), selector("selector")],
    )
    .kept(),
    object(
        "services",
        &[
            text("name").longest(253).check(Check::Name),
            text("namespace").longest(253).check(Check::Name),
        ],
    )
    .kept(),
];

static NETS: List = set_of(text("").check(Check::Net)).sized(0, 256);

static PORTS: List = list_of(port("")).sized(0, 50);

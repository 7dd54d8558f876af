//! KubeControllersConfiguration (`api/pkg/apis/projectcalico/v3/kubecontrollersconfig.go`).

use super::metadata::top_level_metadata;
use super::*;

pub(super) static KUBE_CONTROLLERS_CONFIGURATION: Field = object(
    "",
    &[
        text("apiVersion"),
        text("kind"),
        top_level_metadata(),
        object("spec", SPEC).required().always(),
        object(
            "status",
            &[map("environmentVars"), object("runningConfig", SPEC).kept()],
        )
        .always(),
    ],
);

const SPEC: &[Field] = &[
    object("controllers", CONTROLLERS).required().always(),
    integer("debugProfilePort").width(Width::I32).within(0, 65535).kept(),
    duration("etcdV3CompactionPeriod").kept(),
    choice("healthChecks", ENABLED).default("Enabled"),
    choice(
        "logSeverityScreen",
        &["None", "Debug", "Info", "Warning", "Error", "Fatal", "Panic"],
    ),
    integer("prometheusMetricsPort").within(0, 65535).kept(),
];

const ENABLED: &[&str] = &["Enabled", "Disabled"];

const CONTROLLERS: &[Field] = &[
    object(
        "loadBalancer",
        &[choice("assignIPs", &["AllServices", "RequestedServicesOnly"]).default("AllServices")],
    )
    .kept(),
    object("migration", &[choice("policyNameMigrator", ENABLED).default("Enabled")]).kept(),
    object("namespace", RECONCILED).kept(),
    object(
        "node",
        &[
            object(
                "hostEndpoint",
                &[
                    choice("autoCreate", ENABLED),
                    text("createDefaultHostEndpoint").check(Check::OneOf(ENABLED)),
                    list("templates", TEMPLATES),
                ],
            )
            .kept(),
            duration("leakGracePeriod").kept(),
            duration("reconcilerPeriod").kept(),
            choice("syncLabels", ENABLED),
        ],
    )
    .kept(),
    object("policy", RECONCILED).kept(),
    object("serviceAccount", RECONCILED).kept(),
    object("workloadEndpoint", RECONCILED).kept(),
];

const RECONCILED: &[Field] = &[duration("reconcilerPeriod").kept()];

const TEMPLATES: &List = &list_of(object(
    "",
    &[
        map("annotations"),
        text("generateName").longest(253).check(Check::Name),
        list("interfaceCIDRs", &set_of(text(""))).check(Check::Cidrs),
        text("interfacePattern").check(Check::Regexp),
        map("labels").check(Check::Labels),
        text("nodeSelector").check(Check::Selector),
    ],
));

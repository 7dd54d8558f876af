//! The table of the sections of a plan: what is wanted of the cluster.

use super::promises::GUARD;
use super::table::{optional, required};
use super::{Choice, Form, Object, Type};

const PORT: Type = Type::Integer(1, 65535);

pub(super) static HOST_ENDPOINTS: Object = Object {
    noun: "hostEndpoints",
    choice: &[],
    fields: &[
        optional(
            "autoCreate",
            Type::Switch(&["Enabled", "Disabled"]),
            "Whether Calico keeps a host endpoint for every node (KubeControllersConfiguration `default`). By itself it \
             changes no traffic: the endpoints come with an allow profile.",
            "Enabled",
        ),
        optional(
            "flowLogs",
            Type::Switch(&["Enabled", "Disabled", "IfSupported"]),
            "Flow logs of host endpoints, which only Calico Enterprise and Cloud have. `Enabled` is refused where the \
             edition lacks them; `IfSupported` is listed as not done there. A change restarts Felix on every node.",
            "IfSupported",
        ),
    ],
};

pub(super) static NODE_GROUP: Object = Object {
    noun: "a node group",
    choice: &[
        Choice {
            needs: &["pick"],
            may: &[],
        },
        Choice {
            needs: &["matchLabels"],
            may: &[],
        },
        Choice {
            needs: &["names"],
            may: &[],
        },
        Choice {
            needs: &["all"],
            may: &[],
        },
    ],
    fields: &[
        optional(
            "pick",
            Type::Object(&PICK),
            "A number of nodes that are Ready, schedulable and have the address. Nodes picked earlier stay while that \
             holds; then by name.",
            "{ address: ExternalIP, count: 1 }",
        ),
        optional(
            "matchLabels",
            Type::Labels,
            "The nodes with all of these labels.",
            "{ kubernetes.io/os: linux }",
        ),
        optional(
            "names",
            Type::List(&Type::Name(Form::Subdomain), 1),
            "These nodes.",
            "[worker-1, worker-2]",
        ),
        optional("all", Type::True, "Every node.", "true"),
        optional(
            "labels",
            Type::Labels,
            "Labels the nodes get, which their automatic host endpoints get too: what policies select them by.",
            "{ host-end-point: test }",
        ),
    ],
};

pub(super) static PICK: Object = Object {
    noun: "a pick",
    choice: &[],
    fields: &[
        optional(
            "address",
            Type::Word(&["InternalIP", "ExternalIP"]),
            "Only nodes that have such an address.",
            "ExternalIP",
        ),
        required("count", Type::Integer(1, 100_000), "How many.", "1"),
    ],
};

pub(super) static SERVICE: Object = Object {
    noun: "a service",
    choice: &[
        Choice {
            needs: &["namespace", "expose", "ports"],
            may: &["externalTrafficPolicy"],
        },
        Choice {
            needs: &["existing"],
            may: &[],
        },
    ],
    fields: &[
        optional(
            "namespace",
            Type::Name(Form::Label),
            "Where the workload is and the Service will be.",
            "hipstershop",
        ),
        optional(
            "expose",
            Type::Workload,
            "The workload behind the Service, whose own selector it takes: deployment/NAME, statefulset/NAME or daemonset/NAME.",
            "deployment/frontend",
        ),
        optional(
            "ports",
            Type::List(&Type::Object(&SERVICE_PORT), 1),
            "What it listens on.",
            "[{ port: 80, nodePort: 30080 }]",
        ),
        optional(
            "externalTrafficPolicy",
            Type::Word(&["Cluster", "Local"]),
            "Local keeps the client's address and answers only where a pod runs. Cluster when not written.",
            "Local",
        ),
        optional(
            "existing",
            Type::NamespacedName,
            "A Service that is there already; never written.",
            "shop/frontend",
        ),
    ],
};

pub(super) static SERVICE_PORT: Object = Object {
    noun: "a service port",
    choice: &[],
    fields: &[
        optional(
            "name",
            Type::Name(Form::Port),
            "Needed when there are several ports.",
            "http",
        ),
        optional(
            "protocol",
            Type::Word(&["TCP", "UDP", "SCTP"]),
            "TCP when not written.",
            "TCP",
        ),
        required("port", PORT, "The port of the Service inside the cluster.", "80"),
        optional(
            "targetPort",
            Type::PortOrName,
            "The port of the pods, by number or name; `port` when not written.",
            "8080",
        ),
        required(
            "nodePort",
            PORT,
            "The port on every node. Most API servers take 30000 to 32767 (--service-node-port-range).",
            "30080",
        ),
    ],
};

pub(super) static TIER: Object = Object {
    noun: "a tier",
    choice: &[],
    fields: &[
        optional(
            "order",
            Type::Number,
            "Lower comes first. 1000000 when not written, where tier `default` is.",
            "500",
        ),
        optional(
            "defaultAction",
            Type::Word(&["Deny", "Pass"]),
            "What happens to a packet that some policy of the tier applies to and no rule decides. A tier created without it denies; one that is there keeps its own.",
            "Deny",
        ),
    ],
};

pub(super) static NETWORK_SET: Object = Object {
    noun: "a network set",
    choice: &[],
    fields: &[
        optional(
            "labels",
            Type::Labels,
            "What policies select it by.",
            "{ role: partner }",
        ),
        required(
            "nets",
            Type::List(&Type::Cidr, 0),
            "The networks. `${name}` of type cidrs stands for several.",
            "[203.0.113.0/24]",
        ),
    ],
};

pub(super) static POLICY: Object = Object {
    noun: "a policy",
    choice: &[
        Choice {
            needs: &["spec"],
            may: &[],
        },
        Choice {
            needs: &["guard"],
            may: &[],
        },
    ],
    fields: &[
        optional(
            "spec",
            Type::Any,
            "The spec of a Calico GlobalNetworkPolicy (projectcalico.org/v3), checked as Calico checks it. `tier` comes from \
             the policy's name; `types` is always sent, by Calico's own default when not written.",
            "{ selector: all(), ingress: [{ action: Deny }] }",
        ),
        optional(
            "guard",
            Type::Object(&GUARD),
            "The common case in short: who may reach a service or ports on a group of nodes. It becomes a policy before DNAT \
             that is shown as any other, and is refused where it would not do what it says.",
            "{ nodes: guarded, service: frontend, allowOnly: [203.0.113.0/24] }",
        ),
    ],
};

pub(super) static CLAIM: Object = Object {
    noun: "a claim",
    choice: &[],
    fields: &[
        required(
            "kind",
            Type::Word(&["FelixConfiguration", "KubeControllersConfiguration"]),
            "The kind of the object.",
            "FelixConfiguration",
        ),
        required("name", Type::Name(Form::Subdomain), "Its name.", "default"),
        required(
            "set",
            Type::Any,
            "Fields below its `spec`, nested or with keys joined by dots. Lists are set whole.",
            "{ logSeverityScreen: Info }",
        ),
    ],
};

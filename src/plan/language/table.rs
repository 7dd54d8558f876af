//! The table itself: every field of the plan language, top down.

use super::{Choice, Field, Form, Object, Section, Type};

const API_VERSION: &str = "hostguard.dev/v1alpha1";
pub(crate) const KIND: &str = "HostProtection";

const PORT: Type = Type::Integer(1, 65535);

const fn optional(name: &'static str, ty: Type, doc: &'static str, example: &'static str) -> Field {
    Field {
        name,
        ty,
        required: false,
        later: false,
        doc,
        example,
    }
}

const fn required(name: &'static str, ty: Type, doc: &'static str, example: &'static str) -> Field {
    Field {
        name,
        ty,
        required: true,
        later: false,
        doc,
        example,
    }
}

const fn later(name: &'static str, ty: Type, doc: &'static str, example: &'static str) -> Field {
    Field {
        name,
        ty,
        required: false,
        later: true,
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
        later(
            "cloud",
            Type::List(&Type::Object(&CLOUD), 0),
            "Rules of the cloud's own firewall in front of the nodes.",
            "[{ allow: { to: guarded, service: frontend, from: [0.0.0.0/0] } }]",
        ),
        later(
            "expect",
            Type::List(&Type::Object(&EXPECT), 0),
            "What must be open or blocked when all is done.",
            "[{ from: others, to: guarded, service: frontend, is: blocked }]",
        ),
        later(
            "neverOpen",
            Type::List(&Type::Object(&FLOW), 0),
            "Flows that no step may open.",
            "[{ from: internet, to: guarded, ports: [tcp/10250] }]",
        ),
        later(
            "neverClose",
            Type::List(&Type::Object(&FLOW), 0),
            "Flows that no step may cut.",
            "[{ from: 192.0.2.0/24, to: guarded, ports: [tcp/22] }]",
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
            may: &["region", "address", "family"],
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
            Type::Word(&[NODE_ADDRESS, "imds/public-ipv4", "aws/instance", "azure/vm"]),
            "What is asked. `node/address` reads a node of the cluster; the others come in a later version.",
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
        optional("instance", Type::Text, "The AWS instance.", "i-0123456789abcdef0"),
        optional("region", Type::Text, "The AWS region.", "us-west-2"),
        optional("vm", Type::Text, "The Azure virtual machine.", "client"),
        optional("resourceGroup", Type::Text, "Its resource group.", "shop"),
    ],
};

static HOST_ENDPOINTS: Object = Object {
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

static NODE_GROUP: Object = Object {
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

static PICK: Object = Object {
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

static SERVICE: Object = Object {
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

static SERVICE_PORT: Object = Object {
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

static TIER: Object = Object {
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
            "What happens to a packet that some policy of the tier applies to and no rule decides. Deny when not written.",
            "Deny",
        ),
    ],
};

static NETWORK_SET: Object = Object {
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

static POLICY: Object = Object {
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
        Field {
            name: "guard",
            ty: Type::Object(&GUARD),
            required: false,
            later: true,
            doc: "The common case in short: who may reach a service or ports on a group of nodes.",
            example: "{ nodes: guarded, service: frontend, allowOnly: [203.0.113.0/24] }",
        },
    ],
};

static GUARD: Object = Object {
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

static CLAIM: Object = Object {
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

static CLOUD: Object = Object {
    noun: "a cloud rule",
    choice: &[],
    fields: &[required(
        "allow",
        Type::Object(&ALLOW),
        "What the firewall lets through.",
        "{ to: guarded, from: [0.0.0.0/0] }",
    )],
};

static ALLOW: Object = Object {
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

static EXPECT: Object = Object {
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

static FLOW: Object = Object {
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

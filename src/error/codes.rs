//! The stable codes: one row each, with the text of `hostguard explain CODE`.
//!
//! A code never changes its meaning and is never used again. `tests/` holds a golden case for every row.

use std::fmt;

/// A stable code, `HG` and four digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code(pub(crate) &'static str);

impl Code {
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A row of the table.
pub struct Explanation {
    pub code: Code,
    /// What is wrong, in a few words.
    pub title: &'static str,
    /// Why hostguard refuses it, and what to do. Plain text, wrapped by the reader.
    pub text: &'static str,
}

macro_rules! codes {
    ($($name:ident $code:literal $title:literal $text:literal)*) => {
        $(pub const $name: Code = Code($code);)*
        /// Every code, ascending.
        pub const ALL: &[Explanation] = &[$(Explanation { code: $name, title: $title, text: $text },)*];
    };
}

codes! {
    // 00: the text itself
    SYNTAX "HG0001" "not valid YAML"
        "The text cannot be read as YAML 1.2. Nothing after the marked place was looked at in this document, so there may be more mistakes; other documents of the file were read. Repair the marked place and run `hostguard check` again."
    DUPLICATE_KEY "HG0002" "the same key twice"
        "YAML requires the keys of a mapping to be unique. Many readers silently keep the last one, which in a firewall plan means a rule that the author sees and the cluster never gets. Remove one of the two."
    NOT_TEXT "HG0003" "not a text"
        "A plan is UTF-8 text without control characters. Binary files, UTF-16, NUL bytes and characters that change the direction of text are refused: what a reviewer sees would not be what is read. Save the file as UTF-8, or write such a character as an escape in double quotes."
    TAG "HG0004" "a YAML tag"
        "Tags such as `!foo` or `!!str` change the type of a value in a way that readers disagree about, and the plan language needs none. Remove the tag; quote a value that is meant as text."
    MERGE_KEY "HG0005" "a merge key"
        "The merge key `<<` belongs to YAML 1.1, is no part of YAML 1.2, and readers disagree on which value wins. Write the keys out, or put an anchor on a whole value and repeat it by an alias."
    KEY "HG0006" "a key that is no text"
        "YAML allows lists and mappings as keys of a mapping; the plan language does not. It is usually a missing quote: `${name}` at the start of an entry, or `{` and `[` in a text. Quote the key."
    ALIAS "HG0007" "an alias without an anchor"
        "An alias `*name` repeats the value that `&name` marked earlier in the same document. Here there is no such anchor, or the alias stands inside the very value it would repeat. Anchors do not reach into other documents."
    TOO_LARGE "HG0008" "too much text"
        "A plan has some kilobytes. A text of more than 8 MiB, or aliases that together repeat more than 100,000 values, is a mistake or an attack on memory, and is refused before it can do harm. Split the plan, or write fewer aliases."
    TOO_DEEP "HG0009" "nested too deep"
        "A plan needs about fifteen levels of mappings and lists; more than 64 is a mistake or an attack on the stack. The rest of the document was not looked at. Close the brackets that were left open."
    DOCUMENTS "HG0010" "not one plan"
        "A file may hold several documents, and `check` looks at all of them, but plan, apply and the other commands work on exactly one document of kind HostProtection. Give each plan its own file, or remove the other documents."

    // 01: structure
    WRONG_TYPE "HG0101" "a value of the wrong type"
        "The value is not of the type that the field has: a text where a number is meant, a single value where a list is meant, or a text of another form. Quotes make a number a text. `hostguard explain spec.nodes` shows what a field takes."
    OUT_OF_RANGE "HG0102" "a number out of range"
        "The number is of the right type but outside what the field can hold; a port is 1 to 65535. Kubernetes or Calico would refuse it later, or wrap it into another port."
    MISSING "HG0103" "a missing field"
        "The field is required here and has no default, because any default would be a guess about what should be protected. Add it as the fix shows."
    UNKNOWN_FIELD "HG0104" "an unknown field"
        "The language has no such field here. Names are case-sensitive: `Nets` is not `nets`. The Kubernetes API drops unknown fields by default, and a rule that loses its networks that way matches everybody; hostguard refuses them."
    NOT_ONE_OF "HG0105" "not one of the known words"
        "The field takes one of a few words, spelled exactly so. Calico and Kubernetes compare them with case. Write one of those in the message."
    AMBIGUOUS "HG0106" "a plain word with two readings"
        "YAML 1.1 reads a plain `on`, `yes`, `y` or `no` as a boolean, and every reader takes a plain 80 or `true` for something other than a text. kubectl would send a label value `on` as `true`. Put quotes around what is meant as text."
    NO_VALUE "HG0107" "a key without a value"
        "A key with nothing after it, `~` or `null` has no value, and it is not clear whether the default, an empty list or nothing at all is meant. Write the value, or leave the key out to get the default."
    CHOICE "HG0108" "fields that exclude each other"
        "There are several ways to write this, and two of them were mixed: a node group is found by `pick`, `matchLabels`, `names` or `all`, a service is made here or exists. Keep one."
    NOT_A_PLAN "HG0109" "a document that is no plan"
        "hostguard reads documents of kind HostProtection in apiVersion hostguard.dev/v1alpha1. Another Kubernetes object in the same file is refused rather than skipped, so that nobody believes it was applied. Move it to a file of its own. A snapshot is no plan: it plays the cluster, with --live. Nor is a saved change set, which `hostguard show` and `hostguard apply` take."
    EMPTY "HG0110" "an empty list"
        "The list must have at least one entry; an empty one would select or allow nothing, which is never what is meant here. Add an entry, or remove the section."

    // 02: values
    NOT_A_CIDR "HG0201" "not a network"
        "The text is not an IP network: an address, a slash and a prefix length. Felix skips an entry that it cannot read, native Calico CRDs do not check it, and a rule that loses its only network matches everybody. A left-over placeholder is the usual reason."
    HOST_BITS "HG0202" "a network with bits after its prefix"
        "The address has bits set that the prefix length cuts off, so it is not clear whether the network or the one address is meant. Calico refuses such a network in a policy. Write the network, or the address with /32 or /128."
    BARE_IP "HG0203" "an address where a network is meant"
        "Calico takes only networks here and refuses an address without a prefix length. Write /32 after an IPv4 address and /128 after an IPv6 address. An input of type `ip` gets it by itself."
    NOT_AN_ADDRESS "HG0204" "not an address"
        "The value of an input of type `ip` is one IPv4 or IPv6 address, without prefix length, port or zone."
    NAME "HG0205" "not a valid name"
        "Kubernetes names are lower-case letters, digits and `-`, with a letter or digit at both ends, at most 63 characters; a Service's name begins with a letter. The API server would refuse the object after others were already written."
    LABEL "HG0206" "not a valid label"
        "A label key is a name of at most 63 letters, digits, `-`, `_` and `.`, perhaps after a domain and a slash; a value is such a name or empty. Kubernetes refuses others."
    NODE_PORT "HG0207" "a node port outside the usual range"
        "Kubernetes hands out node ports from 30000 to 32767 unless the API server was started with another --service-node-port-range, and refuses others. This is a warning, because the range is not visible from outside."
    POLICY_NAME "HG0208" "not a valid policy name"
        "A policy is named `tier.name`, two names joined by one dot, or has a bare name in tier `default`. Calico before v3.32 requires the tier as prefix, so this form works everywhere."
    REPEATED "HG0209" "the same value twice"
        "The list holds a value more than once. It changes nothing, so it is only a warning, but often one of the two was meant to be something else."
    INPUT_MISSING "HG0210" "an input without a value"
        "The input has no default and no lookup, and none was given. Give it with --set NAME=VALUE, in a file with --inputs FILE, or as environment variable HOSTGUARD_INPUT_NAME."
    INPUT_VALUE "HG0211" "a value that is not of the input's type"
        "The value given for an input, or its default, is not what its type says. The message names where the value came from. Nothing was filled in from it."
    INPUT_UNKNOWN "HG0212" "a value for an input that does not exist"
        "A value was given by --set or --inputs for a name that the plan does not declare under `inputs`. A misspelled name would otherwise leave a default in place without a word."
    INPUT_MISFIT "HG0213" "an input of the wrong type for its place"
        "The input's type does not fit the place that uses it: a port where a network is meant, or a list where one value is meant. Change the input's type, or use another input."
    LEFTOVER "HG0214" "a placeholder that is not filled in"
        "`${name}` stands for a whole value, below `spec`; only inputs of type string may stand inside a longer text, and none in keys. What is not filled in would reach the cluster as it is: a left-over `${VM_IP}` in a network list turns `only this machine` into `everyone`."
    INPUTS_FILE "HG0215" "an inputs file of another form"
        "A file given by --inputs is one YAML or JSON mapping from names of inputs to values: a text, a number for a port, or a list for type cidrs. It holds no `${name}` and nothing below the first level."
    NO_FAILSAFES "HG0216" "an empty list of failsafe ports"
        "An empty failsafe list does not mean the default: it means that no port is exempt from policy, so that one policy too many cuts SSH, the API server and Calico's own control on every node, and no later fix can reach it. List the ports that must stay open, or leave the claim out to keep what is there."

    EXPRESSION "HG0217" "not an expression"
        "A rule under `gates` is written in the Common Expression Language (CEL): `answer.summary.delete <= 2`, `answer.exposure.all(row, row.movement != 'opens')`. It knows one name, `answer`, which is the document that `plan -o json` prints; `hostguard schema answer` describes it. A rule is at most 1,000 bytes long. Regular expressions, times and optional values are left out of the language, so that a plan by a stranger cannot keep the reader busy."
    DATE "HG0218" "not a date"
        "A waiver ends on a day, written as year, month and day: 2026-12-31. It counts until the end of that day in UTC."

    // 03: references
    UNKNOWN_REFERENCE "HG0301" "no such thing in this plan"
        "The plan refers to a node group or service that it does not declare. References never reach outside the plan: declare it under `nodes` or `services`, or use one of the names in the message."
    UNKNOWN_INPUT "HG0302" "no such input"
        "`${name}` names an input that is not declared under `inputs`. Declare it with its type, or correct the name."
    CIRCULAR "HG0303" "defaults that use each other"
        "The default of an input uses another input, whose default leads back to the first. The message shows the walk. Give one of them a value that uses no input."
    SAME_NAME "HG0304" "the same name twice"
        "Two things that must differ have one name: nodes in a list, ports of a service, two parts of the plan that write the same object. The cluster would keep one of them. Rename or remove one."
    NODE_PORT_TWICE "HG0305" "the same node port twice"
        "A node port belongs to one Service in the whole cluster; Kubernetes refuses a second one, even with another protocol. Give one of the two another port."
    TIER_MISMATCH "HG0306" "a policy whose name and tier disagree"
        "The prefix of a policy's name is its tier. A `spec.tier` that says something else would be refused by Calico before v3.32 and misread by people afterwards. Leave `spec.tier` out, or rename the policy."
    NOT_ONE_NODE "HG0307" "a lookup of a group that may hold several nodes"
        "A lookup by group reads the address of the group's only node, so the group must be made to hold one: `pick` with count 1 or one name. Otherwise the address would be that of an arbitrary node."
    CONTRADICTION "HG0308" "two expectations that cannot both hold"
        "One expectation says open and another says blocked of the same source, nodes and ports. No cluster can satisfy both, whatever the policies are. Both places are shown; narrow one of the sources. `others` never contradicts an open expectation: it is everybody but those."
    SET_WITHOUT_LABEL "HG0309" "a network set that a guard cannot select"
        "Calico's rules select network sets by labels and never by name. A guard that names a set of this plan selects it by all of its labels, and this one has none. Give it a label of its own."
    CLOUD_PROTOCOL "HG0310" "a protocol that the firewall does not divide by port"
        "A rule of a security group names ports of TCP and UDP. A rule for any other protocol, SCTP among them, opens all its ports, which is more than the plan says. Leave it out of `cloud`, or open it by hand."

    NOT_A_GATE "HG0311" "a code that is no gate"
        "Levels and waivers are for findings about a plan that somebody may decide to live with. Mistakes in a plan, expectations and guards that do not hold, conflicts with others, and what could not be read are none: correct the plan, or take the promise out. `hostguard explain` lists the codes; those of gates say so."
    FIXED_LEVEL "HG0312" "a level that cannot be lowered"
        "What would lock an administrator or the cluster's own parts out, and what would be open on the way from one state to the other, is always refused (exit 8). No level lowers it and no waiver lets it through. One packet at one step is accepted on the command line with --accept, where the person who applies the plan sees it."

    // 04: Calico's rules; their rows are in calico::RULES

    // 05: the plan and the world do not fit
    NO_SUCH_WORKLOAD "HG0501" "the workload to expose does not exist"
        "A Service takes its selector from the workload named in `expose`. Without the workload there is nothing to take it from, and a guessed selector would send traffic to other pods or to none."
    SELECTOR_NOT_LABELS "HG0502" "the workload selects its pods by expressions"
        "A Service can select pods by equal labels only. A workload with `matchExpressions` can select pods that no Service selector can name, so hostguard does not guess one. Make the Service by hand and name it with `existing`."
    NODE_PORT_TAKEN "HG0503" "another Service has the node port"
        "A node port belongs to one Service in the whole cluster, whatever its protocol; health check node ports count too. The API server would refuse the Service in the middle of an apply, so the clash is found at plan time."
    NO_SUCH_SERVICE "HG0504" "the existing Service does not exist"
        "`existing` guards a Service that is there already. It was not found under that namespace and name."
    NO_SUCH_NODE "HG0505" "a named node does not exist"
        "A group with `names` holds exactly the nodes named. A name that is no node would silently protect nothing, so it is refused. Use `matchLabels` or `pick` where nodes come and go."
    PICK_SHORT "HG0506" "not enough nodes can be picked"
        "Eligible nodes are Ready, schedulable and have the address asked for. Fewer are eligible than `count` says; the reasons are listed node by node."
    FLOW_LOGS_UNSUPPORTED "HG0507" "this edition has no host endpoint flow log switch"
        "The field flowLogsEnableHostEndpoint exists in the schemas of Calico Enterprise and Calico Cloud only. Open source Calico prunes it silently, so writing it would look like success. `flowLogs: IfSupported` lists it as not done instead."
    NO_SUCH_OBJECT "HG0508" "the object whose field is claimed does not exist"
        "A claim changes a field of an object that others own. hostguard never creates such an object: its owner (kube-controllers, the operator, calico-node) does, with defaults that only the owner knows."
    TWO_VALUES "HG0509" "two parts of the plan want different values of one field"
        "Two groups that share a node give one label two values, or two claims name one field. The last writer would win, so the plan is refused."
    NO_SUCH_TIER "HG0510" "the policy's tier does not exist"
        "Calico refuses a policy in a tier that does not exist when it is created through its API server. Where nothing checks it, Felix enforces the policy after all other tiers and denies at its end."
    ENVIRONMENT_OVERRIDE "HG0511" "an environment variable overrides the field"
        "kube-controllers lets the variable AUTO_HOST_ENDPOINTS override autoCreate. The field would be written and would change nothing; status.environmentVars shows the variable."
    OTHER_APPLIER "HG0512" "another applier manages the field with another value"
        "Somebody declared this field by server-side apply, or another hostguard plan wrote it. If hostguard changed it, the other would change it back, and each run would undo the other. Take it out of one of the two, or name it with --force-conflicts."
    OTHER_PLAN "HG0513" "another plan claims the field with another value"
        "The inventory of another plan records this field with another value. Two plans may claim the same value of a field; the last one to leave restores what was found first. Different values are refused."
    NOTHING_TO_FORCE "HG0514" "--force-conflicts names no conflict"
        "The option takes over exactly the fields it names, written as they are printed: KEY:FIELD. A name that meets no conflict is a mistake in the name or in the belief."
    TIER_IN_USE "HG0515" "a tier cannot go while a policy uses it"
        "Calico keeps a tier until the last policy in it is gone. A policy that is not of this plan is still in the tier, so the tier would stay half deleted."
    INVENTORY_NEWER "HG0516" "the inventory was written by a newer hostguard"
        "The record of what a plan owns has a format that this binary does not know. Writing it would lose what the newer one remembers, so nothing is done."
    INVENTORY_BROKEN "HG0517" "the inventory cannot be read"
        "The record of what a plan owns and which values it found is damaged. Without it, hostguard cannot tell its own objects from others' and cannot give old values back. Restore the ConfigMap."
    WRONG_CLUSTER "HG0518" "another cluster than the plan's"
        "The plan names a cluster by the uid of its namespace kube-system, and this cluster has another one or does not show it. It guards against the wrong kubeconfig context."
    LOOKUP_FAILED "HG0519" "an input could not be looked up"
        "An input takes its value from live state, and the value is not there. hostguard never guesses an address; give it with --set, or correct the lookup."
    NO_SUCH_NAMESPACE "HG0520" "the namespace does not exist"
        "A Service is made in the namespace of the workload it exposes. hostguard creates no namespace but the one of its inventories."
    UNREADABLE "HG0521" "something the plan needs could not be read"
        "What could not be read is not absent. The change set is shown as far as it is known, and nothing is applied. The reason tells whether rights are missing, the server did not answer, or the kind is not served."
    EMPTY_GROUP "HG0522" "a group holds no node"
        "No node has the labels that the group asks for, so a policy for it would protect nothing. Look at the labels with `kubectl get nodes --show-labels`."
    CYCLE "HG0523" "the steps need each other"
        "Each step of the walk that is printed has to come after the next, and the last after the first. No order exists; split the plan."
    INVENTORY_TOO_LARGE "HG0524" "the inventory does not fit"
        "The record of a plan is one ConfigMap, which can hold one megabyte. The plan claims more fields than that; split it into several plans."
    NOT_IN_RELEASE "HG0525" "this release of Calico does not have it"
        "ClusterInformation shows which release of Calico the cluster runs, and that release lacks what the plan asks for. Open source Calico has tiers of one's own since v3.29."
    NO_SUCH_POD "HG0526" "a named pod does not exist"
        "`why` takes the address of a pod from the cluster, and there is no such pod, or it has no address yet. Pods come and go: look the name up again."
    NO_EFFECT "HG0530" "a policy that restricts nothing"
        "Once everything is applied, every packet fares the same with the policy and without it. The usual reason is a policy before DNAT that only allows: Felix puts the drop at the end of a tier into the normal and the forward chain alone, so before DNAT what no rule denies goes on, and `allow this source` allows everybody. Add a Deny after the Allow. In the normal stage a policy that selects a host endpoint brings that drop with it, and is not meant here. An Allow that exempts nothing, because nothing else would deny, is reported as well. Only what is proven is: each list of policies that holds this one gives every packet the same without it. In eBPF mode, or where policies, pods or labels could not be read, nothing is said."
    SELECTS_NOTHING "HG0531" "a policy that selects nothing"
        "Once everything is applied and Calico's controllers have caught up, no host endpoint and no pod has the labels that the policy selects, so no packet meets it. A policy before DNAT or without tracking is asked at host endpoints alone: one that matches only pods does nothing either. Automatic host endpoints carry the labels of their nodes; without host endpoints (`hostEndpoints: { autoCreate: Enabled }`) there is nothing of a node to select. Compare the selector with `kubectl get nodes --show-labels`, or let a node group of the plan write the label."
    NEVER_REACHED "HG0532" "a policy or rule that is never reached"
        "Everything that the rule matches, or that all rules of the policy match, is decided before: by an earlier rule of the policy, by a policy of lower order in the tier, or by an earlier tier, whose end drops what its policies do not decide. The message names what decides. A rule that is never reached looks like a protection and is none. Give it a lower order, narrow what decides before it, or delete it."
    LABEL_BY_HAND "HG0533" "a label that new nodes will not have"
        "The plan writes a label on some nodes, and its policies select by it. A node that replaces one of them, or that the autoscaler adds, comes without the label until the next apply: it has a host endpoint and no policy, and nobody is told. Let the node pool set the label (EKS node group labels, AKS node pool labels, GKE node labels) and match it, use a template of host endpoints (Calico v3.30 and newer) that gives them the label, or guard every node with `all`. This is a warning, unless `gates.levels` makes it an error."
    NODE_PORT_ELSEWHERE "HG0534" "a NodePort that other nodes leave open"
        "A Service of type NodePort answers on every node, also on those without a pod of it, unless its externalTrafficPolicy is Local. A policy that guards the port on some nodes leaves it open on the others, and whoever is refused at one node asks the next. The message names the nodes. Select every node, for instance with a group `all`, or close the port on the others too. This is a warning, unless `gates.levels` makes it an error."
    OTHER_FAMILY "HG0535" "a port closed for one IP family only"
        "The steps close a port of a node for IPv4 and leave the same port of the same node open over IPv6, or the other way round. A rule with IPv4 networks alone is not rendered for IPv6 at all, so its Deny is not either. Name networks of both families, or deny without networks. This is a warning, unless `gates.levels` makes it an error."
    CLOUD_OPEN_ANYWAY "HG0536" "a firewall rule of others that lets in more"
        "A rule that somebody else made lets sources in at the same ports of the same nodes that the plan does not name under `cloud`. hostguard leaves it alone: with it these ports stay open to those sources in front of the nodes, whatever the plan takes back. Close it where it was made, or let a guard shut these sources out at the nodes."
    UNSAFE_ORDER "HG0541" "no order of the steps is safe"
        "After every step, as written and once Calico's controllers have caught up, hostguard asks who can reach what. Nothing may be more open on the way than it is before or after. Here each step that could come next would break that, in every order that was tried; the packet shows how. Usually two steps block each other: the one opens what the other is to close, and the other cuts off what the one is to let through. Split the plan in two, or accept the one packet at the one step that the message names with --accept; the acceptance is written into the record and shown ever after."
    LOCKED_OUT "HG0542" "what must stay would be cut off"
        "A cluster lives on connections that no plan may cut: the API server's calls to the kubelet, nodes' to the API server and to each other, DNS, the metadata service, load balancers' health checks, IPv6 neighbour discovery, and somebody's SSH. If Felix cannot reach the API server, no later fix reaches the node. Where it is not known who connects, every address counts: name who must keep access under `neverClose`, and the others may be closed. A failsafe list that no longer covers such a port counts as a cut, too. Automatic host endpoints let everything through until a policy selects them; then that direction is denied but for failsafe ports, and 10250, the kubelet, is none of them. What is really meant is accepted with --accept, packet by packet."
    ACCEPTED_NOTHING "HG0543" "--accept names nothing that is refused"
        "The option takes exactly what a refusal printed, STEP=PACKET. One that meets nothing is a mistake in the name or in the belief: the order is safe without it, or the packet is another one now."
    EXPECTATION "HG0550" "an expectation that does not hold"
        "An expectation holds for every source, node address, port and family that it names, in the cluster as it would be once everything is done and settled, or it fails. One packet that fares otherwise is shown with the rule that decides about it; `hostguard why` walks it hop by hop. What could not be read counts against the expectation. Nothing is applied."
    NEVER_OPEN "HG0551" "a flow that may never open would be open"
        "The plan lists flows that no step may open under `neverOpen`. One of them would be open, or it could not be told that it is not. Nothing is applied."
    NEVER_CLOSE "HG0552" "a flow that may never close would be cut"
        "The plan lists flows that no step may cut under `neverClose`. One of them is open now and would be blocked, or it could not be told that it is not. Nothing is applied."
    NOBODY "HG0553" "a promise about nobody"
        "The promise names a source that is not there: no such node, no pod or network set with these labels, or a network that holds no address outside the cluster. It would hold whatever happens, so it says nothing. Nodes are named as node/NAME, pods by their labels."
    GUARD_NO_ENDPOINT "HG0560" "a guarded node without a host endpoint"
        "No policy reaches a node that has no host endpoint, so the guard would protect nothing there. Once everything is done, kube-controllers makes one for every node if hostEndpoints.autoCreate is Enabled; else write one for the node by hand."
    GUARD_SELECTOR "HG0561" "no selector picks exactly the guarded nodes"
        "A policy selects host endpoints by labels, and automatic ones have the labels of their node. Neither the labels that the plan gives the group, nor those it is chosen by, nor kubernetes.io/hostname tell the group's nodes from all others. Give the group a label of its own under `labels`."
    GUARD_BROKEN "HG0562" "a guard that would not do what it says"
        "The cluster as it would be was asked for every source, node, port and family: one that the guard shuts out could still connect, one that it lets in could not, or somebody it does not name would fare differently. The packet and the rule that decides about it are shown; `hostguard why` walks it hop by hop. What could not be read counts against the guard."
    NO_NODE_PORT "HG0563" "a service whose node ports are not known"
        "A guard and a promise about a service are about its node ports. This Service has none (its type is ClusterIP), or it could not be read. What could not be read is not taken for absent."
    GUARD_REFUSED "HG0564" "a guard that becomes no valid policy"
        "The policy that the guard becomes breaks one of Calico's own rules, most often a limit: a selector of at most 1024 characters, 50 ports in a rule, 1024 rules. Give the group a label instead of names, or divide the guard."
    CLOUD_NODE "HG0570" "a node that is not found in the cloud"
        "The way from a node to its firewall is: the Node's spec.providerID names an EC2 instance, the instance has network interfaces, and these have security groups. Here that way ends: the node is no EC2 instance, or its instance was not found in the account and region that were read. hostguard never guesses a group by its name."
    CLOUD_AMBIGUOUS "HG0571" "which security group is not known"
        "A node can have several security groups, and a rule in any of them opens the port, on every other machine in that group too. The EKS cluster's own group is taken where the node has it, else the only group of the interface with the node's address. Here there are several; they are listed with the other nodes that they are on. Pick one with `securityGroup`."
    CLOUD_GROUP "HG0572" "the security group is not the nodes'"
        "The plan picks a security group, and no interface of the group's nodes has it: rules in it would open nothing. The groups that the nodes have are listed."
    CLOUD_QUOTA "HG0573" "the security group is full"
        "A security group holds 60 rules in each direction for IPv4 and 60 for IPv6, unless the account's quota is another; rules that name a group count in both, those that name a prefix list as often as the list has entries. More would be refused by AWS halfway through, so nothing was written."
    // 06: the cluster
    KUBECONFIG "HG0601" "no usable kubeconfig"
        "hostguard looks where kubectl looks: --kubeconfig, then the files in KUBECONFIG (those that exist are merged, the first to name a thing wins), then ~/.kube/config, then the service account of the pod it runs in. What it found there does not say which server to ask or as whom. `kubectl config get-contexts` shows what a kubeconfig holds; --context picks one."
    CREDENTIALS "HG0602" "the credentials cannot be had"
        "The kubeconfig names a credential plugin, a token file or a client certificate that gave nothing usable. What a plugin prints is never repeated here, because that is where tokens are: run the plugin's command by hand to see it. A plugin that is still running when the time is up is given up."
    UNREACHABLE "HG0603" "the API server cannot be reached"
        "No connection to the API server came about, or each one broke before an answer. Nothing was read and nothing was written. Check the server's address in the kubeconfig, the proxy (proxy-url, HTTPS_PROXY, NO_PROXY), the VPN, and whether the server's certificate is signed by the authority that the kubeconfig names."
    UNANSWERED "HG0604" "the API server does not answer in time"
        "A connection to the API server came about, but no complete answer within the time of --request-timeout. Nothing was written. A server that is slow but alive is given more time with a larger --request-timeout."
    UNAUTHORIZED "HG0605" "the API server does not accept the credentials"
        "The server answered 401: it does not know who is asking. Tokens and client certificates expire; log in again, or choose another context. This is not about missing rights: those are reported kind by kind."
    NOT_API_SERVER "HG0606" "the answer is not one of an API server"
        "What answered speaks HTTP but is no Kubernetes API server: a load balancer's error page, a login page, or a proxy. Nothing of it is used, because a page must never be taken for an empty list."
    DISCOVERY "HG0607" "the served API groups cannot be read"
        "Which groups the server serves decides how Calico's objects are written: by Calico's API server, as native resources, or not at all. Without that list hostguard would have to guess, and a wrong guess is a policy that nothing validates. Every authenticated user normally has this right, by the ClusterRole system:discovery."
    ACCESS_REVIEW "HG0608" "permissions cannot be checked"
        "Before the first write hostguard asks the server whether it may make every one of them (SelfSubjectAccessReview), so that it does not stop halfway for a missing right. The server did not answer that question. Every authenticated user may normally ask it, by the ClusterRole system:basic-user. Nothing was written."
    V1_ONLY "HG0680" "Calico's v3 API is not served"
        "Only the group crd.projectcalico.org is served: its objects are Calico's storage. Nothing validates or defaults what is written there, and Felix fails open on what it cannot read. Install Calico's API server (with the operator: an APIServer resource named default) or native v3 CRDs."
    NOT_INSTALLED "HG0681" "Calico is not installed"
        "Neither projectcalico.org nor crd.projectcalico.org is served by this cluster."
    // 07: applying
    DECLINED "HG0701" "the answer was not yes"
        "Nothing was written. apply goes on only after `yes` at its prompt."
    NEEDS_YES "HG0702" "nobody can be asked"
        "Standard input is not a terminal, so apply cannot ask. Say --yes to approve what a run of `plan` has shown."
    STALE "HG0703" "the world moved after it was shown"
        "Between the answer and the first write everything is read again. What would be done now is not what was approved, so nothing was written. The differences are listed; run again to see and approve the new change set. With --expect-id, what would be done is another change set than the one with that id."
    DELETES_MANY "HG0704" "more deletions than are allowed"
        "More than five objects would be deleted. That is how a slip of the hand looks (an emptied section, a renamed plan), so the number has to be said with --allow-delete. destroy counts as said."
    EMPTY_PLAN "HG0705" "the plan wants nothing"
        "A plan without content would take back everything that its inventory records. If that is meant, destroy says so."
    NOT_ALLOWED "HG0706" "rights are missing"
        "Before the first write the API server was asked for every right that the steps need. All missing rights are listed; nothing was written."
    NOT_READY "HG0707" "Calico's datastore is locked"
        "ClusterInformation default has datastoreReady false: a migration is running, and Calico ignores or loses what is written meanwhile. Nothing was written."
    STEP_FAILED "HG0708" "a step failed"
        "A step was refused. The steps that need it were skipped, the others were made. The record holds every value found before, so a second apply goes on from here, and destroy takes back what was done."
    UNVERIFIED "HG0709" "the result is not what was planned"
        "Every step was made, and the state read afterwards still differs from the plan, or a controller had not caught up when the deadline came. What was seen last is listed."
    RECORD_FAILED "HG0710" "the record could not be written"
        "The values found before a change are recorded before the change is made. That write was refused, so no change was made."
    RECORD_BEHIND "HG0711" "the record could not be brought up to date"
        "The steps were made; the record still has the form it had before them, which knows every before-value. The next apply brings it up to date."
    INTERRUPTED "HG0712" "interrupted"
        "The step in flight was finished, the rest was skipped. A second apply goes on from here."
    LOCKED "HG0713" "somebody else applies this plan just now"
        "One run of a plan at a time may write: a Lease in the inventory namespace says whose it is (for a snapshot file, a lock of the file system). It is renewed every two seconds and ends by itself eight seconds after its holder died; a lock that seems dead is watched for that long before it is taken over. Nothing was written. Wait for the run to end, or let this one wait with --lock-timeout SECONDS."
    LOCK_LOST "HG0714" "the lock was lost on the way"
        "The lock could not be renewed in time, or somebody else took it over because this process stood still for too long. Nothing was written after that, the record included: it has the form it had before the steps, which knows every before-value. The next apply goes on from what is there."
    LOCK_FAILED "HG0715" "the lock could not be asked for"
        "Without the lock two runs of a plan could write at once, so nothing was written. The Lease in the inventory namespace must be readable and writable."
    MOVED "HG0716" "somebody changed what the rest stands on"
        "After each batch of steps everything is read again. What is there is not what the steps left, and it changes what is left to do, its safe order, or who can reach what in the end. No further step was made; what was done is recorded."
    SAVED_BROKEN "HG0717" "the saved change set is not as it was saved"
        "A saved change set carries a digest over everything in it. This one does not fit it, or is cut short, so what it says is not what was approved. Save a new one with `hostguard plan --out FILE`."
    SAVED_NEWER "HG0718" "the change set was saved by another hostguard"
        "Steps, proof and exposure are worked out again from what was saved, and another version may work them out otherwise. Use the version that saved it, or save a new one."
    SAVED_EXPIRED "HG0719" "the saved change set has expired"
        "It was saved with --expires, and that time is over. Nothing was written. Save a new one, and have it approved."
    PLAN_EDITED "HG0720" "the plan was edited after the change set was saved"
        "The file that the change set was made from says something else now. What was approved is the old text; what the repository says is the new one. Nothing was written."
    SAVED_FIXED "HG0721" "a saved change set takes no other choices"
        "Inputs, accepted packets and forced fields are part of what was approved. To change them, save a new change set."
    NO_SUCH_RUN "HG0722" "no such run is kept"
        "`hostguard history` lists the runs of a plan that are kept: the last ten. A run is named by its number, or by the id of its change set where that is the only one with it."
    RUN_OVERLAID "HG0723" "a later run changed the same"
        "What a run found can go back only while what it wrote is still what counts. A later run wrote the same objects, so that one has to be taken back first."
    RUN_WITHOUT_VALUES "HG0724" "the run was kept without the values it found"
        "They did not fit into one object of the API. The plan's record still knows the values found at first, which `hostguard destroy` gives back."
    RUN_UNREADABLE "HG0725" "the account of a run cannot be read"
        "The ConfigMap of the run is not as hostguard wrote it, or a newer hostguard did."
    // 08: files and the command line
    SNAPSHOT_UNREADABLE "HG0801" "the snapshot cannot be read"
        "The file given with --live cannot be opened."
    SNAPSHOT_NEWER "HG0802" "the snapshot was written by a newer hostguard"
        "The file has a format that this binary does not know. What it would leave out could be what matters, so it is refused."
    SNAPSHOT_BROKEN "HG0803" "not a snapshot"
        "The file given with --live is not a hostguard snapshot (a plan and a saved change set are none), or it contradicts itself. It is never read in part: what is missing would look absent."
    FILE_UNREADABLE "HG0804" "a file cannot be read"
        "A file named on the command line cannot be opened or is not text."
    ONE_PLAN "HG0805" "one plan is needed"
        "The verb works on one plan, and the file holds none or several. `check` takes any number."
    FILE_UNWRITABLE "HG0806" "a file cannot be written"
        "The file could not be written; what was there before is unchanged."
    UNKNOWN_CODE "HG0807" "no such code"
        "`hostguard explain` knows the codes that hostguard prints, HG and four digits, and the fields of the plan language."
    USAGE "HG0808" "the command line is not understood"
        "An option, verb or value is not known or does not fit with the others. `hostguard help` lists them."

    SNAPSHOT_OLD "HG0820" "the snapshot is too old"
        "With --max-age a snapshot is taken for the cluster only while it is younger than that. This one is older, was taken later than this machine's clock says, or does not say when it was taken. Take a new one with `hostguard snapshot --out FILE` where the cluster can be read; the age is not a matter of the plan."
    SNAPSHOT_EDITED "HG0821" "the snapshot is not as it was taken"
        "A snapshot carries a digest over all its other lines: SHA-256, as `grep -v '^  \"digest\": ' FILE | sha256sum` prints it. It does not fit, so somebody edited the file, a formatter or a change of line ends did, or it is cut. The digest tells of slips and is no signature: who may write the file can write another one. A snapshot without a digest is one that people edit, such as those of the examples, and is read as it is."

    // 09: what is not there yet
    LATER "HG0901" "comes in a later version"
        "This part of the language is read and its references are checked, but this version of hostguard cannot do it yet. It is refused and never ignored: ignoring it would promise a protection that is not there. Remove it until then."

    // 10: gates, which a plan can set the level of
    WORLD_OPEN "HG1001" "a port that the whole internet can reach"
        "Because of this plan a port of a node becomes open, or a Service is made behind a port that already was, for most public addresses of an IP family. It is worked out from what packets find through every layer that was read, not from how a rule is written. If that is meant, say so: an expectation such as `{ from: internet, to: GROUP, service: NAME, is: open }` makes it a note. This is an error where the firewall in front of the nodes was read, and a warning where it was not, unless `gates` gives it another level."
    ADMIN_OPEN "HG1002" "a port of the administrators open to the internet"
        "Once everything is done, SSH (22), the kubelet (10250, 10255) or etcd (2379, 2380) of a node can be reached from most public addresses, through the cloud's firewall, which was read. Failsafe ports are let through before any policy, so a guard does not close 22: close it in the security group, or take it out of the failsafe list once another way in is proven. This is a warning unless `gates` gives it another level."
    ADMIN_CUT "HG1003" "nobody reaches an administrator's port any more"
        "Before, somebody outside the cluster could reach SSH (22) or the kubelet (10250) of a node, and once everything is done nobody can. The refusal of a lock-out was accepted for it, packet by packet; this says what that comes to for the node as a whole. See that there is another way in before it is applied. This is a warning unless `gates` gives it another level."
    NO_FAILSAFE "HG1004" "no failsafe ports"
        "A FelixConfiguration has an empty list of failsafe ports in the end. Nothing is then exempt from policy in that direction: one policy too many cuts SSH, the API server, etcd and Calico's own control, and no later fix reaches the node. This is a warning unless `gates` gives it another level."
    UNTRACKED_HALF "HG1005" "untracked in one direction only"
        "A policy with doNotTrack lets packets in and none lets the replies out (or the other way round). Such packets skip connection tracking: the kernel sees half a connection, calls the other half invalid and drops it, so what the policy allows does not work. Write the rule for the replies too: egress from the same port, in a policy with doNotTrack. This is an error unless `gates` gives it another level."
    ORDER_TIE "HG1006" "policies whose order is decided by their names"
        "Two policies of one tier have the same order, or none, and some packet fares otherwise if they are asked the other way round. Calico then goes by the names, and a policy that is renamed changes who can connect. Give them different orders. This is a warning unless `gates` gives it another level."
    RULE "HG1010" "a rule of the plan that does not hold"
        "The plan has rules of its own under `gates.rules`, each an expression about the answer. This one is false. The level is the rule's own, `error` when it has none."
    RULE_UNANSWERED "HG1011" "a rule of the plan without an answer"
        "The expression of a rule gave neither true nor false: it named a field that is not there, compared what cannot be compared, or took more steps than a rule may. What has no answer does not hold. Use `has(x.y)` before a field that can be missing, and fewer loops inside loops."
    WAIVER_EXPIRED "HG1020" "a waiver that has expired"
        "The last day of a waiver has passed (UTC). What it let through counts again, and the waiver itself is an error until it is taken out or somebody gives it a new day, with a reason. It has no level."
    WAIVER_UNUSED "HG1021" "a waiver that lets nothing through"
        "Nothing that was found has the code and the subject of the waiver. It would let through the next such finding without a word, so take it out. The subject is compared as it is printed. This is a warning unless `gates` gives it another level."
}

/// The row of a code written as `HG0104` or `0104`, in any case.
pub fn explain(text: &str) -> Option<&'static Explanation> {
    let wanted = text.trim().to_ascii_uppercase();
    let wanted = wanted.strip_prefix("HG").unwrap_or(&wanted);
    ALL.iter().find(|row| &row.code.0[2..] == wanted)
}

/// The row of a rule of Calico's with this code.
pub fn calico(code: &str) -> Option<&'static crate::calico::Rule> {
    crate::calico::RULES.iter().find(|rule| rule.id == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_ascending_and_explained() {
        for pair in ALL.windows(2) {
            assert!(pair[0].code < pair[1].code, "{} before {}", pair[0].code, pair[1].code);
        }
        for row in ALL {
            assert!(row.code.0.len() == 6 && row.code.0.starts_with("HG"));
            assert!(
                row.text.len() > 40 && row.text.ends_with('.'),
                "{} needs a sentence",
                row.code
            );
        }
    }
}

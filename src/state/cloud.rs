//! What is to be read of the cloud, and which instances the nodes of a state are.

use std::collections::BTreeSet;

use serde_json::Value;

use super::State;
use crate::resource::{Key, Kind};

/// What is to be read of the cloud in front of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloudScope {
    /// As the plan says it; without it the provider looks for one.
    pub region: Option<String>,
    /// The name of the EKS cluster, when the plan says it.
    pub eks_cluster: Option<String>,
    /// Instances that the plan itself names (`i-…`); those of the nodes come with [`CloudScope::all_instances`].
    pub instances: BTreeSet<String>,
    /// What is asked beside objects, as `Lookup::source` names it (`imds/public-ipv4`); the answers go into
    /// [`State::looked_up`].
    pub lookups: BTreeSet<String>,
    /// Prefix lists that the plan itself names (`pl-…`), besides those that rules name.
    pub prefix_lists: BTreeSet<String>,
    /// Groups that the plan itself names (`sg-…`).
    pub groups: BTreeSet<String>,
    /// The plan does not speak of the cloud, but its record may: with a name here the cloud is read only when that
    /// plan's record names objects of it.
    pub recorded_by: Option<String>,
}

impl CloudScope {
    /// Both; where they choose otherwise, the other one's choice counts.
    pub(super) fn with(mut self, other: CloudScope) -> CloudScope {
        self.instances.extend(other.instances);
        self.lookups.extend(other.lookups);
        self.prefix_lists.extend(other.prefix_lists);
        self.groups.extend(other.groups);
        CloudScope {
            region: other.region.or(self.region),
            eks_cluster: other.eks_cluster.or(self.eks_cluster),
            recorded_by: self.recorded_by.and(other.recorded_by),
            ..self
        }
    }

    /// Whether anything of the cloud must be read, now that the cluster was.
    pub fn wanted(&self, cluster: &State) -> bool {
        match &self.recorded_by {
            None => true,
            Some(plan) => !recorded_groups(cluster, plan).is_empty(),
        }
    }

    /// The instances to read: those that the plan names, and those that are nodes.
    pub fn all_instances(&self, cluster: &State) -> BTreeSet<String> {
        let mut all = self.instances.clone();
        if let Ok(nodes) = cluster.list(Kind::Node) {
            let instance =
                |node: &Value| Some(aws_instance(node.pointer("/spec/providerID")?.as_str()?)?.1.to_string());
            all.extend(nodes.filter_map(|(_, node)| instance(&node)));
        }
        all
    }

    /// The groups to read besides those of the instances: those that the plan or any record names.
    pub fn all_groups(&self, cluster: &State) -> BTreeSet<String> {
        let mut all = self.groups.clone();
        if let Ok(inventories) = cluster.inventories() {
            for plan in inventories.keys() {
                all.extend(recorded_groups(cluster, plan));
            }
        }
        all
    }
}

/// The groups whose rules a plan's record names.
fn recorded_groups(cluster: &State, plan: &str) -> BTreeSet<String> {
    let Ok(mut inventories) = cluster.inventories() else {
        return BTreeSet::new();
    };
    let Some(Ok(inventory)) = inventories.remove(plan) else {
        return BTreeSet::new();
    };
    let keys = inventory.entries.keys().filter_map(|text| Key::parse(text));
    keys.filter(|key| key.kind == Kind::SecurityGroupRule)
        .filter_map(|key| Some(key.name.split_once('/')?.0.to_string()))
        .collect()
}

/// The availability zone and the instance of a node's `spec.providerID`: `aws:///eu-west-1a/i-0abc`. `None` for nodes
/// that are no instances of AWS (Fargate's have another last part).
/// Source: cloud-provider-aws, `pkg/providers/v1/instances.go`, `KubernetesInstanceID.MapToAWSInstanceID`.
pub fn aws_instance(provider_id: &str) -> Option<(&str, &str)> {
    let path = provider_id.strip_prefix("aws://")?;
    let path = path.strip_prefix('/').unwrap_or(path);
    let (zone, id) = path.split_once('/').unwrap_or(("", path));
    let hex = id.strip_prefix("i-")?;
    let hexadecimal = !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    hexadecimal.then_some((zone, id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{Entry, Inventory};
    use crate::state::{ClusterFacts, Scope, Serving};
    use serde_json::json;

    /// A node that is an instance, and a plan `p` that made a rule.
    fn cluster() -> State {
        let mut state = State::new(ClusterFacts {
            snapshot: None,
            name: "c".into(),
            serving: Serving::Native,
            felix_fields: None,
        });
        let node = json!({"metadata": {"name": "n"}, "spec": {"providerID": "aws:///zone/i-0ab"}});
        let mut inventory = Inventory::new("p");
        let key = Key::cluster(Kind::SecurityGroupRule, "sg-1/ingress/tcp/22/0.0.0.0/0");
        inventory.entries.insert(key.to_string(), Entry::default());
        state.listed(Kind::Node, vec![node]).unwrap();
        state
            .listed(Kind::ConfigMap, vec![inventory.object("hostguard")])
            .unwrap();
        state
    }

    #[test]
    fn a_cloud_is_read_where_the_plan_or_its_record_speaks_of_it() {
        let state = cluster();
        let of = |plan: Option<&str>| CloudScope {
            recorded_by: plan.map(str::to_string),
            ..CloudScope::default()
        };
        assert!(of(None).wanted(&state) && of(Some("p")).wanted(&state));
        assert!(!of(Some("q")).wanted(&state), "no record of that plan names a rule");
        assert_eq!(of(None).all_instances(&state), ["i-0ab".to_string()].into());
        assert_eq!(of(None).all_groups(&state), ["sg-1".to_string()].into());
    }

    #[test]
    fn what_was_read_once_is_read_on() {
        let mut state = cluster();
        let scope = Scope {
            kinds: BTreeSet::new(),
            inventory_namespace: "hostguard".into(),
            cloud: Some(CloudScope {
                recorded_by: Some("p".into()),
                ..CloudScope::default()
            }),
        };
        assert_eq!(scope.clone().after(&state), scope);
        state.listed(Kind::SecurityGroupRule, Vec::new()).unwrap();
        assert_eq!(scope.after(&state).cloud, Some(CloudScope::default()));
    }

    #[test]
    fn only_instances_of_aws_are_found_in_a_provider_id() {
        assert_eq!(aws_instance("aws:///eu-west-1a/i-0ab"), Some(("eu-west-1a", "i-0ab")));
        assert_eq!(aws_instance("aws:///i-0ab"), Some(("", "i-0ab")));
        for other in [
            "aws:///eu-west-1a/0123/fargate-ip-10-0-0-1.ec2.internal",
            "gce://project/zone/i-0ab",
            "aws:///eu-west-1a/i-",
            "kind://docker/kind/kind-worker",
            "",
        ] {
            assert_eq!(aws_instance(other), None, "{other}");
        }
    }
}

//! A cluster, and the cloud in front of it: one provider of both.
//!
//! The cluster is read first, because its nodes say which instances they are; the cloud only where the scope asks for
//! it. Every change goes to the one that owns its kind.

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde_json::Value;

use super::{Denied, OwnLock, Provider, Refusal};
use crate::changes::Change;
use crate::error::Error;
use crate::resource::Kind;
use crate::state::{CloudScope, Scope, State};

/// The label with the region that a cloud's controller puts on nodes (Kubernetes, "Well-Known Labels").
const REGION_LABEL: &str = "topology.kubernetes.io/region";

pub struct WithCloud<Cluster, Cloud> {
    cluster: Cluster,
    cloud: Cloud,
}

impl<Cluster: Provider, Cloud: Provider> WithCloud<Cluster, Cloud> {
    pub fn new(cluster: Cluster, cloud: Cloud) -> WithCloud<Cluster, Cloud> {
        WithCloud { cluster, cloud }
    }

    fn owner(&self, kind: Kind) -> &dyn Provider {
        if self.cluster.owns(kind) {
            &self.cluster
        } else {
            &self.cloud
        }
    }
}

/// What is to be read of the cloud, now that the cluster was; `None`: nothing.
fn now_known(scope: &CloudScope, cluster: &State) -> Option<CloudScope> {
    scope.wanted(cluster).then(|| CloudScope {
        region: scope.region.clone().or_else(|| region(cluster)),
        instances: scope.all_instances(cluster),
        groups: scope.all_groups(cluster),
        ..scope.clone()
    })
}

/// The region that all nodes are in, as far as they say.
fn region(cluster: &State) -> Option<String> {
    let nodes = cluster.list(Kind::Node).ok()?;
    let regions = nodes.filter_map(|(_, node)| Some(node["metadata"]["labels"][REGION_LABEL].as_str()?.to_string()));
    let regions: BTreeSet<String> = regions.collect();
    match &regions.into_iter().collect::<Vec<_>>()[..] {
        [region] => Some(region.clone()),
        _ => None,
    }
}

#[async_trait]
impl<Cluster: Provider, Cloud: Provider> Provider for WithCloud<Cluster, Cloud> {
    fn owns(&self, kind: Kind) -> bool {
        self.cluster.owns(kind) || self.cloud.owns(kind)
    }

    async fn read(&self, scope: &Scope) -> Result<State, Error> {
        let mut state = self.cluster.read(scope).await?;
        let wanted = scope.cloud.as_ref().and_then(|cloud| now_known(cloud, &state));
        if let Some(cloud) = wanted {
            let scope = Scope {
                cloud: Some(cloud),
                ..scope.clone()
            };
            state.merge(self.cloud.read(&scope).await?);
        }
        Ok(state)
    }

    async fn may(&self, changes: &[&Change]) -> Result<Vec<Denied>, Error> {
        let (cluster, cloud): (Vec<&Change>, Vec<&Change>) =
            changes.iter().partition(|change| self.cluster.owns(change.key.kind));
        let mut denied = self.cluster.may(&cluster).await?;
        if !cloud.is_empty() {
            denied.extend(self.cloud.may(&cloud).await?);
        }
        Ok(denied)
    }

    async fn perform(&self, change: &Change) -> Result<Option<Value>, Refusal> {
        self.owner(change.key.kind).perform(change).await
    }

    fn lock(&self, plan: &str, holder: &str) -> OwnLock {
        self.cluster.lock(plan, holder)
    }

    fn warnings(&self) -> Vec<String> {
        let mut all = self.cluster.warnings();
        all.extend(self.cloud.warnings());
        all
    }

    fn places(&self) -> Vec<String> {
        let mut all = self.cluster.places();
        all.extend(self.cloud.places());
        all
    }
}

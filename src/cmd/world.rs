//! Opens the provider that `--live` names, with the cloud behind it where that can be asked.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::cli::World;
use crate::error::Error;
use crate::provider::aws::{self, Aws};
use crate::provider::cluster::{Cluster, Connect};
use crate::provider::http::Given;
use crate::provider::snapshot::Snapshot;
use crate::provider::with_cloud::WithCloud;
use crate::provider::{Provider, one_owner_each};
use crate::state::Scope;

/// The provider, whose writes are made in the name of `plan`.
pub(super) async fn open(world: &World, plan: &str) -> Result<Arc<dyn Provider>, Error> {
    let provider: Arc<dyn Provider> = if world.live == "cluster" {
        let request_timeout = Duration::from_secs(world.request_timeout);
        let connect = Connect {
            kubeconfig: world.kubeconfig.clone(),
            context: world.context.clone(),
            request_timeout,
        };
        let cluster = Cluster::connect(connect).await?.for_plan(plan);
        let aws = Aws::new(aws::Connect {
            region: world.region.clone(),
            request_timeout,
            page: aws::PAGE,
            given: Given {
                now: jiff::Timestamp::now,
                jitter: fastrand::f64,
            },
        });
        Arc::new(WithCloud::new(cluster, aws))
    } else {
        Arc::new(Snapshot::open(Path::new(&world.live))?)
    };
    one_owner_each(&[provider.as_ref()]).expect("one provider owns every kind");
    Ok(provider)
}

/// The scope, with the cloud where `--with-cloud` asks for it.
pub(super) fn scope(world: &World, mut scope: Scope) -> Scope {
    if world.with_cloud {
        scope.cloud.get_or_insert_default().recorded_by = None;
    }
    scope
}

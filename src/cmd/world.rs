//! Opens the provider that `--live` names.

use std::path::Path;
use std::time::Duration;

use crate::cli::World;
use crate::error::Error;
use crate::provider::cluster::{Cluster, Connect};
use crate::provider::snapshot::Snapshot;
use crate::provider::{Provider, one_owner_each};

/// The provider, whose writes are made in the name of `plan`.
pub(super) async fn open(world: &World, plan: &str) -> Result<Box<dyn Provider>, Error> {
    let provider: Box<dyn Provider> = if world.live == "cluster" {
        let connect = Connect {
            kubeconfig: world.kubeconfig.clone(),
            context: world.context.clone(),
            request_timeout: Duration::from_secs(world.request_timeout),
        };
        Box::new(Cluster::connect(connect).await?.for_plan(plan))
    } else {
        Box::new(Snapshot::open(Path::new(&world.live))?)
    };
    one_owner_each(&[provider.as_ref()]).expect("one provider owns every kind");
    Ok(provider)
}

//! Opens the provider that `--live` names, with the cloud behind it where that can be asked.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::mistaken;
use crate::cli::World;
use crate::error::{Error, codes};
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
        let snapshot = Snapshot::open(Path::new(&world.live)).map_err(|error| match error.code {
            codes::SNAPSHOT_BROKEN => mistaken::for_snapshot(&world.live).unwrap_or(error),
            _ => error,
        })?;
        if let Some(limit) = world.max_age {
            fresh(&world.live, &snapshot.time()?, limit, Timestamp::now())?;
        }
        Arc::new(snapshot)
    };
    one_owner_each(&[provider.as_ref()]).expect("one provider owns every kind");
    Ok(provider)
}

/// Clocks of two machines may differ by this much.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// Refuses a snapshot that is not known to be younger than the limit.
fn fresh(file: &str, taken: &str, limit: SignedDuration, now: Timestamp) -> Result<(), Error> {
    let old = |message: String| {
        let fix = "take a new one where the cluster can be read: `hostguard snapshot --out FILE`";
        Err(Error::failed(codes::SNAPSHOT_OLD, message).fix(fix))
    };
    let Ok(time) = taken.parse::<Timestamp>() else {
        return old(format!(
            "snapshot {file} does not say when it was taken (`{taken}` is no time), and --max-age allows {limit:#}"
        ));
    };
    let age = now.duration_since(time);
    if age < -SKEW {
        return old(format!(
            "snapshot {file} was taken {taken}, later than this machine's clock ({now:.0}) says it is"
        ));
    }
    if age <= limit {
        return Ok(());
    }
    let age = SignedDuration::from_secs(age.as_secs());
    old(format!(
        "snapshot {file} was taken {taken} and is {age:#} old, --max-age allows {limit:#}"
    ))
}

/// The scope, with the cloud where `--with-cloud` asks for it.
pub(super) fn scope(world: &World, mut scope: Scope) -> Scope {
    if world.with_cloud {
        scope.cloud.get_or_insert_default().recorded_by = None;
    }
    scope
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_fresh_up_to_the_limit_and_never_without_a_time() {
        let now: Timestamp = "2026-11-28T12:00:00Z".parse().expect("a time");
        let limit = SignedDuration::from_hours(24);
        let says = |taken: &str| fresh("live.json", taken, limit, now).map_err(|error| error.message);
        assert_eq!(says("2026-11-27T12:00:00Z"), Ok(()));
        assert_eq!(says("2026-11-28T12:04:59Z"), Ok(()), "clocks differ");
        assert_eq!(
            says("2026-11-27T11:59:59Z"),
            Err("snapshot live.json was taken 2026-11-27T11:59:59Z and is 24h 1s old, --max-age allows 24h".into())
        );
        assert_eq!(
            says("2026-11-24T10:30:00Z"),
            Err("snapshot live.json was taken 2026-11-24T10:30:00Z and is 97h 30m old, --max-age allows 24h".into())
        );
        assert!(says("2026-11-28T12:05:01Z").is_err_and(|said| said.contains("later than this machine's clock")));
        assert!(says("yesterday").is_err_and(|said| said.contains("`yesterday` is no time")));
        assert!(says("").is_err());
    }
}

//! AWS as a provider: reads what stands in front of the nodes, and makes rules of security groups.
//!
//! Speaks EC2's Query API and one action of EKS over `provider::http`; credentials, region and endpoints are found as
//! every AWS tool finds them. Nothing is sent, and no credentials are looked for, before the first question. The only
//! part that names AWS crates beside the transport. Never compares and never decides which group is meant.

mod account;
mod answers;
mod form;
mod lookup;
mod may;
mod objects;
mod read;
mod session;
mod sign;
mod write;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use serde_json::Value;
use tokio::sync::OnceCell;

use self::account::Account;
use self::session::Session;
use super::http::{Given, Limits, Transport, Web};
use super::{Denied, Provider, Refusal, Why};
use crate::changes::Change;
use crate::error::{Error, codes};
use crate::resource::Kind;
use crate::state::{ClusterFacts, Reason, Scope, Serving, State, Unreadable};

/// How AWS is asked.
#[derive(Clone, Debug)]
pub struct Connect {
    /// Before the plan's, the environment's, the profile's and the instance's.
    pub region: Option<String>,
    pub request_timeout: Duration,
    /// How many objects a page holds, 5 to 1,000.
    pub page: usize,
    pub given: Given,
}

/// What EC2 gives at most.
pub const PAGE: usize = 1000;

/// The kinds that only AWS has.
fn kinds() -> impl Iterator<Item = Kind> {
    Kind::ALL.into_iter().filter(|kind| kind.cloud())
}

/// An account, once it was asked for.
pub struct Aws {
    connect: Connect,
    limits: Limits,
    /// The account, where it was found otherwise.
    given: Option<SdkConfig>,
    web: OnceCell<Web>,
    session: OnceCell<Session>,
    /// Plays the way to AWS in tests.
    transport: Option<Arc<dyn Transport>>,
}

impl Aws {
    /// An account that is found, by whoever asks first, where every AWS tool finds it.
    pub fn new(connect: Connect) -> Aws {
        let limits = Limits::new(connect.request_timeout);
        Aws {
            connect,
            limits,
            given: None,
            web: OnceCell::new(),
            session: OnceCell::new(),
            transport: None,
        }
    }

    /// This account.
    pub fn of_account(connect: Connect, account: SdkConfig) -> Aws {
        Aws {
            given: Some(account),
            ..Aws::new(connect)
        }
    }

    async fn web(&self) -> Result<&Web, String> {
        let connect = self.limits.connect;
        self.web.get_or_try_init(|| async { account::web(connect) }).await
    }

    /// The session, opened by whoever asks first. `region` is what the plan or the cluster says.
    async fn session(&self, region: Option<&str>) -> Result<&Session, String> {
        let open = || async {
            let transport: Arc<dyn Transport> = match &self.transport {
                Some(transport) => transport.clone(),
                None => Arc::new(self.web().await?.clone()),
            };
            let region = self.connect.region.as_deref().or(region);
            let account = match &self.given {
                Some(config) => Account::of(config.clone())?,
                None => account::find(self.web().await?, region).await?,
            };
            Session::new(&account, transport, &self.connect, self.limits)
        };
        self.session.get_or_try_init(open).await
    }
}

#[async_trait]
impl Provider for Aws {
    fn owns(&self, kind: Kind) -> bool {
        kind.cloud()
    }

    /// Every kind of AWS. An account that cannot be found makes all of them unreadable; where nothing of the scope is
    /// AWS's, nobody is asked.
    async fn read(&self, scope: &Scope) -> Result<State, Error> {
        let mut state = State::new(ClusterFacts {
            name: String::new(),
            serving: Serving::NotInstalled,
            snapshot: None,
            felix_fields: None,
        });
        let Some(cloud) = &scope.cloud else { return Ok(state) };
        for lookup in &cloud.lookups {
            let answer = match lookup.as_str() {
                lookup::OWN_PUBLIC_IPV4 => match self.web().await {
                    Ok(web) => lookup::own_public_ipv4(web).await,
                    Err(why) => Err(why),
                },
                other => Err(format!("{other} is no lookup of AWS")),
            };
            state.looked_up.insert(lookup.clone(), answer);
        }
        if cloud.instances.is_empty() && cloud.groups.is_empty() && cloud.eks_cluster.is_none() {
            for kind in kinds() {
                state.listed(kind, Vec::new()).expect("an empty list has names");
            }
            return Ok(state);
        }
        match self.session(cloud.region.as_deref()).await {
            Ok(session) => read::read(session, cloud, &mut state).await,
            Err(detail) => {
                for kind in kinds() {
                    let (reason, detail) = (Reason::Failed, detail.clone());
                    state.unreadable(kind, Unreadable { reason, detail });
                }
            }
        }
        Ok(state)
    }

    async fn may(&self, changes: &[&Change]) -> Result<Vec<Denied>, Error> {
        if !changes.iter().any(|change| self.owns(change.key.kind)) {
            return Ok(Vec::new());
        }
        let session = self.session(None).await;
        let session = session
            .map_err(|why| Error::failed(codes::ACCESS_REVIEW, "AWS cannot be asked what may be written").cause(why))?;
        may::may(session, changes).await
    }

    async fn perform(&self, change: &Change) -> Result<Option<Value>, Refusal> {
        let session = self.session(None).await.map_err(|why| Refusal {
            why: Why::Other,
            message: format!("not sent: {why}"),
        })?;
        write::perform(session, change).await
    }

    fn places(&self) -> Vec<String> {
        self.session
            .get()
            .map_or_else(Vec::new, |session| session.elsewhere.clone())
    }
}

//! A Kubernetes API server as a provider: lists what is in scope, writes one change, asks what it may write.
//!
//! One LIST a kind, never a GET per object; a write carries its precondition and is read back. The only part that
//! names kube. Arrow in: a [`Connect`]; arrow out: a `State`, or a typed refusal. Never compares and never waits for
//! a controller.

mod call;
mod client;
mod credentials;
mod discover;
mod failure;
mod may;
mod read;
mod write;

#[cfg(test)]
mod scripted;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::OnceCell;

pub use self::client::{Connect, REQUEST_TIMEOUT};

use self::call::{Caller, Limits};
use self::discover::Served;
use super::{Denied, Provider, Refusal};
use crate::changes::Change;
use crate::error::Error;
use crate::resource::{Api, Key, Kind};
use crate::state::{Scope, State};

/// A cluster, connected to.
pub struct Cluster {
    caller: Arc<Caller>,
    name: String,
    server: String,
    proxy: Option<String>,
    /// The field manager of every write.
    manager: String,
    /// What the server serves; asked once.
    served: OnceCell<Served>,
    felix_fields: Arc<OnceCell<BTreeSet<String>>>,
}

impl Cluster {
    /// Finds the cluster and builds a client for it. Nothing is sent yet; a credential plugin may run.
    pub async fn connect(connect: Connect) -> Result<Cluster, Error> {
        let limits = Limits::new(connect.request_timeout);
        Cluster::with_limits(&connect, limits).await
    }

    async fn with_limits(connect: &Connect, limits: Limits) -> Result<Cluster, Error> {
        let connected = client::connect(connect, &limits).await?;
        Ok(Cluster {
            caller: Arc::new(Caller::new(connected.client, limits)),
            name: connected.name,
            server: connected.server,
            proxy: connected.proxy,
            manager: "hostguard".to_string(),
            served: OnceCell::new(),
            felix_fields: Arc::default(),
        })
    }

    /// Writes as field manager `hostguard-<plan>`.
    pub fn for_plan(mut self, plan: &str) -> Cluster {
        self.manager = format!("hostguard-{plan}");
        self
    }

    /// The kubeconfig's name of the cluster, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server's URL, without credentials.
    pub fn server(&self) -> &str {
        &self.server
    }
}

#[async_trait]
impl Provider for Cluster {
    fn owns(&self, kind: Kind) -> bool {
        match kind {
            Kind::Namespace
            | Kind::ClusterInformation
            | Kind::KubeControllersConfiguration
            | Kind::FelixConfiguration
            | Kind::Tier
            | Kind::GlobalNetworkSet
            | Kind::GlobalNetworkPolicy
            | Kind::HostEndpoint
            | Kind::Deployment
            | Kind::StatefulSet
            | Kind::DaemonSet
            | Kind::Service
            | Kind::Node
            | Kind::EndpointSlice
            | Kind::Pod
            | Kind::NetworkPolicy
            | Kind::NetworkSet
            | Kind::IPPool
            | Kind::KubernetesNetworkPolicy
            | Kind::ConfigMap
            | Kind::Run
            | Kind::Lease => true,
            Kind::SecurityGroupRule
            | Kind::Instance
            | Kind::NetworkInterface
            | Kind::SecurityGroup
            | Kind::NetworkAcl
            | Kind::PrefixList
            | Kind::EksCluster => false,
        }
    }

    async fn read(&self, scope: &Scope) -> Result<State, Error> {
        read::read(self, scope).await
    }

    async fn may(&self, changes: &[&Change]) -> Result<Vec<Denied>, Error> {
        may::may(self, changes).await
    }

    async fn perform(&self, change: &Change) -> Result<Option<Value>, Refusal> {
        write::perform(self, change).await
    }

    /// From `Warning` headers.
    fn warnings(&self) -> Vec<String> {
        self.caller.warnings()
    }
}

/// The path of a kind's collection, in one namespace or in all (`""`).
fn collection(api: &Api, namespace: &str) -> String {
    let root = if api.group.is_empty() {
        "/api/v1".to_string()
    } else {
        format!("/apis/{}", api.api_version())
    };
    if namespace.is_empty() {
        format!("{root}/{}", api.plural)
    } else {
        format!("{root}/namespaces/{}/{}", escaped(namespace), api.plural)
    }
}

/// The path of one object.
fn path(key: &Key) -> String {
    format!("{}/{}", collection(&key.kind.api(), &key.namespace), escaped(&key.name))
}

/// Percent-encodes everything that could mean something in a path segment or a query (RFC 3986, unreserved).
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

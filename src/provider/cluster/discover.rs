//! What the server serves: Calico's groups and how they are served, and the fields of the Felix configuration.
//!
//! One request for the groups, one for the schema. A server that cannot be asked is an error, never a guess.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Cluster;
use super::call::{Call, Caller};
use super::credentials;
use super::failure::Failure;
use crate::error::{Error, codes};
use crate::resource::{CALICO_GROUP, Kind};
use crate::state::{Reason, Serving, Unreadable};

/// Where Calico stores its objects unless it is native: served also where nothing validates.
const STORAGE_GROUP: &str = "crd.projectcalico.org";
/// Groups with their resources in one answer; older servers give the names of the groups.
const DISCOVERY: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// What is known of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Served {
    pub serving: Serving,
    /// The plurals in `projectcalico.org/v3`, when the server is sure of them.
    resources: Option<BTreeSet<String>>,
}

impl Served {
    /// Why a kind need not be asked for.
    pub fn lacks(&self, kind: Kind) -> Option<Unreadable> {
        let api = kind.api();
        if api.group != CALICO_GROUP {
            return None;
        }
        let detail = match self.serving {
            Serving::V1Only => format!("the server has {STORAGE_GROUP}, but not {CALICO_GROUP}"),
            Serving::NotInstalled => format!("the server has no group {CALICO_GROUP}"),
            Serving::Aggregated | Serving::Native => match &self.resources {
                Some(resources) if !resources.contains(api.plural) => {
                    format!("{} has no {}", api.api_version(), api.plural)
                }
                _ => return None,
            },
        };
        Some(Unreadable {
            reason: Reason::NotServed,
            detail,
        })
    }
}

/// Both shapes of the answer: `APIGroupDiscoveryList` and `APIGroupList`.
#[derive(Deserialize)]
struct Groups {
    #[serde(default)]
    items: Vec<Group>,
    #[serde(default)]
    groups: Vec<PlainGroup>,
    kind: String,
}

#[derive(Deserialize)]
struct PlainGroup {
    name: String,
}

#[derive(Deserialize)]
struct Group {
    metadata: GroupName,
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Deserialize)]
struct GroupName {
    name: String,
}

#[derive(Deserialize)]
struct Version {
    version: String,
    #[serde(default)]
    resources: Vec<Resource>,
    /// `Stale` when an aggregated server does not answer: its resources are then unknown, not absent.
    #[serde(default)]
    freshness: String,
}

#[derive(Deserialize)]
struct Resource {
    resource: String,
}

/// Asks for the groups.
pub(super) async fn served(caller: &Caller) -> Result<Served, Failure> {
    let answer = caller.send(&Call::get("/apis").accept(DISCOVERY)).await?;
    let groups: Groups = answer.json()?;
    if !matches!(groups.kind.as_str(), "APIGroupDiscoveryList" | "APIGroupList") {
        return Err(Failure::Foreign {
            code: 200,
            excerpt: format!("JSON of kind `{}`", groups.kind),
        });
    }
    Ok(judge(groups))
}

/// Calico's own rule (`libcalico-go/lib/backend/k8s/discovery.go`).
fn judge(groups: Groups) -> Served {
    let mut names: BTreeSet<String> = groups.groups.into_iter().map(|group| group.name).collect();
    let mut resources = None;
    for group in groups.items {
        if group.metadata.name == CALICO_GROUP {
            let v3 = group.versions.into_iter().find(|version| version.version == "v3");
            resources = v3
                .filter(|v3| v3.freshness != "Stale")
                .map(|v3| v3.resources.into_iter().map(|resource| resource.resource).collect());
        }
        names.insert(group.metadata.name);
    }
    let serving = match (names.contains(CALICO_GROUP), names.contains(STORAGE_GROUP)) {
        (true, true) => Serving::Aggregated,
        (true, false) => Serving::Native,
        (false, true) => Serving::V1Only,
        (false, false) => Serving::NotInstalled,
    };
    Served { serving, resources }
}

/// The error for a server of which nothing can be said.
pub(super) fn unusable(cluster: &Cluster, failure: &Failure) -> Error {
    let server = &cluster.server;
    let failed = |code, message: String| Error::failed(code, message).cause(failure.to_string());
    match failure {
        Failure::Unsent(_) | Failure::Untrusted(_) | Failure::Broken(_) => {
            let error = failed(codes::UNREACHABLE, format!("the API server {server} cannot be reached"));
            match &cluster.proxy {
                Some(proxy) => error.fix(format!(
                    "it was asked through the proxy {proxy} (proxy-url, HTTPS_PROXY)"
                )),
                None => {
                    error.fix("see that the kubeconfig names the right server, and that it can be reached from here")
                }
            }
        }
        Failure::TimedOut { .. } => failed(codes::UNANSWERED, format!("the API server {server} does not answer"))
            .fix("give it more time with --request-timeout"),
        Failure::Credentials(what) => credentials::unusable(server, what.clone()),
        Failure::Foreign { .. } => failed(
            codes::NOT_API_SERVER,
            format!("what answers at {server} is not a Kubernetes API server"),
        )
        .fix(
            "see what stands in front of it, such as a login page or a load balancer, and the server in the kubeconfig",
        ),
        Failure::Refused(refused) if refused.code == 401 => failed(
            codes::UNAUTHORIZED,
            format!("the API server {server} does not accept the credentials"),
        )
        .fix("log in again, or choose another context with --context"),
        Failure::Refused(_) => failed(
            codes::DISCOVERY,
            format!("which API groups {server} serves cannot be read"),
        )
        .fix("try again; where it is refused, give this identity the ClusterRole system:discovery"),
    }
}

/// As much of an OpenAPI document as leads to the properties of a spec; the rest is skipped unread.
#[derive(Deserialize)]
struct Document {
    components: Components,
}

#[derive(Deserialize)]
struct Components {
    schemas: BTreeMap<String, Schema>,
}

#[derive(Deserialize)]
struct Schema {
    #[serde(default)]
    properties: BTreeMap<String, Property>,
    #[serde(default, rename = "x-kubernetes-group-version-kind")]
    kinds: Vec<GroupVersionKind>,
}

#[derive(Deserialize)]
struct GroupVersionKind {
    group: String,
    version: String,
    kind: String,
}

/// A property: its own properties (native), or where they are (aggregated).
#[derive(Deserialize)]
struct Property {
    #[serde(default)]
    properties: BTreeMap<String, IgnoredAny>,
    #[serde(default, rename = "$ref")]
    reference: Option<String>,
    #[serde(default, rename = "allOf")]
    all_of: Vec<Reference>,
}

#[derive(Deserialize)]
struct Reference {
    #[serde(default, rename = "$ref")]
    reference: Option<String>,
}

/// The properties of a Calico kind's spec in the served schema.
pub(super) async fn spec_fields(caller: &Caller, kind: Kind) -> Option<BTreeSet<String>> {
    let api = kind.api();
    let answer = caller
        .send(&Call::get(format!("/openapi/v3/apis/{}", api.api_version())))
        .await
        .ok()?;
    fields(&answer.json().ok()?, kind)
}

fn fields(document: &Document, kind: Kind) -> Option<BTreeSet<String>> {
    let api = kind.api();
    let is_it = |of: &GroupVersionKind| {
        (of.group.as_str(), of.version.as_str(), of.kind.as_str()) == (api.group, api.version, api.kind)
    };
    let schemas = &document.components.schemas;
    let schema = schemas
        .values()
        .find(|schema| schema.kinds.iter().any(is_it) && schema.properties.contains_key("spec"))?;
    let spec = schema.properties.get("spec")?;
    if !spec.properties.is_empty() {
        return Some(spec.properties.keys().cloned().collect());
    }
    let reference = spec
        .reference
        .as_ref()
        .or_else(|| spec.all_of.iter().find_map(|all| all.reference.as_ref()))?;
    let target = schemas.get(reference.strip_prefix("#/components/schemas/")?)?;
    Some(target.properties.keys().cloned().collect())
}

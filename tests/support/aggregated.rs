//! Plays Calico's aggregated API server over native custom resources: the differences that were recorded from a real
//! one, and no more. A player, not the server: what it does not know of, it does as the native server.

use hyper::body::Bytes;
use serde_json::{Value, json};

use super::script::Said;

const GROUP: &str = "/apis/projectcalico.org";
const STORAGE: &str = "crd.projectcalico.org";

/// How the played server is.
#[derive(Clone, Debug, Default)]
pub struct Aggregated {
    /// The group is listed, and nobody answers for it.
    pub down: bool,
}

impl Aggregated {
    /// The path as the native server is asked: Calico's ignores `limit`, so everything comes at once.
    pub fn asked(&self, path: &str) -> String {
        let Some((at, query)) = path.split_once('?').filter(|_| path.starts_with(GROUP)) else {
            return path.to_string();
        };
        let ignored = |part: &&str| !part.starts_with("limit=") && !part.starts_with("continue=");
        let kept: Vec<&str> = query.split('&').filter(ignored).collect();
        format!("{at}?{}", kept.join("&"))
    }

    /// An answer that the native server would not give.
    pub fn instead(&self, verb: &str, path: &str, body: &[u8]) -> Option<Said> {
        if !path.starts_with(GROUP) && !path.starts_with(&format!("/openapi/v3{GROUP}")) {
            return None;
        }
        if self.down {
            return Some(Said::text(503, "text/plain; charset=utf-8", "service unavailable\n"));
        }
        if !["POST", "PATCH"].contains(&verb) {
            return None;
        }
        // Its own validation, below admission: a failure is a plain error to the layers above.
        let object: Value = serde_json::from_slice(body).unwrap_or_default();
        let nets = object.pointer("/spec/nets").and_then(Value::as_array)?;
        let (at, bad) = nets
            .iter()
            .enumerate()
            .find(|(_, net)| !net.as_str().is_some_and(|net| net.contains('/')))?;
        let bad = bad.as_str().unwrap_or_default();
        let message = format!(
            "error with field Nets[{at}] = '{bad}' (Reason: failed to validate Field: Nets[{at}] because of Tag: cidr )"
        );
        Some(Said::status(500, "", &message))
    }

    /// The native server's answer as the aggregated one gives it.
    pub fn answered(&self, path: &str, body: Bytes) -> Bytes {
        let is_groups = path.split('?').next() == Some("/apis");
        if !is_groups && !path.starts_with(GROUP) {
            return body;
        }
        let Ok(mut answer) = serde_json::from_slice::<Value>(&body) else {
            return body;
        };
        if is_groups {
            self.groups(&mut answer);
        } else if let Some(items) = answer.get_mut("items").and_then(Value::as_array_mut) {
            let kind = if path.contains("/felixconfigurations") {
                "FelixConfiguration"
            } else if path.contains("/kubecontrollersconfigurations") {
                "KubeControllersConfiguration"
            } else {
                ""
            };
            items.iter_mut().for_each(|item| as_aggregated(kind, item));
        } else {
            let kind = answer["kind"].as_str().unwrap_or_default().to_string();
            as_aggregated(&kind, &mut answer);
        }
        answer.to_string().into()
    }

    /// Both groups are there; one that is down has no known resources.
    fn groups(&self, answer: &mut Value) {
        if let Some(groups) = answer.get_mut("groups").and_then(Value::as_array_mut) {
            groups.push(json!({"name": STORAGE}));
        }
        let Some(items) = answer.get_mut("items").and_then(Value::as_array_mut) else {
            return;
        };
        items.push(json!({"metadata": {"name": STORAGE}, "versions": [{"version": "v1", "freshness": "Current"}]}));
        for group in items.iter_mut().filter(|_| self.down) {
            if group["metadata"]["name"] == "projectcalico.org" {
                group["versions"] = json!([{"version": "v3", "freshness": "Stale"}]);
            }
        }
    }
}

/// Without a generation, and with the defaults that only that server fills in.
fn as_aggregated(kind: &str, object: &mut Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    metadata.remove("generation");
    let defaults = match kind {
        "FelixConfiguration" => json!({
            "nftablesMode": "Auto", "nftablesFlowTableOffload": "Disabled", "bpfLogLevel": "",
            "bpfConnectTimeLoadBalancing": "TCP", "bpfHostNetworkedNATWithoutCTLB": "Enabled",
            "floatingIPs": "Disabled", "logSeverityScreen": "Info",
        }),
        "KubeControllersConfiguration" => json!({
            "healthChecks": "Enabled", "prometheusMetricsPort": 9094,
            "controllers": {"node": {"leakGracePeriod": "15m0s"}},
        }),
        _ => return,
    };
    if let Some(spec) = object.get_mut("spec") {
        fill(spec, &defaults);
    }
}

fn fill(object: &mut Value, defaults: &Value) {
    match (object, defaults) {
        (Value::Object(object), Value::Object(defaults)) => {
            for (name, default) in defaults {
                fill(object.entry(name.clone()).or_insert(Value::Null), default);
            }
        }
        (object @ Value::Null, default) => *object = default.clone(),
        _ => {}
    }
}

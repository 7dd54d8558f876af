//! One identity's plain requests to an API server: a method, a path, a body; a status, a body, warnings.
//!
//! Never turns a refusal into an error: tests are about answers, refusals included. Blocking, on a runtime of its own.

use http::{Method, Request, header};
use http_body_util::BodyExt;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use super::kinds;

pub struct Rest {
    runtime: tokio::runtime::Runtime,
    client: kube::Client,
}

/// What the server said, whatever it said.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub warnings: Vec<String>,
}

impl Rest {
    pub fn new(kubeconfig: &Path) -> Rest {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let client = runtime.block_on(async {
            let read = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
            let mut config = kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
                .await
                .expect("a usable kubeconfig");
            config.proxy_url = None; // the server is on loopback, whatever the environment says
            config.read_timeout = Some(Duration::from_secs(30));
            kube::Client::try_from(config).expect("a client")
        });
        Rest { runtime, client }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path, "", None)
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.request(Method::POST, path, "application/json", Some(body))
    }

    pub fn put(&self, path: &str, body: &Value) -> Answer {
        self.request(Method::PUT, path, "application/json", Some(body))
    }

    pub fn merge(&self, path: &str, body: &Value) -> Answer {
        self.request(Method::PATCH, path, "application/merge-patch+json", Some(body))
    }

    pub fn apply(&self, path: &str, body: &Value) -> Answer {
        self.request(Method::PATCH, path, "application/apply-patch+yaml", Some(body))
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.request(Method::DELETE, path, "", None)
    }

    /// POSTs `object` where its kind belongs, refusing unknown fields.
    #[track_caller]
    pub fn create(&self, object: &Value) -> Value {
        self.post(
            &format!("{}?fieldValidation=Strict", kinds::collection_of(object)),
            object,
        )
        .ok()
    }

    /// The items of a LIST.
    #[track_caller]
    pub fn list(&self, collection: &str) -> Vec<Value> {
        match self.get(collection).ok()["items"].take() {
            Value::Array(items) => items,
            other => panic!("LIST {collection} answered no items but {other}"),
        }
    }

    pub fn request(&self, method: Method, path: &str, content_type: &str, body: Option<&Value>) -> Answer {
        let mut request = Request::builder()
            .method(&method)
            .uri(path)
            .header(header::ACCEPT, "application/json");
        if !content_type.is_empty() {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let body = body.map_or(Body::empty(), |b| Body::from(b.to_string().into_bytes()));
        let request = request
            .header(header::USER_AGENT, "tests-of-hostguard")
            .body(body)
            .expect("a request");
        self.runtime.block_on(async {
            let response = self
                .client
                .send(request)
                .await
                .unwrap_or_else(|e| panic!("{method} {path}: {e}"));
            let status = response.status().as_u16();
            let warnings = response.headers().get_all(header::WARNING).iter();
            let warnings = warnings
                .map(|w| String::from_utf8_lossy(w.as_bytes()).into_owned())
                .collect();
            let bytes = response
                .into_body()
                .collect()
                .await
                .unwrap_or_else(|e| panic!("{method} {path}: {e}"));
            let bytes = bytes.to_bytes();
            let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
            Answer {
                status,
                body: serde_json::from_slice(&bytes).unwrap_or_else(|_| text()),
                warnings,
            }
        })
    }
}

impl Answer {
    /// The body of a success; anything else fails the test.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "refused: {self}");
        self.body
    }

    pub fn reason(&self) -> &str {
        self.body["reason"].as_str().unwrap_or("")
    }

    pub fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or("")
    }

    /// The fields that a refusal names, in its order.
    pub fn fields(&self) -> Vec<&str> {
        let causes = self.body["details"]["causes"]
            .as_array()
            .map_or(&[] as &[Value], Vec::as_slice);
        causes.iter().filter_map(|c| c["field"].as_str()).collect()
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.body)
    }
}

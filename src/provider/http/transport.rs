//! The way to an API: TLS by rustls, roots of the system or of a file, the proxy that the environment names.
//!
//! One client serves our own calls and those that look for credentials. Loopback and the metadata service of an
//! instance are never asked through a proxy.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore};
use aws_smithy_http_client::{Connector, tls::Provider as TlsProvider};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use http::Uri;
use http_body_util::{BodyExt, Limited};

use super::Failure;
use crate::provider::proxy;

/// An answer above this is given up: a page of 1,000 instances is a few MiB.
const MAX_ANSWER: usize = 128 << 20;

/// Something that carries one request. Tests play it.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Sends once. A failure is [`Failure::Unsent`], [`Failure::Untrusted`] or [`Failure::Broken`].
    async fn send(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, Failure>;
}

/// The real one.
#[derive(Clone, Debug)]
pub struct Web {
    ways: Arc<Ways>,
    ours: SharedHttpConnector,
}

#[derive(Debug)]
struct Ways {
    trusted: TlsContext,
    /// `HTTPS_PROXY` and the like, as given.
    variables: BTreeMap<String, String>,
    /// By timeouts and proxy: a connector keeps its connections.
    connectors: Mutex<BTreeMap<Timeouts, Choice>>,
}

type Timeouts = (Option<Duration>, Option<Duration>);

/// The same connector without a proxy, and through each that the environment names.
#[derive(Clone, Debug)]
struct Choice {
    variables: BTreeMap<String, String>,
    direct: SharedHttpConnector,
    by_proxy: BTreeMap<String, SharedHttpConnector>,
}

impl Web {
    /// `ca` is PEM text that is trusted instead of the system's roots. Variables that name proxies are looked up in
    /// `variable`.
    pub fn new(ca: Option<&[u8]>, connect: Duration, variable: &dyn Fn(&str) -> Option<String>) -> Result<Web, String> {
        let store = match ca {
            None => TrustStore::default(),
            Some(pem) => TrustStore::empty().with_pem_certificate(pem),
        };
        let trusted = TlsContext::builder().with_trust_store(store).build();
        let trusted = trusted.map_err(|error| error.to_string())?;
        let names = [
            "HTTPS_PROXY",
            "https_proxy",
            "HTTP_PROXY",
            "http_proxy",
            "NO_PROXY",
            "no_proxy",
        ];
        let variables = names
            .iter()
            .filter_map(|name| Some((name.to_string(), variable(name)?)));
        let ways = Arc::new(Ways {
            trusted,
            variables: variables.collect(),
            connectors: Mutex::default(),
        });
        let settings = HttpConnectorSettings::builder().connect_timeout(connect).build();
        let ours = ways.connector(&settings, Some(SharedAsyncSleep::new(TokioSleep::new())))?;
        Ok(Web { ways, ours })
    }

    /// The same way for the libraries that look for credentials.
    pub fn for_credentials(&self) -> SharedHttpClient {
        SharedHttpClient::new(self.clone())
    }
}

#[async_trait]
impl Transport for Web {
    async fn send(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, Failure> {
        let request = request.map(Into::into);
        let request = HttpRequest::try_from(request).map_err(|error| Failure::Unsent(error.to_string()))?;
        let response = self.ours.call(request).await.map_err(|error| lost(&error))?;
        let response = response
            .try_into_http1x()
            .map_err(|error| Failure::Broken(error.to_string()))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(|error| Failure::Broken(format!("the answer broke off: {}", innermost(&*error))))?;
        Ok(http::Response::from_parts(head, Vec::from(body.to_bytes())))
    }
}

impl HttpClient for Web {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let connector = self.ways.connector(settings, components.sleep_impl());
        connector.expect("the proxies were understood when the first connector was made")
    }
}

impl Ways {
    fn connector(
        &self,
        settings: &HttpConnectorSettings,
        sleep: Option<SharedAsyncSleep>,
    ) -> Result<SharedHttpConnector, String> {
        let timeouts = (settings.connect_timeout(), settings.read_timeout());
        let mut made = self.connectors.lock().expect("no panic while held");
        if let Some(choice) = made.get(&timeouts) {
            return Ok(SharedHttpConnector::new(choice.clone()));
        }
        let connect = |proxy: ProxyConfig| {
            let mut builder = Connector::builder().connector_settings(settings.clone());
            builder.set_sleep_impl(sleep.clone());
            let builder = builder.proxy_config(proxy);
            let tls: TlsProvider = tls::Provider::Rustls(CryptoMode::Ring);
            let secured = builder.tls_provider(tls).tls_context(self.trusted.clone());
            SharedHttpConnector::new(secured.build())
        };
        let mut choice = Choice {
            variables: self.variables.clone(),
            direct: connect(ProxyConfig::disabled()),
            by_proxy: BTreeMap::new(),
        };
        for scheme in ["http", "https"] {
            let somewhere = format!("{scheme}://hostguard.invalid/").parse().expect("a URI");
            if let Some(url) = choice.proxy_for(&somewhere) {
                let proxy = ProxyConfig::all(&url).map_err(|_| "the proxy that the environment names is no URL")?;
                choice.by_proxy.insert(url, connect(proxy));
            }
        }
        made.insert(timeouts, choice.clone());
        Ok(SharedHttpConnector::new(choice))
    }
}

impl Choice {
    /// The proxy for a server; `None`: it is asked directly.
    fn proxy_for(&self, server: &Uri) -> Option<String> {
        let host = server.host()?.trim_matches(['[', ']']);
        if host.parse::<IpAddr>().is_ok_and(is_metadata_service) {
            return None;
        }
        proxy::from_environment(server, &|name| self.variables.get(name).cloned())
    }
}

/// The address of the metadata service of an instance, in either family, and of the credentials of a container.
fn is_metadata_service(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.segments()[..2] == [0xfd00, 0x0ec2],
    }
}

impl HttpConnector for Choice {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let server = request.uri().parse::<Uri>().ok();
        let proxy = server.and_then(|server| self.proxy_for(&server));
        let by_proxy = proxy.and_then(|proxy| self.by_proxy.get(&proxy));
        by_proxy.unwrap_or(&self.direct).call(request)
    }
}

/// What a failed exchange was, by the types in its chain of causes.
fn lost(error: &(dyn StdError + 'static)) -> Failure {
    let words = innermost(error);
    for cause in causes(error) {
        if cause.is::<rustls::Error>() {
            return Failure::Untrusted(words);
        }
    }
    let connecting = causes(error).any(|cause| {
        let failed = cause.downcast_ref::<hyper_util::client::legacy::Error>();
        failed.is_some_and(hyper_util::client::legacy::Error::is_connect)
    });
    if connecting {
        Failure::Unsent(format!("no connection: {words}"))
    } else {
        Failure::Broken(format!("the connection broke: {words}"))
    }
}

/// An error and what is below it. The payload of an `io::Error` is not its source, so it is gone through too.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&at| {
        let payload = at.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        payload
            .map(|inner| inner as &(dyn StdError + 'static))
            .or_else(|| at.source())
    })
}

/// The words of the innermost cause.
pub(in crate::provider) fn innermost(error: &(dyn StdError + 'static)) -> String {
    super::clip(&causes(error).last().unwrap_or(error).to_string())
}

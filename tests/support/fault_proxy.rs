//! A TLS proxy in front of a real API server: it counts, delays, and misbehaves as its script says.
//!
//! Speaks HTTP/1.1 and HTTP/2 on loopback with a certificate of its own, and hands on who asks: clients bring tokens,
//! because a client certificate ends where TLS does. Ends when it is dropped.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{self, pki_types};

use super::aggregated::Aggregated;
use super::control_plane::{ControlPlane, Identity};
use super::pieces::{End, InFlight, Pieces};
use super::script::{Fault, Rule, Said};

/// A request that came by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub verb: String,
    /// With the query.
    pub path: String,
    /// Whether the script did something to it.
    pub faulted: bool,
}

pub struct FaultProxy {
    pub url: String,
    certificate: String,
    shared: Arc<Shared>,
    folder: tempfile::TempDir,
    runtime: Option<tokio::runtime::Runtime>,
}

struct Shared {
    upstream: kube::Client,
    script: Mutex<Vec<Rule>>,
    aggregated: Mutex<Option<Aggregated>>,
    delay: Mutex<Duration>,
    page_size: Mutex<Option<usize>>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    now: Arc<AtomicUsize>,
    most: AtomicUsize,
}

impl Seen {
    /// Whether it could change something that is stored; a review of access stores nothing.
    pub fn writes(&self) -> bool {
        self.verb != "GET" && !self.path.contains("accessreviews")
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FaultProxy {
    pub fn before(server: &ControlPlane) -> FaultProxy {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let key = rcgen::generate_simple_self_signed(["127.0.0.1".to_string()]).expect("a certificate");
        let acceptor = acceptor(&key);
        let (listener, upstream) = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            (listener, upstream(server).await)
        });
        let url = format!("https://{}", listener.local_addr().expect("bound"));
        let shared = Arc::new(Shared {
            upstream,
            script: Mutex::default(),
            aggregated: Mutex::default(),
            delay: Mutex::default(),
            page_size: Mutex::default(),
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
            now: Arc::default(),
            most: AtomicUsize::new(0),
        });
        runtime.spawn(accept(listener, acceptor, shared.clone()));
        FaultProxy {
            url,
            certificate: key.cert.pem(),
            shared,
            folder: tempfile::tempdir().expect("a directory"),
            runtime: Some(runtime),
        }
    }

    /// From now on: these rules, with nothing counted.
    pub fn script(&self, rules: impl IntoIterator<Item = Rule>) {
        *locked(&self.shared.script) = rules.into_iter().collect();
    }

    /// Plays an aggregated API server of Calico.
    pub fn aggregated(&self, play: Aggregated) {
        *locked(&self.shared.aggregated) = Some(play);
    }

    /// Lets every request wait for so long before it is handed on.
    pub fn delay(&self, delay: Duration) {
        *locked(&self.shared.delay) = delay;
    }

    /// Gives fewer objects of a LIST at a time than are asked for.
    pub fn page_size(&self, size: Option<usize>) {
        *locked(&self.shared.page_size) = size;
    }

    /// The requests since the last time, oldest first.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *locked(&self.shared.seen))
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The most requests that were being answered at a time.
    pub fn most_in_flight(&self) -> usize {
        self.shared.most.load(Ordering::SeqCst)
    }

    /// A kubeconfig with that identity's token.
    pub fn kubeconfig(&self, who: Identity) -> PathBuf {
        self.kubeconfig_as(who.user(), &format!("{{token: {}-token}}", who.user()))
    }

    /// A kubeconfig with this user section.
    pub fn kubeconfig_as(&self, name: &str, user: &str) -> PathBuf {
        let authority = serde_json::json!({"server": self.url, "certificate-authority-data": self.authority()});
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: here\n\
             contexts: [{{name: here, context: {{cluster: real, user: me}}}}]\n\
             clusters: [{{name: real, cluster: {authority}}}]\nusers: [{{name: me, user: {user}}}]\n"
        );
        let file = self.folder.path().join(name);
        std::fs::write(&file, text).expect("a temporary folder can be written");
        file
    }

    /// Its certificate, as kubeconfigs carry it.
    pub fn authority(&self) -> String {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(&self.certificate)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background(); // what hangs, hangs on purpose
        }
    }
}

fn acceptor(key: &rcgen::CertifiedKey<rcgen::KeyPair>) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let secret = pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).expect("a key");
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], secret)
        .expect("a key and its certificate");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// A client of the real server that is nobody: who asks stands in the headers that are handed on.
async fn upstream(server: &ControlPlane) -> kube::Client {
    let read = Kubeconfig::read_from(server.kubeconfig(Identity::NobodyToken)).expect("a kubeconfig");
    let mut config = kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
        .await
        .expect("a usable kubeconfig");
    config.auth_info = kube::config::AuthInfo::default();
    config.proxy_url = None;
    config.default_retry = false;
    kube::Client::try_from(config).expect("a client")
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let (acceptor, shared) = (acceptor.clone(), shared.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            // Its own handle on the socket, to reset it when the script says so.
            let (stream, socket) = two_handles(stream);
            let Ok(stream) = acceptor.accept(stream).await else {
                return; // a client that does not trust it
            };
            let socket = Arc::new(socket);
            let service = service_fn(|request| answer(request, shared.clone(), socket.clone()));
            let served = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
            drop(served); // resets end here, on purpose
        });
    }
}

fn two_handles(stream: TcpStream) -> (TcpStream, std::net::TcpStream) {
    let stream = stream.into_std().expect("a socket");
    let other = stream.try_clone().expect("a second handle");
    (TcpStream::from_std(stream).expect("a socket"), other)
}

/// The next close of this socket is a reset.
fn reset(socket: &std::net::TcpStream) -> io::Error {
    rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO)).expect("a socket");
    io::ErrorKind::ConnectionReset.into()
}

async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
    socket: Arc<std::net::TcpStream>,
) -> Result<Response<Pieces>, io::Error> {
    let in_flight = InFlight::of(&shared.now, &shared.most);
    let fault = note(&request, &shared);
    let delay = *locked(&shared.delay);
    tokio::time::sleep(delay).await;
    match &fault {
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Reset) => return Err(reset(&socket)),
        Some(Fault::Answer(said)) => return Ok(respond(made_up(said), in_flight)),
        _ => {}
    }
    let (mut head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let request = match &fault {
        Some(Fault::Swallow) => {
            head.method = http::Method::GET;
            head.uri = head.uri.path().parse().expect("a path");
            head.headers.remove(header::CONTENT_TYPE);
            Request::from_parts(head, Bytes::new())
        }
        _ => Request::from_parts(head, body),
    };
    let answer = ask(&shared, request).await?;
    let (mut head, pieces) = respond(answer, in_flight).into_parts();
    let pieces = match fault {
        Some(Fault::LoseAnswer) => return Err(reset(&socket)),
        Some(Fault::KeepAnswer) => std::future::pending().await,
        Some(Fault::HangAfterHead) => pieces.only(0, End::Never),
        Some(Fault::Truncate) => {
            let _ = reset(&socket);
            let half = pieces.size() / 2;
            pieces.only(half, End::Reset)
        }
        Some(Fault::Slow(time)) => pieces.over(10, time),
        Some(Fault::Header(name, value)) => {
            head.headers.insert(name, value.parse().expect("a header value"));
            pieces
        }
        _ => pieces,
    };
    Ok(Response::from_parts(head, pieces))
}

/// Writes the request down, with what the script has for it.
fn note(request: &Request<Incoming>, shared: &Shared) -> Option<Fault> {
    let verb = request.method().to_string();
    let path = request
        .uri()
        .path_and_query()
        .map(ToString::to_string)
        .unwrap_or_default();
    let mut script = locked(&shared.script);
    let mut fault = None;
    for rule in script.iter_mut() {
        if rule.matches(&verb, &path) && fault.is_none() {
            fault = Some(rule.fault.clone());
        }
    }
    let faulted = fault.is_some();
    locked(&shared.seen).push(Seen { verb, path, faulted });
    fault
}

fn made_up(said: &Said) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(said.body.clone()));
    *response.status_mut() = StatusCode::from_u16(said.code).expect("a status");
    for (name, value) in &said.headers {
        response
            .headers_mut()
            .append(*name, value.parse().expect("a header value"));
    }
    response
}

/// Announces the whole length, whatever comes of it.
fn respond(answer: Response<Bytes>, in_flight: InFlight) -> Response<Pieces> {
    let (mut head, body) = answer.into_parts();
    head.headers.insert(header::CONTENT_LENGTH, body.len().into());
    Response::from_parts(head, Pieces::new(body, in_flight))
}

/// Asks the server; around it, the playing of an aggregated one.
async fn ask(shared: &Shared, request: Request<Bytes>) -> Result<Response<Bytes>, io::Error> {
    let play = locked(&shared.aggregated).clone();
    let (mut head, body) = request.into_parts();
    let path = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    if let Some(play) = &play {
        if let Some(said) = play.instead(head.method.as_str(), &path, &body) {
            return Ok(made_up(&said));
        }
        head.uri = play.asked(&path).parse().expect("a path");
    } else {
        head.uri = path.parse().expect("a path");
    }
    if let Some(size) = *locked(&shared.page_size) {
        let smaller = head.uri.to_string().replace("limit=500", &format!("limit={size}"));
        head.uri = smaller.parse().expect("a path");
    }
    for name in [header::HOST, header::CONTENT_LENGTH, header::ACCEPT_ENCODING] {
        head.headers.remove(name); // our own client sets its own
    }
    head.version = http::Version::HTTP_11;
    let request = Request::from_parts(head, kube::client::Body::from(body.to_vec()));
    let response = shared.upstream.send(request).await.map_err(io::Error::other)?;
    let (mut head, body) = response.into_parts();
    let mut body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    if let Some(play) = &play {
        body = play.answered(&path, body);
    }
    for name in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION] {
        head.headers.remove(name);
    }
    head.version = http::Version::default();
    Ok(Response::from_parts(head, body))
}

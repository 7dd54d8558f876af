//! A scripted API server for this provider's tests: answers by a function, remembers, and misbehaves on request.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::call::Limits;
use super::client::Connect;
use super::{Cluster, Error};

/// A request as it arrived; header names in lower case.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// With the query.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("a JSON body")
    }

    /// `GET /path`, without the query.
    pub fn line(&self) -> String {
        format!(
            "{} {}",
            self.method,
            self.path.split('?').next().expect("split gives one")
        )
    }
}

/// What the server does.
pub enum Reply {
    Answer {
        code: u16,
        headers: Vec<(&'static str, String)>,
        body: Vec<u8>,
    },
    After(Duration, Box<Reply>),
    /// Never answers, and keeps the connection.
    Hang,
    /// Closes the connection without a word.
    Close,
    /// Half of what it announces, then closes.
    Half(Vec<u8>),
}

impl Reply {
    pub fn json(code: u16, body: &Value) -> Reply {
        Reply::Answer {
            code,
            headers: vec![("content-type", "application/json".into())],
            body: body.to_string().into(),
        }
    }

    pub fn text(code: u16, content: &str, body: &str) -> Reply {
        Reply::Answer {
            code,
            headers: vec![("content-type", content.into())],
            body: body.into(),
        }
    }

    pub fn status(code: u16, reason: &str, message: &str) -> Reply {
        let mut body =
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message});
        if !reason.is_empty() {
            body["reason"] = json!(reason);
        }
        Reply::json(code, &body)
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Reply {
        if let Reply::Answer { headers, .. } = &mut self {
            headers.push((name, value.to_string()));
        }
        self
    }
}

/// The groups of a server with native Calico, in the old shape.
pub fn native() -> Reply {
    Reply::json(
        200,
        &json!({"kind": "APIGroupList", "groups": [{"name": "apps"}, {"name": "projectcalico.org"}]}),
    )
}

pub fn list(items: &[Value]) -> Reply {
    Reply::json(
        200,
        &json!({"kind": "List", "metadata": {"resourceVersion": "7"}, "items": items}),
    )
}

type Script = dyn Fn(&Asked, usize) -> Reply + Send + Sync;

/// A running server. It ends with the process.
pub struct Scripted {
    pub url: String,
    log: Arc<Mutex<Vec<Asked>>>,
    most: Arc<AtomicUsize>,
}

impl Scripted {
    /// `answer` is given the request and how many with the same method and path (query included) came before.
    pub fn start(answer: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let (log, most) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let world = (
            Arc::new(answer) as Arc<Script>,
            log.clone(),
            Arc::new(AtomicUsize::new(0)),
            most.clone(),
        );
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, log, now, most) = world.clone();
                std::thread::spawn(move || serve(stream, &*script, &log, &now, &most));
            }
        });
        Scripted { url, log, most }
    }

    /// An address where nobody listens.
    pub fn nobody() -> Scripted {
        let address = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port");
        Scripted {
            url: format!("http://{address}"),
            log: Arc::default(),
            most: Arc::default(),
        }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.log.lock().expect("log").clone()
    }

    pub fn lines(&self) -> Vec<String> {
        self.asked().iter().map(Asked::line).collect()
    }

    /// The most requests that were being answered at a time.
    pub fn most_at_once(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    pub async fn cluster(&self) -> Cluster {
        self.connect("{}", quick()).await.expect("a client")
    }

    /// Connects with a user section of the kubeconfig.
    pub async fn connect(&self, user: &str, limits: Limits) -> Result<Cluster, Error> {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("config");
        std::fs::write(&file, kubeconfig(&self.url, user)).expect("a kubeconfig");
        let connect = Connect {
            kubeconfig: Some(file),
            ..Connect::default()
        };
        Cluster::with_limits(&connect, limits).await
    }
}

/// Limits for tests: everything soon.
pub fn quick() -> Limits {
    Limits {
        call: Duration::from_millis(2500),
        pause: Duration::from_millis(5),
        ..Limits::new(Duration::from_secs(2))
    }
}

pub fn kubeconfig(url: &str, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: here\ncontexts: [{{name: here, context: {{cluster: shop-eu, user: me}}}}]\n\
         clusters: [{{name: shop-eu, cluster: {{server: '{url}'}}}}]\nusers: [{{name: me, user: {user}}}]\n"
    )
}

fn serve(mut stream: TcpStream, script: &Script, log: &Mutex<Vec<Asked>>, now: &AtomicUsize, most: &AtomicUsize) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    while let Some(asked) = receive(&mut reader) {
        let before = {
            let mut log = log.lock().expect("log");
            let before = log
                .iter()
                .filter(|old| (&old.method, &old.path) == (&asked.method, &asked.path))
                .count();
            log.push(asked.clone());
            before
        };
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let goes_on = respond(&mut stream, script(&asked, before), now);
        if !goes_on {
            return;
        }
    }
}

/// The request counts as answered before its last byte leaves: the client must not be faster than the count.
fn respond(stream: &mut TcpStream, reply: Reply, now: &AtomicUsize) -> bool {
    match reply {
        Reply::After(pause, reply) => {
            std::thread::sleep(pause);
            respond(stream, *reply, now)
        }
        Reply::Hang => {
            std::thread::sleep(Duration::from_secs(60));
            false
        }
        Reply::Close => false,
        Reply::Half(body) => {
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            let _ = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(&body[..body.len() / 2]));
            false
        }
        Reply::Answer { code, headers, body } => {
            let mut head = format!("HTTP/1.1 {code} X\r\ncontent-length: {}\r\n", body.len());
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            now.fetch_sub(1, Ordering::SeqCst);
            stream
                .write_all(format!("{head}\r\n").as_bytes())
                .and_then(|()| stream.write_all(&body))
                .is_ok()
        }
    }
}

fn receive(reader: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut first = line.split_whitespace();
    let (method, path) = (first.next()?.to_string(), first.next()?.to_string());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.to_string()));
    }
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .map_or(0, |(_, v)| v.parse().expect("length"));
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked {
        method,
        path,
        headers,
        body: String::from_utf8(body).expect("text"),
    })
}

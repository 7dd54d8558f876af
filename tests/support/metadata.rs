//! The metadata service of an EC2 instance, version 2: nothing without a token. Plays one instance with a role.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::aws::REGION;

pub struct Metadata {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Metadata {
    /// Of an instance with this public address, if any. Ends with the test process.
    pub fn start(public: Option<&'static str>) -> Metadata {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, log) = (stream.expect("a connection"), log.clone());
                std::thread::spawn(move || serve(stream, public, &log));
            }
        });
        Metadata { port, asked }
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic while held").clone()
    }
}

fn serve(stream: TcpStream, public: Option<&str>, log: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    let mut stream = stream;
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line.trim().is_empty() {
                break;
            }
            lines.push(line.trim().to_ascii_lowercase());
        }
        let request = lines.first().cloned().unwrap_or_default();
        let has = |header: &str| lines.iter().any(|line| line.starts_with(header));
        let path = request.split(' ').nth(1).unwrap_or_default().to_string();
        let (status, more, body) = if request.starts_with("put /latest/api/token ") {
            let asked = has("x-aws-ec2-metadata-token-ttl-seconds:");
            let more = "x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n";
            if asked {
                ("200 OK", more, "t0ken".to_string())
            } else {
                ("400 Bad Request", "", String::new())
            }
        } else if !has("x-aws-ec2-metadata-token: t0ken") {
            ("401 Unauthorized", "", String::new())
        } else {
            match answer(&path, public) {
                Some(body) => ("200 OK", "", body),
                None => ("404 Not Found", "", String::new()),
            }
        };
        log.lock().expect("no panic while held").push(path);
        let head = format!("HTTP/1.1 {status}\r\n{more}content-length: {}\r\n\r\n", body.len());
        if stream.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

fn answer(path: &str, public: Option<&str>) -> Option<String> {
    match path {
        "/latest/meta-data/placement/region" => Some(REGION.to_string()),
        "/latest/meta-data/public-ipv4" => public.map(str::to_string),
        "/latest/meta-data/iam/security-credentials/" => Some("node-role".to_string()),
        "/latest/meta-data/iam/security-credentials/node-role" => Some(
            r#"{"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "ASIATESTING", "SecretAccessKey": "testing",
                "Token": "session-t0ken", "Expiration": "2099-01-01T00:00:00Z", "LastUpdated": "2026-01-01T00:00:00Z"}"#
                .to_string(),
        ),
        _ => None,
    }
}

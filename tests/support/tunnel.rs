//! An HTTP proxy that makes tunnels (CONNECT), to whatever host it is asked for, to one port on loopback.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Ends with the process; every thread of it waits for a client.
pub struct Tunnel {
    pub url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Tunnel {
    pub fn to(port: u16) -> Tunnel {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let log = log.clone();
                std::thread::spawn(move || connect(client, port, &log));
            }
        });
        Tunnel { url, asked }
    }

    /// The hosts that tunnels were asked for, since the last time.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().expect("no panic while held"))
    }
}

fn connect(mut client: TcpStream, port: u16, log: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(client.try_clone().expect("a second handle"));
    let mut first = String::new();
    let _ = reader.read_line(&mut first);
    let mut words = first.split_whitespace();
    let (Some("CONNECT"), Some(host)) = (words.next(), words.next()) else {
        return;
    };
    log.lock().expect("no panic while held").push(host.to_string());
    let mut line = String::from("-");
    while !line.trim().is_empty() {
        line.clear();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
    }
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
        return;
    };
    if client
        .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .is_err()
    {
        return;
    }
    let (mut from_server, mut to_client) = (server.try_clone().expect("a second handle"), client);
    std::thread::spawn(move || std::io::copy(&mut from_server, &mut to_client));
    let mut to_server = server;
    let _ = std::io::copy(&mut reader, &mut to_server);
    let _ = to_server.shutdown(std::net::Shutdown::Both);
}

//! A proxy that makes tunnels (HTTP CONNECT, or SOCKS 5), to whatever host it is asked for, to one port on loopback.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Ends with the process; every thread of it waits for a client.
pub struct Tunnel {
    pub url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Tunnel {
    pub fn to(port: u16) -> Tunnel {
        Tunnel::listening("http", port, connect)
    }

    pub fn socks(port: u16) -> Tunnel {
        Tunnel::listening("socks5", port, connect_socks)
    }

    fn listening(scheme: &str, port: u16, connect: fn(TcpStream, u16, &Mutex<Vec<String>>)) -> Tunnel {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let url = format!("{scheme}://{}", listener.local_addr().expect("bound"));
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
    if client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").is_ok() {
        pass_on(reader, client, server);
    }
}

/// RFC 1928: a greeting without a password, and CONNECT to an address or a name.
fn connect_socks(mut client: TcpStream, port: u16, log: &Mutex<Vec<String>>) {
    let Some(host) = socks_host(&mut client) else { return };
    log.lock().expect("no panic while held").push(host);
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
        return;
    };
    if client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 0]).is_ok() {
        let reader = client.try_clone().expect("a second handle");
        pass_on(reader, client, server);
    }
}

/// The host and port that are asked for; `None` for what is not SOCKS 5.
fn socks_host(client: &mut TcpStream) -> Option<String> {
    let [5, methods] = take(client, 2)?[..] else {
        return None;
    };
    take(client, methods.into())?;
    client.write_all(&[5, 0]).ok()?;
    let [5, 1, _, kind] = take(client, 4)?[..] else {
        return None;
    };
    let host = match kind {
        1 => <[u8; 4]>::try_from(take(client, 4)?)
            .map(|bytes| Ipv4Addr::from(bytes).to_string())
            .ok()?,
        3 => {
            let length = take(client, 1)?[0];
            String::from_utf8(take(client, length.into())?).ok()?
        }
        _ => return None,
    };
    let port = take(client, 2)?;
    Some(format!("{host}:{}", u16::from_be_bytes([port[0], port[1]])))
}

fn take(client: &mut TcpStream, count: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; count];
    client.read_exact(&mut bytes).ok().map(|()| bytes)
}

fn pass_on(mut reader: impl Read, client: TcpStream, server: TcpStream) {
    let (mut from_server, mut to_client) = (server.try_clone().expect("a second handle"), client);
    std::thread::spawn(move || std::io::copy(&mut from_server, &mut to_client));
    let mut to_server = server;
    let _ = std::io::copy(&mut reader, &mut to_server);
    let _ = to_server.shutdown(std::net::Shutdown::Both);
}

//! Which proxy leads to the server, chosen as kubectl chooses it.
//!
//! kube compares `NO_PROXY` with the proxy's own address instead of the server's, so its choice is replaced. Reads
//! the variables it is given and nothing else.

use std::net::IpAddr;

use http::Uri;

/// The proxy that the environment names for a server; `None`: the server is asked directly.
pub(super) fn from_environment(server: &Uri, variable: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let either = |upper: &str, lower: &str| {
        let set = |name| variable(name).filter(|value| !value.trim().is_empty());
        set(upper).or_else(|| set(lower))
    };
    let secure = server.scheme_str() != Some("http");
    let proxy = if secure {
        either("HTTPS_PROXY", "https_proxy")
    } else {
        either("HTTP_PROXY", "http_proxy")
    }?;
    let host = server
        .host()?
        .trim_matches(['[', ']'])
        .trim_end_matches('.')
        .to_ascii_lowercase();
    let port = server.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let except = either("NO_PROXY", "no_proxy").unwrap_or_default();
    if is_here(&host) || except.split(',').any(|entry| matches(entry, &host, port)) {
        return None;
    }
    Some(if proxy.contains("://") {
        proxy
    } else {
        format!("http://{proxy}")
    })
}

fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// One entry of `NO_PROXY`: `*`, a CIDR, an address, `name` (with its subdomains) or `.name` (only those); addresses
/// and names may have a port.
fn matches(entry: &str, host: &str, port: u16) -> bool {
    let entry = entry.trim().to_ascii_lowercase();
    if entry.is_empty() {
        return false;
    }
    if entry == "*" {
        return true;
    }
    let address = host.parse::<IpAddr>().ok();
    if let Some((net, length)) = entry.split_once('/') {
        let net = net.parse().ok().zip(length.parse().ok());
        return address
            .zip(net)
            .is_some_and(|(address, (net, length))| is_inside(address, net, length));
    }
    if let Ok(of_entry) = entry.trim_matches(['[', ']']).parse::<IpAddr>() {
        return address == Some(of_entry);
    }
    let (name, of_entry) = match entry.rsplit_once(':') {
        Some((name, digits)) => (name, digits.parse::<u16>().ok()),
        None => (entry.as_str(), Some(port)),
    };
    if of_entry != Some(port) {
        return false;
    }
    let name = name.trim_matches(['[', ']']);
    if let Ok(of_entry) = name.parse::<IpAddr>() {
        return address == Some(of_entry);
    }
    match name.strip_prefix("*.").or_else(|| name.strip_prefix('.')) {
        Some(parent) => is_below(host, parent),
        None => host == name || is_below(host, name),
    }
}

fn is_below(host: &str, parent: &str) -> bool {
    host.strip_suffix(parent)
        .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

fn is_inside(address: IpAddr, net: IpAddr, length: u32) -> bool {
    let (address, net, bits) = match (address, net) {
        (IpAddr::V4(address), IpAddr::V4(net)) => (u128::from(address.to_bits()), u128::from(net.to_bits()), 32u32),
        (IpAddr::V6(address), IpAddr::V6(net)) => (address.to_bits(), net.to_bits(), 128),
        _ => return false,
    };
    let Some(free) = bits.checked_sub(length) else {
        return false;
    };
    address.checked_shr(free).unwrap_or(0) == net.checked_shr(free).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(server: &str, variables: &[(&str, &str)]) -> Option<String> {
        let variable = |name: &str| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.to_string())
        };
        from_environment(&server.parse().expect("a URL"), &variable)
    }

    #[test]
    fn the_scheme_of_the_server_picks_the_variable() {
        let both = [("HTTPS_PROXY", "http://s:1"), ("http_proxy", "p:2")];
        assert_eq!(chosen("https://k8s.example", &both).as_deref(), Some("http://s:1"));
        assert_eq!(chosen("http://k8s.example", &both).as_deref(), Some("http://p:2"));
        assert_eq!(chosen("https://k8s.example", &[]), None);
        assert_eq!(chosen("https://k8s.example", &[("HTTPS_PROXY", " ")]), None);
    }

    #[test]
    fn no_proxy_is_about_the_server() {
        let through = |server: &str, except: &str| {
            chosen(
                server,
                &[("HTTPS_PROXY", "http://proxy.corp:3128"), ("NO_PROXY", except)],
            )
            .is_some()
        };
        for (server, except) in [
            ("https://10.1.2.3:6443", "localhost, 10.0.0.0/8,"),
            ("https://10.1.2.3:6443", "10.1.2.3"),
            ("https://[fd00::1]:6443", "fd00::/8"),
            ("https://api.shop.example:6443", "shop.example"),
            ("https://api.shop.example:6443", ".shop.example:6443"),
            ("https://api.shop.example", "*.example"),
            ("https://api.shop.example", "*"),
            ("https://API.shop.example.", "api.shop.example"),
            ("https://127.0.0.1:6443", ""),
            ("https://localhost:6443", ""),
        ] {
            assert!(!through(server, except), "{server} directly, by `{except}`");
        }
        for (server, except) in [
            ("https://10.1.2.3:6443", "proxy.corp"),
            ("https://11.1.2.3:6443", "10.0.0.0/8"),
            ("https://10.1.2.3:6443", "10.0.0.0/33"),
            ("https://shop.example:6443", ".shop.example"),
            ("https://workshop.example", "shop.example"),
            ("https://api.shop.example", "shop.example:6443"),
        ] {
            assert!(through(server, except), "{server} by the proxy, although `{except}`");
        }
    }
}

//! Addresses as people write them: `10.0.0.1`, `10.0.0.1:2377`, `[fe80::1]:2377`, `eth0`, `eth0:2377`.

use std::net::IpAddr;

/// The UDP port when none is written.
pub(crate) const DEFAULT_PORT: u16 = 2377;

/// Which address of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LocalHost {
    /// This one.
    Ip(IpAddr),
    /// The one of a network interface.
    Interface(String),
}

/// `IP|IFACE[:PORT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LocalAddress {
    /// Which address.
    pub(crate) host: LocalHost,
    /// Which port, when one is written.
    pub(crate) port: Option<u16>,
}

/// Splits a host from a port: `[v6]:port`, `host:port`, or a host alone.
fn split(text: &str) -> Result<(&str, Option<u16>), String> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok((text, None));
    }
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => return Err(format!("\"{text}\" is not an address: write [IP]:PORT")),
        },
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err(format!("\"{text}\" names no host"));
    }
    let port = port.map(|port| {
        port.parse::<u16>()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| format!("\"{port}\" in \"{text}\" is not a port: 1 to 65535"))
    });
    Ok((host, port.transpose()?))
}

/// Reads `IP|IFACE[:PORT]`.
///
/// # Errors
/// Says what is wrong.
pub(crate) fn local(text: &str) -> Result<LocalAddress, String> {
    let (host, port) = split(text)?;
    let host = match host.parse() {
        Ok(ip) => LocalHost::Ip(ip),
        Err(_name) if host.contains([':', '/', ' ']) || host.len() > 15 => {
            return Err(format!("\"{host}\" is neither an IP address nor a network interface"));
        }
        Err(_name) => LocalHost::Interface(host.to_owned()),
    };
    Ok(LocalAddress { host, port })
}

/// Reads `HOST[:PORT]` of another machine.
///
/// # Errors
/// Says what is wrong.
pub(crate) fn remote(text: &str) -> Result<(String, u16), String> {
    let (host, port) = split(text)?;
    if host.contains([' ', '/', ':']) && host.parse::<IpAddr>().is_err() {
        return Err(format!("\"{text}\" is not HOST:PORT"));
    }
    Ok((host.to_owned(), port.unwrap_or(DEFAULT_PORT)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_are_ips_or_interfaces() {
        let ip = |text: &str| LocalHost::Ip(text.parse().expect(text));
        let name = |text: &str| LocalHost::Interface(text.to_owned());
        for (text, host, port) in [
            ("10.0.0.1", ip("10.0.0.1"), None),
            ("10.0.0.1:99", ip("10.0.0.1"), Some(99)),
            ("fe80::1", ip("fe80::1"), None),
            ("[fe80::1]:99", ip("fe80::1"), Some(99)),
            ("[::]", ip("::"), None),
            ("eth0", name("eth0"), None),
            ("eth0:99", name("eth0"), Some(99)),
        ] {
            assert_eq!(local(text), Ok(LocalAddress { host, port }), "{text}");
        }
        for text in ["", ":99", "10.0.0.1:0", "10.0.0.1:99999", "a b", "[::1]x", "1.2.3.4/24"] {
            assert!(local(text).is_err(), "{text}");
        }
    }

    #[test]
    fn remote_addresses_have_a_default_port() {
        assert_eq!(remote("10.0.0.1"), Ok(("10.0.0.1".to_owned(), DEFAULT_PORT)));
        assert_eq!(remote("manager.example:99"), Ok(("manager.example".to_owned(), 99)));
        assert_eq!(remote("::1"), Ok(("::1".to_owned(), DEFAULT_PORT)));
        for text in ["", "host:", "host:x", "udp://host:1"] {
            assert!(remote(text).is_err(), "{text}");
        }
    }
}

//! Which addresses a new node listens on and tells its peers. Pure but for [`source_towards`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::interfaces::InterfaceAddress;
use crate::exit::Failure;
use crate::parse::address::{DEFAULT_PORT, LocalAddress, LocalHost};

/// Interfaces that containers and virtual machines hang on: peers do not reach these.
const INNER: [&str; 10] =
    ["docker", "br-", "veth", "virbr", "cni", "flannel", "cali", "podman", "lxc", "vxlan"];

/// The addresses of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NodeAddresses {
    /// The UDP address it listens on.
    pub(crate) listen: SocketAddr,
    /// Where peers reach it.
    pub(crate) advertise: SocketAddr,
}

/// Decides both. `fallback` is advertised when nothing else says what to.
///
/// # Errors
/// When an interface is unknown, or when the machine has no or more than one address to choose from:
/// says which.
pub(crate) fn decide(
    listen: Option<&LocalAddress>,
    advertise: Option<&LocalAddress>,
    fallback: Option<IpAddr>,
    machine: &[InterfaceAddress],
) -> Result<NodeAddresses, Failure> {
    let listen_ip = listen.map(|address| ip_of(address, machine)).transpose()?;
    let specific = listen_ip.filter(|ip| !ip.is_unspecified());
    let advertise_ip = match (advertise, specific, fallback) {
        (Some(address), _, _) => ip_of(address, machine)?,
        (None, Some(ip), _) | (None, None, Some(ip)) => ip,
        (None, None, None) => only_candidate(machine)?,
    };
    if advertise_ip.is_unspecified() {
        let message = format!("--advertise-addr {advertise_ip}: peers cannot reach that");
        return Err(Failure::usage(message));
    }
    let is_own = machine.iter().any(|address| address.ip == advertise_ip);
    let own_port =
        advertise.and_then(|address| address.port).filter(|_| is_own || advertise_ip.is_loopback());
    let port = match listen {
        Some(address) => address.port.unwrap_or(DEFAULT_PORT),
        None => own_port.unwrap_or(DEFAULT_PORT),
    };
    let listen_ip = listen_ip.unwrap_or(match advertise_ip {
        // A cluster on one machine: each node has a loopback address of its own.
        ip if ip.is_loopback() => ip,
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    });
    let advertise_port = advertise.and_then(|address| address.port).unwrap_or(port);
    Ok(NodeAddresses {
        listen: SocketAddr::new(listen_ip, port),
        advertise: SocketAddr::new(advertise_ip, advertise_port),
    })
}

fn ip_of(address: &LocalAddress, machine: &[InterfaceAddress]) -> Result<IpAddr, Failure> {
    let name = match &address.host {
        LocalHost::Ip(ip) => return Ok(*ip),
        LocalHost::Interface(name) => name,
    };
    let of_it = || machine.iter().filter(|address| address.interface == *name);
    of_it()
        .find(|address| address.ip.is_ipv4())
        .or_else(|| of_it().find(|address| address.is_global))
        .map(|address| address.ip)
        .ok_or_else(|| {
            let known = listing(&machine.iter().collect::<Vec<_>>());
            Failure::usage(format!(
                "\"{name}\" is neither an IP address nor an interface with one; there are: {known}"
            ))
        })
}

/// The one address that peers can reach.
fn only_candidate(machine: &[InterfaceAddress]) -> Result<IpAddr, Failure> {
    let outer = |address: &&InterfaceAddress| {
        address.is_global
            && !address.ip.is_loopback()
            && !INNER.iter().any(|prefix| address.interface.starts_with(prefix))
    };
    let outer: Vec<_> = machine.iter().filter(outer).collect();
    let v4: Vec<_> = outer.iter().copied().filter(|address| address.ip.is_ipv4()).collect();
    let candidates = if v4.is_empty() { outer } else { v4 };
    match candidates.as_slice() {
        [only] => Ok(only.ip),
        [] => Err(Failure::usage(
            "this machine has no address that peers could reach: name one with --advertise-addr \
             (127.0.0.1 makes a cluster on this machine alone)",
        )),
        many => Err(Failure::usage(format!(
            "this machine has several addresses: choose one with --advertise-addr: {}",
            listing(many)
        ))),
    }
}

fn listing(addresses: &[&InterfaceAddress]) -> String {
    let text = |address: &&InterfaceAddress| format!("{} ({})", address.ip, address.interface);
    addresses.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// The own address that packets to `peer` come from; sends nothing.
pub(crate) fn source_towards(peer: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match peer {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(peer).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::address::local;

    fn machine(addresses: &[(&str, &str)]) -> Vec<InterfaceAddress> {
        let one = |(interface, ip): &(&str, &str)| {
            let ip: IpAddr = ip.parse().expect("is an address");
            InterfaceAddress {
                interface: (*interface).to_owned(),
                ip,
                is_global: !ip.is_loopback(),
            }
        };
        addresses.iter().map(one).collect()
    }

    fn usual() -> Vec<InterfaceAddress> {
        machine(&[("lo", "127.0.0.1"), ("eth0", "10.0.0.5"), ("docker0", "172.17.0.1")])
    }

    #[track_caller]
    fn check(listen: &str, advertise: &str, want_listen: &str, want_advertise: &str) {
        let read = |text: &str| (!text.is_empty()).then(|| local(text).expect("is valid"));
        let (listen, advertise) = (read(listen), read(advertise));
        let decided = decide(listen.as_ref(), advertise.as_ref(), None, &usual());
        let decided = decided.expect("can be decided");
        assert_eq!(decided.listen.to_string(), want_listen);
        assert_eq!(decided.advertise.to_string(), want_advertise);
    }

    #[test]
    fn the_only_outer_address_is_picked() {
        check("", "", "0.0.0.0:2377", "10.0.0.5:2377");
    }

    #[test]
    fn what_is_given_is_taken() {
        check("", "192.0.2.1", "0.0.0.0:2377", "192.0.2.1:2377");
        check("", "192.0.2.1:99", "0.0.0.0:2377", "192.0.2.1:99");
        check("", "eth0:99", "0.0.0.0:99", "10.0.0.5:99");
        check("127.0.0.2:2377", "", "127.0.0.2:2377", "127.0.0.2:2377");
        check("0.0.0.0:99", "", "0.0.0.0:99", "10.0.0.5:99");
        check("0.0.0.0:99", "127.0.0.1", "0.0.0.0:99", "127.0.0.1:99");
    }

    #[test]
    fn a_loopback_cluster_leaves_the_other_loopback_addresses_free() {
        check("", "127.0.0.1", "127.0.0.1:2377", "127.0.0.1:2377");
        check("", "127.0.0.3:99", "127.0.0.3:99", "127.0.0.3:99");
    }

    #[test]
    fn several_candidates_are_listed() {
        let machine = machine(&[("eth0", "10.0.0.5"), ("eth1", "10.1.0.5"), ("lo", "127.0.0.1")]);
        let failure = decide(None, None, None, &machine).expect_err("is ambiguous");
        assert!(failure.message.contains("10.0.0.5 (eth0), 10.1.0.5 (eth1)"), "{failure}");
        let fallback = Some(IpAddr::from([10, 1, 0, 5]));
        let decided = decide(None, None, fallback, &machine).expect("has a fallback");
        assert_eq!(decided.advertise.to_string(), "10.1.0.5:2377");
    }

    #[test]
    fn impossible_addresses_are_refused() {
        let refuse = |text: &str| decide(None, Some(&local(text).expect("reads")), None, &usual());
        assert!(refuse("eth9").expect_err("unknown").message.contains("eth0"));
        assert!(refuse("0.0.0.0").is_err());
        assert!(decide(None, None, None, &machine(&[("lo", "127.0.0.1")])).is_err());
    }

    #[test]
    fn the_way_to_loopback_is_loopback() {
        let peer = SocketAddr::from(([127, 0, 0, 1], 2377));
        assert_eq!(source_towards(peer), Some(IpAddr::from([127, 0, 0, 1])));
    }
}

//! Whether the node's port is its own, and packets of the size that QUIC needs get out.

use std::fs;
use std::io;
use std::net::{SocketAddr, UdpSocket};

use super::{Finding, Patient};

/// What QUIC sends at least: 1200 bytes, and the headers of UDP and IPv6.
const LEAST_MTU: u32 = 1248;

pub(super) fn check(patient: &Patient) -> Vec<Finding> {
    let bound = UdpSocket::bind(patient.listen).map(drop);
    vec![port(patient.listen, patient.is_running, bound), mtu(&interfaces())]
}

fn port(listen: SocketAddr, is_running: bool, bound: io::Result<()>) -> Finding {
    const CHECK: &str = "port";
    match (bound, is_running) {
        (Err(error), true) if error.kind() == io::ErrorKind::AddrInUse => {
            Finding::ok(CHECK, format!("UDP {listen}, held by the daemon"))
        }
        (Ok(()), true) => {
            let found = format!("the daemon runs, but nobody holds UDP {listen}");
            Finding::bad(CHECK, found, "restart the daemon; its log says why it gave the port up")
        }
        (Ok(()), false) => {
            let found =
                format!("UDP {listen} is free; whether firewalls let it through only `join` shows");
            Finding::ok(CHECK, found)
        }
        (Err(error), false) if error.kind() == io::ErrorKind::AddrInUse => {
            let found = format!("UDP {listen} is taken by another program");
            let fix = format!(
                "end it (`ss -ulpn` names it), or choose another --listen-addr than {listen}"
            );
            Finding::bad(CHECK, found, fix)
        }
        (Err(error), _) => {
            let found = format!("UDP {listen} cannot be had: {error}");
            let fix = "choose a --listen-addr of this machine (`ip address` shows them), and a port above \
                       1023 unless you are root";
            Finding::bad(CHECK, found, fix)
        }
    }
}

/// The interfaces that are up, but for the loopback, with the largest packet of each.
fn interfaces() -> Vec<(String, u32)> {
    let read = |name: &str, what: &str| {
        fs::read_to_string(format!("/sys/class/net/{name}/{what}")).unwrap_or_default()
    };
    let entries = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let up = names.filter(|name| name != "lo" && read(name, "operstate").trim() == "up");
    let mut all: Vec<_> =
        up.filter_map(|name| Some((read(&name, "mtu").trim().parse().ok()?, name))).collect();
    all.sort();
    all.into_iter().map(|(mtu, name)| (name, mtu)).collect()
}

fn mtu(interfaces: &[(String, u32)]) -> Finding {
    const CHECK: &str = "mtu";
    match interfaces.first() {
        None => Finding::ok(CHECK, "no network interface is up but the loopback"),
        Some((name, mtu)) if *mtu < LEAST_MTU => {
            let found = format!("{name} carries {mtu} bytes; QUIC needs {LEAST_MTU}");
            Finding::bad(
                CHECK,
                found,
                format!("`ip link set {name} mtu 1280`, or use another network"),
            )
        }
        Some((name, mtu)) => Finding::ok(CHECK, format!("{mtu} bytes at least ({name})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    fn addr() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 2377))
    }

    fn taken() -> io::Result<()> {
        Err(io::ErrorKind::AddrInUse.into())
    }

    #[test]
    fn who_should_hold_the_port_decides_what_it_means_that_it_is_held() {
        let verdict = |running, bound| port(addr(), running, bound).verdict;
        assert_eq!((verdict(true, taken()), verdict(false, taken())), (Verdict::Ok, Verdict::Bad));
        assert_eq!((verdict(true, Ok(())), verdict(false, Ok(()))), (Verdict::Bad, Verdict::Ok));
        let foreign = port(addr(), false, Err(io::ErrorKind::AddrNotAvailable.into()));
        assert!(foreign.fix.contains("--listen-addr of this machine"), "{foreign:?}");
    }

    #[test]
    fn the_narrowest_interface_counts() {
        let all = [("wg0".to_owned(), 1200), ("eth0".to_owned(), 1500)];
        assert!(mtu(&all).fix.contains("ip link set wg0 mtu 1280"), "{:?}", mtu(&all));
        assert_eq!(mtu(&all[1..]).verdict, Verdict::Ok);
        assert_eq!(mtu(&[]).verdict, Verdict::Ok);
    }
}

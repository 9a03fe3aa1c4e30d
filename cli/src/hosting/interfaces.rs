//! The IP addresses of this machine's network interfaces, asked over netlink.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, recv, send, socket};

/// One address of one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InterfaceAddress {
    /// The interface's name.
    pub(crate) interface: String,
    /// The address.
    pub(crate) ip: IpAddr,
    /// Whether it is valid beyond this machine and its link.
    pub(crate) is_global: bool,
}

// Numbers of linux/netlink.h, linux/rtnetlink.h and linux/if_addr.h.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const SCOPE_UNIVERSE: u8 = 0;
/// A netlink message's header.
const HEADER: usize = 16;
/// `struct ifaddrmsg`, behind the header.
const IFADDRMSG: usize = 8;
/// More than one part of the kernel's answer ever has.
const PART: usize = 64 * 1024;

/// All addresses of all interfaces.
///
/// # Errors
/// What the system says.
pub(crate) fn list() -> io::Result<Vec<InterfaceAddress>> {
    let route = socket(AddressFamily::NETLINK, SocketType::RAW, None)?; // protocol 0 is NETLINK_ROUTE
    send(&route, &request(), SendFlags::empty())?;
    let mut addresses = Vec::new();
    let mut part = vec![0u8; PART];
    loop {
        let (length, _) = recv(&route, &mut part[..], RecvFlags::empty())?;
        let datagram = part.get(..length).unwrap_or(&part);
        if read_part(datagram, interface_name, &mut addresses)? {
            return Ok(addresses);
        }
    }
}

/// Asks for all addresses of all families.
fn request() -> Vec<u8> {
    let length = u32::try_from(HEADER + IFADDRMSG).unwrap_or_default();
    let mut message = Vec::with_capacity(HEADER + IFADDRMSG);
    message.extend(length.to_ne_bytes());
    message.extend(RTM_GETADDR.to_ne_bytes());
    message.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    message.extend([0; 8 + IFADDRMSG]);
    message
}

/// The name of an interface by its index, as sysfs tells.
fn interface_name(index: u32) -> Option<String> {
    let entries = std::fs::read_dir("/sys/class/net").ok()?;
    entries.filter_map(Result::ok).find_map(|entry| {
        let text = std::fs::read_to_string(entry.path().join("ifindex")).ok()?;
        let is_it = text.trim().parse() == Ok(index);
        is_it.then(|| entry.file_name().to_string_lossy().into_owned())
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

/// Reads one datagram of the answer; true when it was the last.
fn read_part(
    mut rest: &[u8],
    name: impl Fn(u32) -> Option<String>,
    addresses: &mut Vec<InterfaceAddress>,
) -> io::Result<bool> {
    let cut = || io::Error::new(io::ErrorKind::InvalidData, "a netlink message is cut off");
    while !rest.is_empty() {
        let length = u32_at(rest, 0).and_then(|length| usize::try_from(length).ok());
        let kind = u16_at(rest, 4).ok_or_else(cut)?;
        let message = length
            .filter(|length| *length >= HEADER)
            .and_then(|length| rest.get(..length))
            .ok_or_else(cut)?;
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let code = u32_at(message, HEADER).unwrap_or_default().cast_signed();
                return Err(io::Error::from_raw_os_error(-code));
            }
            RTM_NEWADDR => addresses.extend(read_address(&message[HEADER..], &name)),
            _ => {}
        }
        rest = rest.get(message.len().next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// Reads `struct ifaddrmsg` and its attributes.
fn read_address(message: &[u8], name: impl Fn(u32) -> Option<String>) -> Option<InterfaceAddress> {
    let is_global = *message.get(3)? == SCOPE_UNIVERSE;
    let index = u32_at(message, 4)?;
    let mut attributes = message.get(IFADDRMSG..)?;
    let (mut address, mut local) = (None, None);
    while let Some(length) = u16_at(attributes, 0).map(usize::from) {
        let kind = u16_at(attributes, 2)?;
        let value = attributes.get(4..length)?;
        match kind {
            IFA_ADDRESS => address = read_ip(value),
            IFA_LOCAL => local = read_ip(value),
            _ => {}
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    // On point-to-point links IFA_ADDRESS is the other end.
    Some(InterfaceAddress { interface: name(index)?, ip: local.or(address)?, is_global })
}

fn read_ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(bytes).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|bytes| Ipv6Addr::from(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn this_machine_has_its_loopback_address() {
        let addresses = list().expect("the kernel answers");
        let loopback = IpAddr::from([127, 0, 0, 1]);
        let found = addresses.iter().find(|address| address.ip == loopback);
        assert_eq!(found.map(|address| address.interface.as_str()), Some("lo"), "{addresses:?}");
    }

    #[test]
    fn addresses_are_read_from_a_message() {
        let mut message = Vec::new();
        message.extend(36u32.to_ne_bytes());
        message.extend(RTM_NEWADDR.to_ne_bytes());
        message.extend([0; 10]);
        message.extend([2, 24, 0, SCOPE_UNIVERSE]);
        message.extend(7u32.to_ne_bytes());
        message.extend(8u16.to_ne_bytes());
        message.extend(IFA_ADDRESS.to_ne_bytes());
        message.extend([10, 0, 0, 9]);
        assert_eq!(message.len(), 32);
        let length = u32::try_from(message.len()).expect("is short");
        message[..4].copy_from_slice(&length.to_ne_bytes());
        let mut addresses = Vec::new();
        let last = read_part(&message, |index| Some(format!("eth{index}")), &mut addresses);
        assert!(!last.expect("is well-formed"));
        assert_eq!(addresses[0].interface, "eth7");
        assert_eq!(addresses[0].ip, IpAddr::from([10, 0, 0, 9]));
        assert!(addresses[0].is_global);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _either = read_part(&bytes, |_| Some(String::new()), &mut Vec::new());
        }
    }
}

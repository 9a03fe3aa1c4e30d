//! How foca's headers and members look in bytes. Fixed layout, big endian; every length is checked.
//!
//! header: kind u8, refutations u16, probe u8, source, target, for indirect kinds the third party.
//! identity: node u128, incarnation u128, bump u32, address (4 or 6, octets, port u16).
//! member: identity, refutations u16, state u8.

use std::net::{IpAddr, SocketAddr};

use bytes::{Buf, BufMut};
use foca::{Header, Member, Message, State};
use swarm_model::id::{Incarnation, NodeId};

use super::identity::Identity;

/// The longest header: three identities with IPv6 addresses.
const MAX_HEADER: usize = 4 + 3 * MAX_IDENTITY;
const MAX_IDENTITY: usize = 36 + 1 + 16 + 2;
const MAX_MEMBER: usize = MAX_IDENTITY + 3;

/// The codec, as foca wants it; it keeps nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WireCodec;

/// Why bytes are no header or member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodecError {
    #[error("the packet ends too early")]
    Short,
    #[error("the packet is full")]
    Full,
    #[error("{what} {found} is unknown")]
    Unknown { what: &'static str, found: u8 },
}

fn need(buf: &impl Buf, bytes: usize) -> Result<(), CodecError> {
    if buf.remaining() < bytes { Err(CodecError::Short) } else { Ok(()) }
}

fn put_identity(id: &Identity, buf: &mut impl BufMut) {
    buf.put_u128(id.node.raw());
    buf.put_u128(id.incarnation.raw());
    buf.put_u32(id.bump);
    match id.addr.ip() {
        IpAddr::V4(ip) => {
            buf.put_u8(4);
            buf.put_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            buf.put_u8(6);
            buf.put_slice(&ip.octets());
        }
    }
    buf.put_u16(id.addr.port());
}

fn take_identity(buf: &mut impl Buf) -> Result<Identity, CodecError> {
    need(buf, 37)?;
    let node = NodeId::from_raw(buf.get_u128());
    let incarnation = Incarnation::from_raw(buf.get_u128());
    let bump = buf.get_u32();
    let ip: IpAddr = match buf.get_u8() {
        4 => {
            need(buf, 6)?;
            buf.get_u32().to_be_bytes().into()
        }
        6 => {
            need(buf, 18)?;
            buf.get_u128().to_be_bytes().into()
        }
        found => return Err(CodecError::Unknown { what: "address family", found }),
    };
    Ok(Identity { node, incarnation, bump, addr: SocketAddr::new(ip, buf.get_u16()) })
}

/// The kind, the probe number and the third party of a message.
fn parts(message: &Message<Identity>) -> (u8, u8, Option<&Identity>) {
    match message {
        Message::Ping(probe) => (1, *probe, None),
        Message::Ack(probe) => (2, *probe, None),
        Message::PingReq { target, probe_number } => (3, *probe_number, Some(target)),
        Message::IndirectPing { origin, probe_number } => (4, *probe_number, Some(origin)),
        Message::IndirectAck { target, probe_number } => (5, *probe_number, Some(target)),
        Message::ForwardedAck { origin, probe_number } => (6, *probe_number, Some(origin)),
        Message::Announce => (7, 0, None),
        Message::Feed => (8, 0, None),
        Message::Gossip => (9, 0, None),
        Message::Broadcast => (10, 0, None),
        Message::TurnUndead => (11, 0, None),
    }
}

fn take_message(
    kind: u8,
    probe_number: u8,
    buf: &mut impl Buf,
) -> Result<Message<Identity>, CodecError> {
    Ok(match kind {
        1 => Message::Ping(probe_number),
        2 => Message::Ack(probe_number),
        3 => Message::PingReq { target: take_identity(buf)?, probe_number },
        4 => Message::IndirectPing { origin: take_identity(buf)?, probe_number },
        5 => Message::IndirectAck { target: take_identity(buf)?, probe_number },
        6 => Message::ForwardedAck { origin: take_identity(buf)?, probe_number },
        7 => Message::Announce,
        8 => Message::Feed,
        9 => Message::Gossip,
        10 => Message::Broadcast,
        11 => Message::TurnUndead,
        found => return Err(CodecError::Unknown { what: "message kind", found }),
    })
}

/// Reads a header off the front of `buf`.
pub(crate) fn take_header(mut buf: impl Buf) -> Result<Header<Identity>, CodecError> {
    need(&buf, 4)?;
    let kind = buf.get_u8();
    let src_incarnation = buf.get_u16();
    let probe = buf.get_u8();
    let src = take_identity(&mut buf)?;
    let dst = take_identity(&mut buf)?;
    let message = take_message(kind, probe, &mut buf)?;
    Ok(Header { src, src_incarnation, dst, message })
}

/// Copies what was built aside, if it fits: a half-written item must never be left behind.
fn put_whole(built: &[u8], mut buf: impl BufMut) -> Result<(), CodecError> {
    if buf.remaining_mut() < built.len() {
        return Err(CodecError::Full);
    }
    buf.put_slice(built);
    Ok(())
}

impl foca::Codec<Identity> for WireCodec {
    type Error = CodecError;

    fn encode_header(
        &mut self,
        header: &Header<Identity>,
        buf: impl BufMut,
    ) -> Result<(), CodecError> {
        let mut built = Vec::with_capacity(MAX_HEADER);
        let (kind, probe, third) = parts(&header.message);
        built.put_u8(kind);
        built.put_u16(header.src_incarnation);
        built.put_u8(probe);
        put_identity(&header.src, &mut built);
        put_identity(&header.dst, &mut built);
        if let Some(third) = third {
            put_identity(third, &mut built);
        }
        put_whole(&built, buf)
    }

    fn decode_header(&mut self, buf: impl Buf) -> Result<Header<Identity>, CodecError> {
        take_header(buf)
    }

    fn encode_member(
        &mut self,
        member: &Member<Identity>,
        buf: impl BufMut,
    ) -> Result<(), CodecError> {
        let mut built = Vec::with_capacity(MAX_MEMBER);
        put_identity(member.id(), &mut built);
        built.put_u16(member.incarnation());
        built.put_u8(match member.state() {
            State::Alive => 0,
            State::Suspect => 1,
            State::Down => 2,
        });
        put_whole(&built, buf)
    }

    fn decode_member(&mut self, mut buf: impl Buf) -> Result<Member<Identity>, CodecError> {
        let id = take_identity(&mut buf)?;
        need(&buf, 3)?;
        let incarnation = buf.get_u16();
        let state = match buf.get_u8() {
            0 => State::Alive,
            1 => State::Suspect,
            2 => State::Down,
            found => return Err(CodecError::Unknown { what: "member state", found }),
        };
        Ok(Member::new(id, incarnation, state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foca::Codec;
    use proptest::prelude::*;

    fn id(node: u128, addr: SocketAddr) -> Identity {
        Identity {
            bump: 7,
            incarnation: Incarnation::from_raw(9),
            ..Identity::unknown(NodeId::from_raw(node), addr)
        }
    }

    #[test]
    fn the_layout_is_pinned() {
        let four = id(1, SocketAddr::from(([10, 0, 0, 3], 2377)));
        let mut bytes = Vec::new();
        let member = Member::new(four, 258, State::Suspect);
        WireCodec.encode_member(&member, &mut bytes).expect("room");
        let mut expected = [0u8; 46];
        expected[15] = 1;
        expected[31] = 9;
        expected[35] = 7;
        expected[36..].copy_from_slice(&[4, 10, 0, 0, 3, 9, 73, 1, 2, 1]);
        assert_eq!(bytes, expected);
        let header =
            Header { src: four, src_incarnation: 258, dst: four, message: Message::Ping(5) };
        let mut bytes = Vec::new();
        WireCodec.encode_header(&header, &mut bytes).expect("room");
        assert_eq!(bytes[..4], [1, 1, 2, 5]);
        assert_eq!(bytes[4..47], expected[..43]);
        assert_eq!(bytes.len(), 90);
    }

    #[test]
    fn every_message_round_trips_and_every_cut_is_an_error() {
        let four = id(1, SocketAddr::from(([10, 0, 0, 3], 2377)));
        let six = id(2, SocketAddr::from(([1, 2, 3, 4, 5, 6, 7, 8], 1)));
        let (target, origin, probe_number) = (six, six, 3);
        for message in [
            Message::Ping(1),
            Message::Ack(2),
            Message::PingReq { target, probe_number },
            Message::IndirectPing { origin, probe_number },
            Message::IndirectAck { target, probe_number },
            Message::ForwardedAck { origin, probe_number },
            Message::Announce,
            Message::Feed,
            Message::Gossip,
            Message::Broadcast,
            Message::TurnUndead,
        ] {
            let header = Header { src: four, src_incarnation: 4, dst: six, message };
            let mut bytes = Vec::new();
            WireCodec.encode_header(&header, &mut bytes).expect("room");
            assert!(bytes.len() <= MAX_HEADER);
            assert_eq!(take_header(&bytes[..]).as_ref(), Ok(&header));
            for end in 0..bytes.len() {
                assert!(take_header(&bytes[..end]).is_err(), "{header:?} cut at {end}");
            }
            let mut small = vec![0; bytes.len() - 1];
            assert_eq!(WireCodec.encode_header(&header, &mut small[..]), Err(CodecError::Full));
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes: Vec<u8>) {
            drop(take_header(&bytes[..]));
            drop(WireCodec.decode_member(&bytes[..]));
        }
    }
}

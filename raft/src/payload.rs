//! The payload of one log record: a kind byte, then a command or a membership. The same bytes lie on
//! disk and travel to followers. Index and term are kept beside it by whoever carries it.

use bytes::{BufMut, Bytes, BytesMut};
use swarm_net::frame;

use crate::types::{BLANK, COMMAND, Encoded, MEMBERSHIP, Membership, Payload};
use crate::wire::Members;

/// The bytes of `payload`; a command's are shared, not copied.
pub(crate) fn encode(payload: &Payload) -> Bytes {
    match payload {
        Payload::Blank => Bytes::from_static(&[BLANK]),
        Payload::Normal(command) => command.payload().clone(),
        Payload::Membership(membership) => {
            let members = frame::encode(&Members::from(membership));
            let mut bytes = BytesMut::with_capacity(members.len() + 1);
            bytes.put_u8(MEMBERSHIP);
            bytes.extend_from_slice(&members);
            bytes.freeze()
        }
    }
}

/// Reads what [`encode`] wrote.
pub(crate) fn decode(bytes: Bytes) -> Result<Payload, String> {
    match bytes.split_first() {
        Some((&BLANK, [])) => Ok(Payload::Blank),
        Some((&COMMAND, _)) => Ok(Payload::Normal(Encoded::from_payload(bytes))),
        Some((&MEMBERSHIP, members)) => {
            let members: Members = frame::decode(members).map_err(|error| error.to_string())?;
            Membership::try_from(members).map(Payload::Membership)
        }
        Some((kind, _)) => Err(format!("a log record is of the unknown kind {kind}")),
        None => Err("a log record has no payload".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Id;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn payloads_round_trip() {
        let voters = vec![BTreeSet::from([Id::from(1)])];
        let nodes = BTreeMap::from([(Id::from(1), ()), (Id::from(2), ())]);
        let membership = Membership::new(voters, nodes).expect("the voter is a member");
        for payload in [
            Payload::Blank,
            Payload::Normal(Encoded::new(b"command")),
            Payload::Normal(Encoded::new(b"")),
            Payload::Membership(membership),
        ] {
            assert_eq!(decode(encode(&payload)), Ok(payload));
        }
    }

    #[test]
    fn strange_payloads_are_refused() {
        for bytes in [&[][..], &[9], &[BLANK, 0], &[MEMBERSHIP, 1]] {
            assert!(decode(Bytes::copy_from_slice(bytes)).is_err(), "{bytes:?}");
        }
    }
}

//! The first bytes of a call on its stream, and of its answer. Pure; the lengths are checked here.
//!
//! Request: version, method, milliseconds the caller waits (u32), body length (u32), body.
//! Answer: status, body length (u32), body. Message of a stream: length (u32), body. Big endian.

use std::time::Duration;

use crate::frame::{FrameError, MAX_FRAME};

/// The version of the heads; bodies have their own.
const VERSION: u8 = 1;

/// Bytes of a request's head.
pub(crate) const REQUEST_HEAD: usize = 10;
/// Bytes of an answer's head.
pub(crate) const ANSWER_HEAD: usize = 5;
/// Bytes of a message's head.
pub(crate) const MESSAGE_HEAD: usize = 4;

/// The head of a request; the method is still a number, since it may be unknown here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestHead {
    pub(crate) method: u8,
    /// How long the caller waits, in whole milliseconds.
    pub(crate) deadline: Duration,
    pub(crate) length: usize,
}

/// How a call ended at the callee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// The body is the result.
    Done,
    /// The body is a refusal.
    Refused,
}

/// `length` as it goes on the wire.
fn length_bytes(length: usize) -> Result<[u8; 4], FrameError> {
    match u32::try_from(length) {
        Ok(short) if length <= MAX_FRAME => Ok(short.to_be_bytes()),
        Ok(_) | Err(_) => Err(FrameError::TooLarge { size: length }),
    }
}

fn length(bytes: [u8; 4]) -> Result<usize, FrameError> {
    match usize::try_from(u32::from_be_bytes(bytes)) {
        Ok(size) if size <= MAX_FRAME => Ok(size),
        Ok(size) => Err(FrameError::TooLarge { size }),
        Err(_) => Err(FrameError::TooLarge { size: usize::MAX }),
    }
}

impl RequestHead {
    /// # Errors
    /// When the body is too long to be sent.
    pub(crate) fn encode(self) -> Result<[u8; REQUEST_HEAD], FrameError> {
        let millis = u32::try_from(self.deadline.as_millis()).unwrap_or(u32::MAX);
        let mut head = [0; REQUEST_HEAD];
        head[0] = VERSION;
        head[1] = self.method;
        head[2..6].copy_from_slice(&millis.to_be_bytes());
        head[6..].copy_from_slice(&length_bytes(self.length)?);
        Ok(head)
    }

    /// # Errors
    /// When the version is another or the claimed length too great.
    pub(crate) fn decode(head: [u8; REQUEST_HEAD]) -> Result<Self, FrameError> {
        let [version, method, d0, d1, d2, d3, l0, l1, l2, l3] = head;
        if version != VERSION {
            return Err(FrameError::Version { found: version });
        }
        let millis = u32::from_be_bytes([d0, d1, d2, d3]);
        let length = length([l0, l1, l2, l3])?;
        Ok(Self { method, deadline: Duration::from_millis(millis.into()), length })
    }
}

/// # Errors
/// When the body is too long to be sent.
pub(crate) fn encode_answer(status: Status, length: usize) -> Result<[u8; 5], FrameError> {
    let [l0, l1, l2, l3] = length_bytes(length)?;
    let status = match status {
        Status::Done => 0,
        Status::Refused => 1,
    };
    Ok([status, l0, l1, l2, l3])
}

/// # Errors
/// When the status is unknown or the claimed length too great.
pub(crate) fn decode_answer(head: [u8; ANSWER_HEAD]) -> Result<(Status, usize), FrameError> {
    let [status, l0, l1, l2, l3] = head;
    let status = match status {
        0 => Status::Done,
        1 => Status::Refused,
        other => {
            return Err(FrameError::Malformed { reason: format!("unknown answer status {other}") });
        }
    };
    Ok((status, length([l0, l1, l2, l3])?))
}

/// # Errors
/// When the message is too long to be sent.
pub(crate) fn encode_message(length: usize) -> Result<[u8; MESSAGE_HEAD], FrameError> {
    length_bytes(length)
}

/// # Errors
/// When the claimed length is too great.
pub(crate) fn decode_message(head: [u8; MESSAGE_HEAD]) -> Result<usize, FrameError> {
    length(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_heads_are_pinned() {
        let head =
            RequestHead { method: 20, deadline: Duration::from_millis(1500), length: 0x01_02_03 };
        assert_eq!(head.encode(), Ok([1, 20, 0, 0, 5, 220, 0, 1, 2, 3]));
        assert_eq!(encode_answer(Status::Done, 258), Ok([0, 0, 0, 1, 2]));
        assert_eq!(encode_answer(Status::Refused, 0), Ok([1, 0, 0, 0, 0]));
        assert_eq!(encode_message(258), Ok([0, 0, 1, 2]));
    }

    #[test]
    fn lengths_over_the_limit_are_refused_both_ways() {
        let size = MAX_FRAME + 1;
        let head = RequestHead { method: 1, deadline: Duration::ZERO, length: size };
        assert_eq!(head.encode(), Err(FrameError::TooLarge { size }));
        assert_eq!(encode_message(size), Err(FrameError::TooLarge { size }));
        let claimed = usize::try_from(u32::MAX).expect("64-bit machine");
        assert_eq!(decode_message([255; 4]), Err(FrameError::TooLarge { size: claimed }));
        assert!(RequestHead::decode([1, 1, 0, 0, 0, 0, 255, 0, 0, 0]).is_err());
        assert!(decode_answer([0, 255, 0, 0, 0]).is_err());
    }

    #[test]
    fn another_version_and_an_unknown_status_are_named() {
        let other = RequestHead::decode([2, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(other, Err(FrameError::Version { found: 2 }));
        assert!(matches!(decode_answer([9, 0, 0, 0, 0]), Err(FrameError::Malformed { .. })));
    }

    proptest! {
        #[test]
        fn request_heads_round_trip(method: u8, millis: u32, length in 0..=MAX_FRAME) {
            let deadline = Duration::from_millis(millis.into());
            let head = RequestHead { method, deadline, length };
            prop_assert_eq!(head.encode().and_then(RequestHead::decode), Ok(head));
        }
    }
}

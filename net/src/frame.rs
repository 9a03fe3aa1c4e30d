//! The one codec of what travels between nodes: a format version, then bincode, under a size limit.
//!
//! The version is the oldest that says it all, so that nodes of the former one read whatever tells
//! nothing that they could not know.
//!
//! Types on the wire are append-only enums and plain structs: nothing recursive, nothing of size zero
//! in a sequence (both let a few bytes cost a lot). Storage formats are not made here.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::error::EncodeError;
use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use swarm_model::grown::{Format, Reading, Worded};

/// The largest message between two nodes, in bytes.
pub const MAX_FRAME: usize = 4 << 20;
/// The newest version of frames that this build knows; it reads and writes the one before, too.
pub const FORMAT: u8 = 2;
/// The one before.
const FORMER: u8 = FORMAT - 1;

/// Bounds what a decoded value may claim before anything is allocated for it.
const CONFIG: Configuration<LittleEndian, Varint, Limit<MAX_FRAME>> =
    bincode::config::standard().with_limit::<MAX_FRAME>();

/// Why bytes are no message. Nothing was changed; sending the same bytes again fails again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// There is not even a version.
    #[error("the message is empty")]
    Empty,
    /// The sender speaks another version.
    #[error(
        "message format {found} is not supported: this node reads formats {FORMER} and {FORMAT}"
    )]
    Version {
        /// The version that the message names.
        found: u8,
    },
    /// Longer than any message may be.
    #[error("a message of {size} bytes is over the limit of {MAX_FRAME} bytes")]
    TooLarge {
        /// The length that was claimed or sent.
        size: usize,
    },
    /// The bytes do not read as the expected type.
    #[error("the message is malformed: {reason}")]
    Malformed {
        /// What the decoder says.
        reason: String,
    },
    /// The value ended before the bytes did.
    #[error("the message has {surplus} bytes after its end")]
    Trailing {
        /// How many bytes are left.
        surplus: usize,
    },
}

/// Writes `message` with its format version in front.
///
/// The result may be over [`MAX_FRAME`]; the transport refuses to send it then.
pub fn encode<T: Serialize + ?Sized>(message: &T) -> Bytes {
    write(FORMER, Format::Former, message).unwrap_or_else(|_says_more| {
        write(FORMAT, Format::Newest, message).expect("plain data encodes into memory")
    })
}

fn write<T: Serialize + ?Sized>(
    version: u8,
    format: Format,
    message: &T,
) -> Result<Bytes, EncodeError> {
    let mut writer = BytesMut::with_capacity(128).writer();
    writer.get_mut().put_u8(version);
    // No limit on this side: the transport names the size when it refuses.
    let message = Worded::new(format, message);
    bincode::serde::encode_into_std_write(message, &mut writer, bincode::config::standard())?;
    Ok(writer.into_inner().freeze())
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// When `bytes` is too long, of another version, malformed, or longer than its value.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    if bytes.len() > MAX_FRAME {
        return Err(FrameError::TooLarge { size: bytes.len() });
    }
    let (&version, body) = bytes.split_first().ok_or(FrameError::Empty)?;
    let format = match version {
        FORMAT => Format::Newest,
        FORMER => Format::Former,
        found => return Err(FrameError::Version { found }),
    };
    let (value, used) = bincode::serde::seed_decode_from_slice(Reading::of(format), body, CONFIG)
        .map_err(|error| FrameError::Malformed { reason: error.to_string() })?;
    match body.len() - used {
        0 => Ok(value),
        surplus => Err(FrameError::Trailing { surplus }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;
    use swarm_model::assignment::AssignmentMessage;
    use swarm_model::fuzz::sample;
    use swarm_model::runtime::RuntimeSpec;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Sample {
        Empty,
        Full { id: u64, name: String, body: Vec<u8> },
    }

    #[test]
    fn the_format_is_pinned() {
        let sample = Sample::Full { id: 300, name: "ab".into(), body: vec![7, 8] };
        assert_eq!(encode(&sample)[..], [1, 1, 251, 44, 1, 2, b'a', b'b', 2, 7, 8]);
        assert_eq!(encode(&Sample::Empty)[..], [1, 0]);
    }

    fn golden(hex: &str) -> Vec<u8> {
        let byte = |pair| u8::from_str_radix(str::from_utf8(pair).expect("text"), 16);
        hex.trim().as_bytes().chunks(2).map(|pair| byte(pair).expect("hex")).collect()
    }

    #[test]
    fn a_message_of_todays_format_is_pinned() {
        let [_full, today] = sample::assignments();
        let hex = include_str!("../golden/assignment-2.hex").trim();
        let written: String = encode(&today).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(written, hex);
        let bytes = golden(hex);
        assert_eq!(bytes[0], FORMAT);
        assert_eq!(decode::<AssignmentMessage>(&bytes).as_ref(), Ok(&today));
    }

    #[test]
    fn a_message_of_the_format_before_is_read_and_written_when_it_says_nothing_new() {
        let bytes = golden(include_str!("../golden/assignment-1.hex"));
        let [_full, expect] = sample::assignments();
        let AssignmentMessage::Delta { generation, mut changed, removed } = expect else {
            unreachable!("the second one is a delta")
        };
        for assignment in &mut changed {
            let template = std::sync::Arc::make_mut(&mut assignment.template);
            template.resources.reservations.generic.clear();
            let RuntimeSpec::Process(process) = &mut template.runtime;
            process.namespaces.clear();
            (template.health, template.ready, template.drain_delay_ms) = (None, None, 0);
        }
        let expect = AssignmentMessage::Delta { generation, changed, removed };
        assert_eq!(decode::<AssignmentMessage>(&bytes).as_ref(), Ok(&expect));
        assert_eq!(encode(&expect), bytes);
    }

    #[test]
    fn a_claimed_length_is_checked_before_it_is_allocated() {
        let mut hostile = vec![FORMAT, 253];
        hostile.extend((u64::MAX >> 1).to_le_bytes());
        assert!(matches!(decode::<Vec<u8>>(&hostile), Err(FrameError::Malformed { .. })));
        assert!(matches!(decode::<String>(&hostile), Err(FrameError::Malformed { .. })));
        assert!(matches!(decode::<Vec<String>>(&hostile), Err(FrameError::Malformed { .. })));
    }

    #[test]
    fn each_fault_has_its_own_error() {
        let good = encode(&Sample::Full { id: 1, name: "x".into(), body: vec![] });
        assert_eq!(decode::<Sample>(&[]), Err(FrameError::Empty));
        assert_eq!(decode::<Sample>(&[9, 0]), Err(FrameError::Version { found: 9 }));
        assert!(matches!(decode::<Sample>(&good[..3]), Err(FrameError::Malformed { .. })));
        assert!(matches!(decode::<Sample>(&[FORMAT, 77]), Err(FrameError::Malformed { .. })));
        let long = [&good[..], &[0]].concat();
        assert_eq!(decode::<Sample>(&long), Err(FrameError::Trailing { surplus: 1 }));
        let huge = vec![FORMAT; MAX_FRAME + 1];
        assert_eq!(decode::<Sample>(&huge), Err(FrameError::TooLarge { size: MAX_FRAME + 1 }));
    }

    proptest! {
        #[test]
        fn messages_round_trip(id: u64, name: String, body: Vec<u8>) {
            let sample = Sample::Full { id, name, body };
            prop_assert_eq!(decode::<Sample>(&encode(&sample)), Ok(sample));
        }

        #[test]
        fn hostile_bytes_never_panic(bytes: Vec<u8>) {
            drop(decode::<Sample>(&bytes));
            drop(decode::<Sample>(&[&[FORMAT], &bytes[..]].concat()));
        }
    }
}

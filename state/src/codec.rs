//! The stored form of commands and snapshots: one version byte, then bincode.
//!
//! Version N reads N-1, and writes N-1 as long as that says it all: so programs of both versions share
//! a cluster until somebody asks for what only the newer one knows. Golden bytes in the tests pin
//! each format.

use serde::Serialize;
use serde::de::DeserializeOwned;
use swarm_model::command::Command;
use swarm_model::grown::{Format, Reading, Worded};

/// The newest format of commands that this program knows; it reads and writes the one before, too.
pub const FORMAT: u8 = 2;
/// The newest format of snapshots that this program knows; the same holds.
pub const SNAPSHOT_FORMAT: u8 = 3;
/// The most bytes of one stored command.
pub const COMMAND_BYTES_MAX: usize = 2 << 20;
/// The most bytes of one snapshot.
pub const SNAPSHOT_BYTES_MAX: usize = 1 << 30;

/// Why bytes could not be read or written. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// A program wrote it that is newer, or older by more than one format; or nobody did.
    #[error(
        "format version {found} is not known here (this program reads {known} and the one before)"
    )]
    UnknownFormat {
        /// The version byte.
        found: u8,
        /// The newest that is known.
        known: u8,
    },
    /// There is nothing.
    #[error("no bytes")]
    Empty,
    /// Longer than anything valid.
    #[error("{bytes} bytes are more than the {limit} allowed")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The most.
        limit: usize,
    },
    /// Bytes were left over.
    #[error("{0} bytes left over")]
    Trailing(usize),
    /// The bytes say something else.
    #[error("malformed bytes")]
    Malformed(#[source] bincode::error::DecodeError),
    /// The value cannot be stored.
    #[error("value cannot be stored")]
    Unwritable(#[source] bincode::error::EncodeError),
}

fn write<T: Serialize>(version: u8, format: Format, value: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = vec![version];
    let value = Worded::new(format, value);
    bincode::serde::encode_into_std_write(value, &mut bytes, bincode::config::standard())
        .map_err(CodecError::Unwritable)?;
    Ok(bytes)
}

/// Writes `value` in the oldest format that is still read and says all of it; `newest` says anything.
/// One that `is_new` is known to need that.
fn encode<T: Serialize>(
    newest: u8,
    limit: usize,
    value: &T,
    is_new: bool,
) -> Result<Vec<u8>, CodecError> {
    let former = (!is_new).then(|| write(newest - 1, Format::Former, value));
    let bytes = match former {
        Some(Ok(bytes)) => bytes,
        Some(Err(_says_more)) => write(newest, Format::Newest, value)?,
        None => write(newest, Format::Newest, value)?,
    };
    if bytes.len() > limit {
        return Err(CodecError::TooLarge { bytes: bytes.len(), limit });
    }
    Ok(bytes)
}

/// Reads what is no longer than `limit`. Nothing else is bounded: what is read is in the bytes, for
/// lengths that are only claimed nothing is allocated.
fn decode<T: DeserializeOwned>(newest: u8, limit: usize, bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.len() > limit {
        return Err(CodecError::TooLarge { bytes: bytes.len(), limit });
    }
    let (found, body) = bytes.split_first().ok_or(CodecError::Empty)?;
    let format = match newest.checked_sub(*found) {
        Some(0) => Format::Newest,
        Some(1) => Format::Former,
        Some(_) | None => {
            return Err(CodecError::UnknownFormat { found: *found, known: newest });
        }
    };
    let (reading, config) = (Reading::of(format), bincode::config::standard());
    let (value, used) = bincode::serde::seed_decode_from_slice(reading, body, config)
        .map_err(CodecError::Malformed)?;
    match body.len() - used {
        0 => Ok(value),
        left => Err(CodecError::Trailing(left)),
    }
}

/// The stored form of a command.
///
/// # Errors
/// When it is larger than [`COMMAND_BYTES_MAX`].
pub fn encode_command(command: &Command) -> Result<Vec<u8>, CodecError> {
    encode(FORMAT, COMMAND_BYTES_MAX, command, false)
}

/// Reads a stored command.
///
/// # Errors
/// When the bytes are not one whole command of a known format.
pub fn decode_command(bytes: &[u8]) -> Result<Command, CodecError> {
    decode(FORMAT, COMMAND_BYTES_MAX, bytes)
}

/// The stored form of a snapshot. One that `is_new` says what only the newest format can; unless that is
/// known the former one is tried, which costs as much as to write it.
pub(crate) fn encode_snapshot<T: Serialize>(
    value: &T,
    is_new: bool,
) -> Result<Vec<u8>, CodecError> {
    encode(SNAPSHOT_FORMAT, SNAPSHOT_BYTES_MAX, value, is_new)
}

pub(crate) fn decode_snapshot<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    decode(SNAPSHOT_FORMAT, SNAPSHOT_BYTES_MAX, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_model::command::{Actor, Op};
    use swarm_model::fuzz::sample;
    use swarm_model::id::{NodeId, RequestId, ServiceId};
    use swarm_model::plan::Change;
    use swarm_model::runtime::RuntimeSpec;
    use swarm_model::units::Timestamp;

    fn small() -> Command {
        Command {
            request: Some(RequestId::from_raw(7)),
            at: Timestamp::from_millis(1000),
            actor: Actor { node: NodeId::from_raw(3), uid: Some(0) },
            op: Op::RemoveService { id: ServiceId::from_raw(9) },
            if_revision: None,
        }
    }

    #[test]
    fn golden_bytes_of_a_command() {
        // format 1, which says it all | Some 7 | 1000 | node 3, Some uid 0 | variant 11, id 9
        let golden = [1, 1, 7, 251, 232, 3, 3, 1, 0, 11, 9];
        assert_eq!(encode_command(&small()).expect("small"), golden);
        assert_eq!(decode_command(&golden).expect("valid"), small());
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let byte = |pair| u8::from_str_radix(str::from_utf8(pair).expect("text"), 16);
        hex.as_bytes().chunks(2).map(|pair| byte(pair).expect("hex")).collect()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The samples without what format 1 did not know, so without preemptions, which it had not.
    fn as_format_1_said(mut op: Op) -> Op {
        match &mut op {
            Op::InitCluster { node, .. } | Op::AddNode(node) => {
                node.description.resources.generic.clear();
            }
            Op::DescribeNode { description, .. } => description.resources.generic.clear(),
            Op::CreateService { spec, .. } | Op::UpdateService { spec, .. } => {
                spec.priority = Default::default();
                spec.update = Default::default();
                spec.rollback = Default::default();
                spec.min_available = None;
                spec.task_template.resources.reservations.generic.clear();
                let RuntimeSpec::Process(process) = &mut spec.task_template.runtime;
                process.namespaces.clear();
                spec.task_template.health = None;
                spec.task_template.ready = None;
                spec.task_template.drain_delay_ms = 0;
            }
            Op::ReportStatus { reports, .. } => {
                reports.iter_mut().for_each(|report| report.status.health = None);
            }
            Op::ApplyPlan { changes, .. } => {
                changes.retain(|change| {
                    let new = matches!(change, Change::Yield { .. } | Change::Update { .. });
                    let newer = matches!(change, Change::Preempt { .. } | Change::EndRun { .. });
                    !new && !newer
                });
                for change in changes {
                    if let Change::CreateTask(new) = change {
                        new.voluntary = false;
                        new.restart.failed_update = None;
                        new.restart.displaced = false;
                    }
                }
            }
            _unchanged => {}
        }
        if let Op::UpdateService { steered, .. } = &mut op {
            *steered = false;
        }
        op
    }

    /// The samples of ops that format 1 knew: those that came later stand behind them.
    fn ops_of_format_1() -> Vec<Op> {
        let first = |op: &Op| matches!(op, Op::RollbackService { .. });
        sample::ops().into_iter().take_while(|op| !first(op)).collect()
    }

    #[test]
    fn every_command_of_the_format_before_is_read() {
        let golden: Vec<_> = include_str!("../golden/commands-1.hex").lines().collect();
        let ops = ops_of_format_1();
        assert_eq!(golden.len(), ops.len());
        for (line, op) in golden.into_iter().zip(ops) {
            let read = decode_command(&bytes(line)).expect(line);
            assert_eq!(read, sample::command(as_format_1_said(op)));
        }
    }

    #[test]
    fn what_says_nothing_new_is_written_as_the_format_before() {
        let golden = include_str!("../golden/commands-1.hex").lines();
        for (line, op) in golden.zip(ops_of_format_1()) {
            let command = sample::command(as_format_1_said(op));
            assert_eq!(hex(&encode_command(&command).expect("small")), line);
        }
    }

    #[test]
    fn each_thing_that_format_1_did_not_know_makes_a_command_one_of_format_2() {
        let create = |change: &dyn Fn(&mut swarm_model::service::ServiceSpec)| {
            let mut found = sample::ops().into_iter().find_map(|op| match as_format_1_said(op) {
                Op::CreateService { spec, .. } => Some(spec),
                _other => None,
            });
            let mut spec = found.take().expect("there is one");
            change(&mut spec);
            let id = ServiceId::from_raw(9);
            let command = sample::command(Op::CreateService { id, spec });
            let bytes = encode_command(&command).expect("small");
            assert_eq!(decode_command(&bytes).ok(), Some(command));
            bytes[0]
        };
        assert_eq!(create(&|_spec| {}), 1);
        assert_eq!(create(&|spec| spec.priority.0 = 51), 2);
        assert_eq!(create(&|spec| spec.update.parallelism = 2), 2);
        assert_eq!(create(&|spec| spec.update.start_timeout_ms += 1), 2);
        assert_eq!(create(&|spec| spec.rollback.max_failure_permille = 1), 2);
        let pause = Some(swarm_model::update::FailureAction::Pause);
        assert_eq!(create(&|spec| spec.rollback.failure_action = pause), 2);
        assert_eq!(create(&|spec| spec.priority.0 = 0), 2);
        let share = Some(swarm_model::share::Share::Count(0));
        assert_eq!(create(&|spec| spec.min_available = share), 2);
        assert_eq!(create(&|spec| spec.task_template.drain_delay_ms = 1), 2);
        let probe = swarm_model::probe::Probe::new(swarm_model::probe::Check::Tcp { port: 80 });
        assert_eq!(create(&|spec| spec.task_template.health = Some(probe.clone())), 2);
        assert_eq!(create(&|spec| spec.task_template.ready = Some(probe.clone())), 2);
        let rule = |text: &'static str| {
            move |spec: &mut swarm_model::service::ServiceSpec| {
                spec.task_template.placement.constraints = vec![text.parse().expect(text)];
            }
        };
        assert_eq!(create(&rule("node.id!=a")), 1);
        assert_eq!(create(&rule("node.id in a,b")), 2);
        assert_eq!(create(&rule("node.labels.n>3")), 2);
        let prefer = |text: &'static str| {
            move |spec: &mut swarm_model::service::ServiceSpec| {
                spec.task_template.placement.preferences = vec![text.parse().expect(text)];
            }
        };
        assert_eq!(create(&prefer("spread=node.hostname")), 1);
        assert_eq!(create(&prefer("binpack")), 2);
        assert_eq!(create(&prefer("anti-affinity=service:db")), 2);
        assert_eq!(
            create(&|spec| {
                let kinds = &mut spec.task_template.resources.reservations.generic;
                kinds.insert("licence".into(), 1);
            }),
            2
        );
        let isolated = |spec: &mut swarm_model::service::ServiceSpec| {
            let RuntimeSpec::Process(process) = &mut spec.task_template.runtime;
            process.namespaces.insert(swarm_model::runtime::Namespace::Net);
        };
        assert_eq!(create(&isolated), 2);
    }

    #[test]
    fn new_words_for_places_are_written_and_read_as_they_were_laid_down() {
        let found = sample::ops().into_iter().find_map(|op| match op {
            Op::CreateService { spec, .. } => Some(spec),
            _other => None,
        });
        let mut spec = found.expect("there is one");
        let placement = &mut spec.task_template.placement;
        let rules = ["node.id in a,b", "node.labels.n>=3", "node.ip==10.0.0.0/8"];
        placement.constraints = rules.map(|rule| rule.parse().expect(rule)).into();
        let wishes = ["binpack", "affinity=service:db:20", "anti-affinity=node.labels.zone==a"];
        placement.preferences = wishes.map(|wish| wish.parse().expect(wish)).into();
        let command = sample::command(Op::CreateService { id: ServiceId::from_raw(9), spec });
        let golden = include_str!("../golden/placement-2.hex").trim();
        assert_eq!(hex(&encode_command(&command).expect("small")), golden);
        assert_eq!(decode_command(&bytes(golden)).ok(), Some(command));
    }

    #[test]
    fn a_guarded_command_is_one_of_format_2() {
        let guarded = Command { if_revision: Some(swarm_model::meta::Revision(300)), ..small() };
        let golden = [2, 1, 7, 251, 232, 3, 3, 1, 0, 11, 9, 1, 251, 44, 1];
        assert_eq!(encode_command(&guarded).expect("small"), golden);
        assert_eq!(decode_command(&golden).expect("valid"), guarded);
    }

    #[test]
    fn every_command_is_written_and_read_as_it_was_laid_down() {
        let written: Vec<_> = sample::ops().into_iter().map(sample::command).collect();
        let hexes = written.iter().map(|command| hex(&encode_command(command).expect("small")));
        let text: String = hexes.map(|line| line + "\n").collect();
        assert_eq!(text, include_str!("../golden/commands-2.hex"));
        for command in written {
            assert_eq!(
                decode_command(&encode_command(&command).expect("small")).ok(),
                Some(command)
            );
        }
    }

    #[test]
    fn damaged_bytes_are_refused_by_name() {
        let good = encode_command(&small()).expect("small");
        assert!(matches!(decode_command(&[]), Err(CodecError::Empty)));
        assert!(matches!(
            decode_command(&[9, 1]),
            Err(CodecError::UnknownFormat { found: 9, known: 2 })
        ));
        assert!(matches!(decode_command(&good[..5]), Err(CodecError::Malformed(_))));
        let long = [good, vec![0]].concat();
        assert!(matches!(decode_command(&long), Err(CodecError::Trailing(1))));
    }
}

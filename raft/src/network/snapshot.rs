//! A snapshot to one follower: a hello with length and checksum, chunks, then the follower's word.

use std::time::Duration;

use openraft::raft::SnapshotResponse;
use swarm_model::id::NodeId;
use swarm_net::frame;
use swarm_net::rpc::Method;
use swarm_net::transport::{CallError, MessageStream, Transport};

use super::OPEN_DEADLINE;
use crate::types::{Snapshot, Types, Vote};
use crate::wire::{SnapshotAnswer, SnapshotHello};

/// Bytes of one chunk: small enough not to hold up the records on the same connection for long.
pub(crate) const CHUNK: usize = 256 * 1024;
/// How long one chunk may wait for a slow link.
const CHUNK_DEADLINE: Duration = Duration::from_secs(10);
/// How long the follower may take to store and install it.
const INSTALL_DEADLINE: Duration = Duration::from_secs(60);

/// Why a snapshot did not arrive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error("the snapshot could not be sent")]
    Call(#[from] CallError),
    #[error("node {to} received a snapshot that differs from what was sent")]
    Damaged { to: NodeId },
    #[error("node {to} could not install the snapshot: {reason}")]
    Failed { to: NodeId, reason: String },
}

/// Sends `snapshot` and waits until it is installed.
pub(super) async fn send(
    transport: &dyn Transport,
    to: NodeId,
    vote: Vote,
    snapshot: Snapshot,
) -> Result<SnapshotResponse<Types>, SendError> {
    let mut bytes = snapshot.snapshot;
    let hello = SnapshotHello {
        vote: (&vote).into(),
        head: (&snapshot.meta).into(),
        length: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        crc: crc32c::crc32c(&bytes),
    };
    let hello = frame::encode(&hello);
    let mut stream = transport.open(to, Method::RaftSnapshot, hello, OPEN_DEADLINE).await?;
    while !bytes.is_empty() {
        let chunk = bytes.split_to(CHUNK.min(bytes.len()));
        within(CHUNK_DEADLINE, stream.send(chunk)).await?;
    }
    stream.finish();
    match answer(&mut stream).await? {
        SnapshotAnswer::Installed(vote) => Ok(SnapshotResponse::new(vote.into())),
        SnapshotAnswer::Damaged => Err(SendError::Damaged { to }),
        SnapshotAnswer::Failed(reason) => Err(SendError::Failed { to, reason }),
    }
}

async fn answer(stream: &mut MessageStream) -> Result<SnapshotAnswer, CallError> {
    let message = within(INSTALL_DEADLINE, stream.recv()).await?.ok_or(CallError::Closed)?;
    Ok(frame::decode(&message)?)
}

async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    tokio::time::timeout(deadline, work).await.unwrap_or(Err(CallError::DeadlineExceeded))
}

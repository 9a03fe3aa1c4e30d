//! Receives a snapshot in chunks and has it installed once all of it is here and intact.

use std::io;

use bytes::{Bytes, BytesMut};
use swarm_net::frame;
use swarm_net::transport::{CallError, MessageStream, Peer};
use swarm_state::codec::SNAPSHOT_BYTES_MAX;
use swarm_state::machine::Machine;

use super::{Raft, speaks_for_itself};
use crate::types::{Snapshot, SnapshotMeta, Vote};
use crate::wire::{SnapshotAnswer, SnapshotHello};
use crate::work::Work;

/// Receives one snapshot and says what became of it.
pub(super) async fn receive(
    raft: &Raft,
    work: Work,
    from: Peer,
    hello: &[u8],
    mut stream: MessageStream,
) {
    let answer = match install(raft, work, from, hello, &mut stream).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::debug!(peer = %from.node_id, %error, "snapshot broke off");
            return;
        }
    };
    match &answer {
        SnapshotAnswer::Installed(_) => {}
        SnapshotAnswer::Damaged => {
            tracing::warn!(peer = %from.node_id, "snapshot arrived damaged");
        }
        SnapshotAnswer::Failed(reason) => {
            tracing::warn!(peer = %from.node_id, error = %reason, "snapshot not installed");
        }
    }
    if let Err(error) = stream.send(frame::encode(&answer)).await {
        tracing::debug!(peer = %from.node_id, %error, "snapshot answer not sent");
        return;
    }
    stream.finish();
    // The stream ends when it is dropped; wait until the leader has read the answer.
    drop(stream.recv().await);
}

async fn install(
    raft: &Raft,
    work: Work,
    from: Peer,
    hello: &[u8],
    stream: &mut MessageStream,
) -> Result<SnapshotAnswer, CallError> {
    let hello: SnapshotHello = frame::decode(hello)?;
    speaks_for_itself(from, hello.vote)?;
    let meta = match SnapshotMeta::try_from(hello.head) {
        Ok(meta) => meta,
        Err(reason) => return Ok(SnapshotAnswer::Failed(reason)),
    };
    let length = match usize::try_from(hello.length) {
        Ok(length) if length <= SNAPSHOT_BYTES_MAX => length,
        Ok(_) | Err(_) => {
            let reason = format!("{} bytes are over the limit", hello.length);
            return Ok(SnapshotAnswer::Failed(reason));
        }
    };
    let Some(bytes) = collect(stream, length).await? else {
        return Ok(SnapshotAnswer::Damaged);
    };
    if crc32c::crc32c(&bytes) != hello.crc {
        return Ok(SnapshotAnswer::Damaged);
    }
    // To openraft a snapshot that cannot be installed is a broken disk: look first.
    let state = bytes.clone();
    let checked = work.run(move || Machine::restore(&state).map(drop).map_err(io::Error::other));
    if let Err(error) = checked.await {
        return Ok(SnapshotAnswer::Failed(error.to_string()));
    }
    let snapshot = Snapshot { meta, snapshot: bytes };
    match raft.install_full_snapshot(Vote::from(hello.vote), snapshot).await {
        Ok(response) => Ok(SnapshotAnswer::Installed((&response.vote).into())),
        Err(fatal) => Ok(SnapshotAnswer::Failed(fatal.to_string())),
    }
}

/// All chunks, if they are together exactly `length` bytes. Memory grows with what has arrived.
async fn collect(stream: &mut MessageStream, length: usize) -> Result<Option<Bytes>, CallError> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = stream.recv().await? {
        if bytes.len() + chunk.len() > length {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok((bytes.len() == length).then(|| bytes.freeze()))
}

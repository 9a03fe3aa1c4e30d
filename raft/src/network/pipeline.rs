//! Records to one follower: requests go out while answers come in, both in order, over one stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::stream::{self, BoxStream, Stream, StreamExt};
use openraft::OptionalSend;
use swarm_net::frame;
use swarm_net::transport::{CallError, MessageReceiver, MessageSender, MessageStream};

use super::unreachable;
use crate::types::{AppendRequest, AppendResult, RpcError};
use crate::wire::{Append, AppendAnswer};

/// How long an answer may take: the follower syncs its disk before it answers.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// Sends `first` and all of `requests`; gives the answers, and ends after the first failure.
pub(super) fn run<S>(
    stream: MessageStream,
    first: AppendRequest,
    requests: S,
) -> BoxStream<'static, Result<AppendResult, RpcError>>
where
    S: Stream<Item = AppendRequest> + OptionalSend + Unpin + 'static,
{
    let (sender, receiver) = stream.split();
    let sent = Arc::new(AtomicU64::new(0));
    let sending = stream::once(send_all(sender, first, requests, sent.clone()));
    let failures = sending.filter_map(|ended| async move { ended.err().map(Err) });
    let answers = Answers { receiver, sent, answered: 0 };
    let answers = stream::unfold(Some(answers), |state| async move {
        let mut answers = state?;
        match answers.next().await {
            Ok(None) => None,
            Ok(Some(answer)) => Some((Ok(answer), Some(answers))),
            Err(error) => Some((Err(error), None)),
        }
    });
    let both = stream::select(Box::pin(failures), Box::pin(answers));
    both.map(|item| item.map_err(|error| unreachable(&error))).boxed()
}

async fn send_all(
    mut sender: MessageSender,
    first: AppendRequest,
    mut requests: impl Stream<Item = AppendRequest> + Unpin,
    sent: Arc<AtomicU64>,
) -> Result<(), CallError> {
    let mut next = Some(first);
    while let Some(request) = next {
        let message = frame::encode(&Append::from(&request));
        drop(request);
        sent.fetch_add(1, Ordering::Relaxed);
        sender.send(message).await?;
        next = requests.next().await;
    }
    sender.finish();
    Ok(())
}

/// The answers of one follower.
struct Answers {
    receiver: MessageReceiver,
    sent: Arc<AtomicU64>,
    answered: u64,
}

impl Answers {
    /// The next answer; `None` when everything is answered and the follower has finished.
    async fn next(&mut self) -> Result<Option<AppendResult>, CallError> {
        loop {
            let sent_before = self.sent.load(Ordering::Relaxed);
            match tokio::time::timeout(ANSWER_DEADLINE, self.receiver.recv()).await {
                Ok(Ok(Some(message))) => {
                    self.answered += 1;
                    let answer: AppendAnswer = frame::decode(&message)?;
                    return Ok(Some(answer.into()));
                }
                Ok(Ok(None)) if self.answered < self.sent.load(Ordering::Relaxed) => {
                    return Err(CallError::Closed);
                }
                Ok(Ok(None)) => return Ok(None),
                Ok(Err(error)) => return Err(error),
                // Nothing was under way when the wait began: an idle stream may be silent.
                Err(_elapsed) if sent_before == self.answered => {}
                Err(_elapsed) => return Err(CallError::DeadlineExceeded),
            }
        }
    }
}

//! `/v1/services/{ref}/forward`, `/v1/tasks/{ref}/forward`: a connection to a port of a running task.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::{sleep, timeout};

use swarm_model::node::Reachability;
use swarm_model::task::Task;
use swarm_model::view::View;
use swarm_net::transport::MessageStream;

use super::backend::Reach;
use super::consistency::Read;
use super::errors::ApiError;
use super::request::Params;
use super::session::{self, Client};
use super::state::Api;
use super::types::ErrorBody;
use super::{resolve, tasks};
use crate::chunk::Chunk;
use crate::reach::forward::ForwardAsk;

/// Tasks of a service that are tried for one connection.
const TRIES_MAX: usize = 5;
/// How long a task's node may take to connect, or to say that the task does not accept.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a task is tried alone: then the next one is, too, and who accepts first gets the connection.
const HEAD_START: Duration = Duration::from_secs(1);

fn port(params: &Params) -> Result<u16, ApiError> {
    let port = params.allow(&["port", "stale"])?.text("port").and_then(|text| text.parse().ok());
    port.filter(|port| *port > 0)
        .ok_or_else(|| ApiError::invalid("parameter port: name one, 1 to 65535"))
}

/// Connects to a port of a ready task of a service: of each in turn.
///
/// Needs `Connection: Upgrade` and `Upgrade: swarm-chunks`; see docs/api.md for what follows the answer.
#[utoipa::path(post, path = "/v1/services/{ref}/forward", tag = "services",
    params(("ref" = String, Path, description = "id, name, or unique prefix of the id"),
        ("port" = u16, Query, description = "that the task listens on"),
        ("stale" = Option<bool>, Query)),
    responses((status = 101, description = "the connection carries chunks from now on"),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn to_service(
    State(api): State<Api>,
    Path(reference): Path<String>,
    params: Params,
    read: Read,
    request: Request,
) -> Result<Response, ApiError> {
    let port = port(&params)?;
    let client = Client::of(&mut request.into_parts().0, &api)?;
    let service = read.found(resolve::service(&read.view, &reference))?;
    let takes = |task: &&Arc<Task>| task.status.is_ready();
    let mut running: Vec<_> = read.view.tasks_of(service.id).filter(takes).collect();
    if running.is_empty() {
        let name = &service.spec.name;
        let hint = format!("`swarm service ps {name}` says why");
        return Err(ApiError::conflict(format!("service {name} has no ready task: {hint}")));
    }
    running.sort_by_key(|task| task.slot);
    let turn = api.turn.fetch_add(1, Ordering::Relaxed) % running.len();
    running.rotate_left(turn);
    let node = |task: &Task| task.node.and_then(|node| read.view.nodes.get(&node));
    running.sort_by_key(|task| {
        node(task).is_none_or(|node| node.status.reachability == Reachability::Down)
    });
    let tries = running.into_iter().take(TRIES_MAX);
    let tries = tries.map(|task| connect(&api, &read.view, task, port));
    match first(tries).await {
        Ok((stream, place)) => Ok(client.converse(&api, stream, place)),
        Err(refusals) => {
            let refusals: Vec<_> = refusals.into_iter().map(|error| error.message).collect();
            Err(ApiError::unavailable(refusals.join("; ")))
        }
    }
}

/// What comes of the first try that succeeds: each has a head start, and those that fail none. Else why all
/// of them failed.
async fn first<T, E>(
    mut tries: impl Iterator<Item = impl Future<Output = Result<T, E>>>,
) -> Result<T, Vec<E>> {
    let (mut going, mut failures) = (FuturesUnordered::new(), Vec::new());
    loop {
        let next = tries.next();
        let is_last = next.is_none();
        going.extend(next);
        let head_start = async {
            if is_last {
                pending::<()>().await;
            }
            sleep(HEAD_START).await;
        };
        tokio::select! {
            tried = going.next() => match tried {
                Some(Ok(found)) => return Ok(found),
                Some(Err(failure)) => failures.push(failure),
                None => return Err(failures),
            },
            () = head_start => {}
        }
    }
}

/// Connects to a port of a running task.
///
/// Needs `Connection: Upgrade` and `Upgrade: swarm-chunks`; see docs/api.md for what follows the answer.
#[utoipa::path(post, path = "/v1/tasks/{ref}/forward", tag = "tasks",
    params(("ref" = String, Path,
            description = "id, unique prefix of the id, or name like web.1"),
        ("port" = u16, Query, description = "that the task listens on"),
        ("stale" = Option<bool>, Query)),
    responses((status = 101, description = "the connection carries chunks from now on"),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn to_task(
    State(api): State<Api>,
    Path(reference): Path<String>,
    params: Params,
    read: Read,
    request: Request,
) -> Result<Response, ApiError> {
    let port = port(&params)?;
    let client = Client::of(&mut request.into_parts().0, &api)?;
    let task = read.found(resolve::task(&read.view, &reference))?;
    let task = session::running(&api, &read.view, task)?;
    let (stream, place) = connect(&api, &read.view, task, port).await?;
    Ok(client.converse(&api, stream, place))
}

/// Waits until the task has accepted.
async fn connect(
    api: &Api,
    view: &View,
    task: &Task,
    port: u16,
) -> Result<(MessageStream, String), ApiError> {
    let name = tasks::name(view, task);
    let silent = |_late| ApiError::unavailable(format!("{name}: its node does not answer"));
    timeout(PATIENCE, accepted(api, view, task, port)).await.map_err(silent)?
}

async fn accepted(
    api: &Api,
    view: &View,
    task: &Task,
    port: u16,
) -> Result<(MessageStream, String), ApiError> {
    let ask = Reach::Forward(ForwardAsk { task: task.id, port });
    let (mut stream, place) = session::reach(api, view, task, ask).await?;
    let said = match stream.recv().await {
        Ok(Some(message)) => Chunk::of_message(message).map_err(|error| error.to_string()),
        Ok(None) => Err("its node ended the call".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    let name = tasks::name(view, task);
    match said {
        Ok(Chunk::Ping) => Ok((stream, place)),
        Ok(Chunk::Ended(ended)) => Err(ApiError::unavailable(ended.message)),
        Ok(_) => Err(ApiError::unavailable(format!("{name}: its node answers something else"))),
        Err(why) => Err(ApiError::unavailable(format!("{name}: {why}"))),
    }
}

#[cfg(test)]
mod tests {
    use futures::future::{BoxFuture, FutureExt as _};
    use tokio::time::Instant;

    use super::*;

    type Try = BoxFuture<'static, Result<&'static str, &'static str>>;

    fn silent() -> Try {
        async {
            sleep(PATIENCE).await;
            Err("silent")
        }
        .boxed()
    }

    fn at_once(what: Result<&'static str, &'static str>) -> Try {
        async move { what }.boxed()
    }

    #[tokio::test(start_paused = true)]
    async fn nodes_that_are_silent_do_not_use_up_the_turn_of_those_that_answer() {
        let begun = Instant::now();
        let all = [silent(), silent(), at_once(Err("refused")), at_once(Ok("fine"))];
        assert_eq!(first(all.into_iter()).await, Ok("fine"));
        assert_eq!(begun.elapsed(), 2 * HEAD_START);
        let begun = Instant::now();
        let all = [silent(), at_once(Err("refused")), silent()];
        assert_eq!(first(all.into_iter()).await, Err(vec!["refused", "silent", "silent"]));
        assert_eq!(begun.elapsed(), HEAD_START + PATIENCE);
        let nothing: [Try; 0] = [];
        assert_eq!(first(nothing.into_iter()).await, Err(vec![]));
    }
}

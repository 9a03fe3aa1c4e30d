//! Serves the API on its Unix socket: connections, their limits, and who is at the other end.
//!
//! HTTP/1.1 with keep-alive over hyper, one task a connection. What is asked is decided by the routes.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use swarm_model::command::Actor;
use swarm_model::id::NodeId;
use swarm_net::task::TaskGroup;

use super::backend::Backend;
use super::routes;
use super::socket::{self, BindError};
use super::state::Api;

/// Connections at a time; more wait in the system's queue.
const CONNECTIONS_MAX: usize = 1024;
/// A connection whose next request head is not complete after so long is closed.
const HEADER_PATIENCE: Duration = Duration::from_secs(60);
/// Pause when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The API's server: bound, not serving yet.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
}

impl Server {
    /// Listens on the socket file at `path` (mode 0660). Blocking for a moment; needs a tokio runtime.
    ///
    /// # Errors
    /// When another daemon listens there, something else is in the way, or the system refuses.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        Ok(Self { listener: socket::bind(path)?, path: path.to_owned() })
    }

    /// Serves until `tasks` is shut down: then requests that run are finished, streams end, and the
    /// socket file is removed.
    pub async fn run(self, backend: Arc<dyn Backend>, tasks: TaskGroup) {
        let ending = tasks.token();
        let node = backend.facts().node_id;
        let api = Api::new(backend.clone(), tasks.clone());
        let stop = ending.clone();
        let samples = api.disk_writes.clone().run(backend);
        tasks.spawn("disk writes", async move {
            let _stopped = stop.run_until_cancelled(samples).await;
        });
        let router = routes::router(api);
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let accept = async {
            while let Ok(slot) = slots.clone().acquire_owned().await {
                match self.listener.accept().await {
                    Ok((stream, _unnamed)) => {
                        let connection = serve(stream, node, router.clone(), tasks.clone(), slot);
                        tasks.spawn("api connection", connection);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept an api connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        ending.run_until_cancelled(accept).await;
        // Refused is better than never answered; a stale file is replaced at the next start anyway.
        if let Err(error) = tokio::fs::remove_file(&self.path).await {
            tracing::debug!(%error, "the api socket's file was not removed");
        }
    }
}

/// Serves one connection; `slot` counts it.
async fn serve(
    stream: UnixStream,
    node: NodeId,
    router: Router,
    tasks: TaskGroup,
    slot: OwnedSemaphorePermit,
) {
    let caller = match stream.peer_cred() {
        Ok(peer) => Actor { node, uid: Some(peer.uid()) },
        Err(error) => {
            tracing::warn!(%error, "an api connection has no credentials");
            return;
        }
    };
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(caller.clone());
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_PATIENCE)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ending = tasks.token();
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = ending.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "an api connection broke");
    }
    drop(slot);
}

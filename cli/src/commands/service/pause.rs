//! `swarm service pause` and `swarm service resume`.

use clap::Args;
use swarm_model::update::UpdateKind;
use swarm_node::api::types::{ServiceEntry, Written};

use super::{Expect, WaitOptions, path, wait_for_update};
use crate::args::Global;
use crate::client::Client;
use crate::commands::guard::Guard;
use crate::exit::Failure;
use crate::output;

/// Stop a service's update where it is
///
/// What was begun is finished, nothing more is replaced. `swarm service resume` lets it go on, `swarm
/// service rollback` turns it back, another `swarm service update` takes its place.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  swarm service pause web")]
pub(crate) struct Pause {
    /// Name or id
    service: String,
    #[command(flatten)]
    guard: Guard,
}

/// Let a paused update go on and wait until it is over
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  swarm service resume web")]
pub(crate) struct Resume {
    /// Name or id
    service: String,
    #[command(flatten)]
    wait: WaitOptions,
    #[command(flatten)]
    guard: Guard,
}

async fn write(
    client: &Client,
    service: &str,
    paused: &str,
    guard: &Guard,
) -> Result<Written, Failure> {
    let target = format!("{}/pause", path(service));
    let written = client.post(&target, &guard.query(&[("paused", paused)]), &()).await?;
    output::line(service)?;
    Ok(written)
}

impl Pause {
    /// Stops the update.
    ///
    /// # Errors
    /// When there is none that goes on.
    pub(super) async fn run(self, client: &Client) -> Result<(), Failure> {
        write(client, &self.service, "true", &self.guard).await.map(drop)
    }
}

impl Resume {
    /// Lets the update go on, and waits.
    ///
    /// # Errors
    /// When there is none that is paused, or it fails.
    pub(super) async fn run(self, client: &Client, global: &Global) -> Result<(), Failure> {
        let before: ServiceEntry = client.get(&path(&self.service), &[]).await?;
        let update = before.service.update.as_ref();
        let back = update.is_some_and(|update| update.kind == UpdateKind::Rollback);
        let written = write(client, &self.service, "false", &self.guard).await?;
        if self.wait.detach {
            return Ok(());
        }
        wait_for_update(client, global, &written.id, &self.wait, Expect::resumed(back)).await
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::fake_node::{FakeNode, service, written};
    use crate::exit::Failure;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Resumes what is paused as `before`, and ends as `after`.
    async fn resumed(before: &'static str, after: &'static str) -> Result<(), Failure> {
        let goes_on = AtomicBool::new(false);
        let node = FakeNode::new(move |request| match request {
            "POST /v1/services/web/pause?paused=false" => {
                goes_on.store(true, Ordering::Relaxed);
                written(11)
            }
            _ if request.starts_with("GET /v1/tasks") => serde_json::json!([]),
            _ if goes_on.load(Ordering::Relaxed) => service(after, "Completed", "2 of 3 failed"),
            _ => service(before, "Paused", "1 of 3 failed"),
        });
        node.run("service resume --monitor 0s --timeout 10s web").await
    }

    #[tokio::test]
    async fn an_update_that_is_resumed_and_turns_back_failed() {
        assert_eq!(resumed("Update", "Update").await, Ok(()));
        let failure = resumed("Update", "Rollback").await.expect_err("it turned back");
        assert_eq!(failure.exit.code(), 1);
        assert!(failure.message.starts_with("service web was rolled back: 2 of 3"), "{failure}");
        assert_eq!(resumed("Rollback", "Rollback").await, Ok(()), "as was asked");
    }
}

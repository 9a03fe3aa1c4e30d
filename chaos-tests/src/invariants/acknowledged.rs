//! D: no acknowledged write is lost, and no number appears that was never written.

use std::time::Duration;

use anyhow::{Result, bail};
use swarm_model::config::Config;

use crate::real::{Cluster, wait_until};
use crate::register::{Registers, number};

const WITHIN: Duration = Duration::from_secs(30);

/// Reads every register through every node and compares.
///
/// # Errors
/// What is lost, or that a node does not answer.
pub async fn acknowledged_writes_are_kept(cluster: &Cluster, registers: &Registers) -> Result<()> {
    for node in 0..cluster.len() {
        let mut client = cluster.client(node);
        let mut wrong = Vec::new();
        for register in registers.all() {
            let target = format!("/v1/configs/{}", register.name);
            let seen = wait_until(&format!("node {node} reads"), WITHIN, async || {
                match client.get::<Config>(&target).await {
                    Ok(config) => Some(number(&config).map(Some)),
                    Err(error) if error.code() == "not_found" => Some(Ok(None)),
                    Err(_unavailable) => None,
                }
            })
            .await??;
            wrong.extend(register.check(seen, register.acknowledged()).err());
        }
        if !wrong.is_empty() {
            bail!("acknowledged writes are lost at node {node}: {}", wrong.join("; "));
        }
    }
    Ok(())
}

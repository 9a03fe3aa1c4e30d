//! Z: the tasks of a removed service are gone soon.

use std::time::Duration;

use anyhow::Result;

use super::slots::programs;
use crate::real::{Cluster, wait_until};

const WITHIN: Duration = Duration::from_secs(30);

/// Waits until no program of the service is left.
///
/// # Errors
/// When some are.
pub async fn removed_services_are_gone(cluster: &Cluster, service: &str) -> Result<()> {
    wait_until(&format!("the programs of {service} end"), WITHIN, async || {
        programs(cluster, service).ok().filter(Vec::is_empty).map(drop)
    })
    .await
}

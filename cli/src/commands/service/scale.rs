//! `swarm service scale`.

use std::collections::BTreeSet;

use clap::Args;
use swarm_model::service::ServiceSpec;
use swarm_node::api::types::ServiceEntry;

use super::update::{set_replicas, write};
use super::{WaitOptions, path};
use crate::args::Global;
use crate::client::Client;
use crate::commands::guard::Guard;
use crate::exit::{Failure, for_each};

/// Set the number of replicas
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  swarm service scale web=5\n  swarm service scale -d web=0 api=2"
)]
pub(crate) struct Scale {
    #[command(flatten)]
    options: ScaleOptions,
    #[command(flatten)]
    wait: WaitOptions,
    #[command(flatten)]
    guard: Guard,
}

// Which services get how many tasks.
#[derive(Debug, Args)]
pub(crate) struct ScaleOptions {
    /// Services and their numbers of replicas
    #[arg(required = true, value_name = "SERVICE=N", value_parser = target)]
    targets: Vec<(String, u32)>,
}

impl ScaleOptions {
    /// Each service once, with its number of replicas.
    ///
    /// # Errors
    /// When a name is given twice.
    pub(crate) fn targets(self) -> Result<Vec<(String, u32)>, Failure> {
        let mut seen = BTreeSet::new();
        match self.targets.iter().find(|(service, _)| !seen.insert(service)) {
            Some((service, _)) => {
                Err(Failure::usage(format!("{service} is given twice: say one number")))
            }
            None => Ok(self.targets),
        }
    }
}

fn target(text: &str) -> Result<(String, u32), String> {
    let hint = || format!("\"{text}\" is not SERVICE=N, like web=3");
    let (service, number) = text.rsplit_once('=').ok_or_else(hint)?;
    let number = number.parse().map_err(|_nan| hint())?;
    if service.is_empty() { Err(hint()) } else { Ok((service.to_owned(), number)) }
}

impl Scale {
    /// Scales each service, one after the other, and waits until its tasks run.
    ///
    /// # Errors
    /// As the first service that failed; the others are scaled.
    pub(super) async fn run(self, client: &Client, global: &Global) -> Result<(), Failure> {
        let targets = self.options.targets()?;
        let services: Vec<_> = targets.iter().map(|(service, _)| service.clone()).collect();
        let mut numbers = targets.iter().map(|(_, number)| *number);
        let mut guard = self.guard;
        for_each(&services, async |service| {
            let number = numbers.next().unwrap_or_default();
            let (entry, spec) = scaled(client, &service, number).await?;
            write(client, global, &entry, &spec, &self.wait, &mut guard).await
        })
        .await
    }
}

/// A service as it is, and with so many tasks.
///
/// # Errors
/// When there is none, or it is a global one or a job.
pub(crate) async fn scaled(
    client: &Client,
    service: &str,
    number: u32,
) -> Result<(ServiceEntry, ServiceSpec), Failure> {
    let entry: ServiceEntry = client.get(&path(service), &[]).await?;
    let mut spec = (*entry.service.spec).clone();
    if spec.mode.is_job() {
        return Err(Failure::usage(format!(
            "service {service} is a job: `swarm service update --replicas {number} {service}` sets \
             how many have to end well in its next run"
        )));
    }
    set_replicas(&mut spec, number)?;
    spec.validate().map_err(|error| Failure::usage(error.to_string()))?;
    Ok((entry, spec))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::fake_node::{FakeNode, service, written};
    use crate::exit::Exit;

    #[test]
    fn targets_are_service_and_number() {
        assert_eq!(target("web=3"), Ok(("web".to_owned(), 3)));
        for text in ["web", "web=", "=3", "web=-1", "web=x"] {
            assert!(target(text).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_name_that_is_given_twice_is_refused_before_anything_is_changed() {
        let node = FakeNode::new(|_request| service("Update", "Completed", ""));
        for verb in ["service scale --detach", "plan service scale"] {
            let line = format!("{verb} web=3 web=5 api=2");
            let failure = node.run(&line).await.expect_err("which is it?");
            let message = "web is given twice: say one number".to_owned();
            assert_eq!(failure, Failure::new(Exit::Usage, message));
            assert_eq!(node.changes(), [""; 0]);
        }
    }

    #[tokio::test]
    async fn the_next_one_builds_on_a_change_whose_end_was_no_good() {
        let node = FakeNode::new(|request| match request.split_once(' ') {
            Some(("POST", _)) => written(11),
            Some((_, tasks)) if tasks.starts_with("/v1/tasks") => serde_json::json!([]),
            _ => service("Update", "Paused", "1 of 3 failed"),
        });
        let failure = node.run("service scale --if-revision 5 web=1 api=2").await;
        assert_eq!(failure.expect_err("both are paused").exit, Exit::Failed);
        let target = format!("POST /v1/services/{}/update?version=9&if-revision=", "0".repeat(25));
        assert_eq!(node.changes(), [format!("{target}5"), format!("{target}11")]);
    }
}

//! `swarm plan`: what a change would do, told by the scheduler itself, and how to make just that change.
//!
//! Takes the options of the commands that it stands for, and changes nothing.

mod apply;
pub(crate) mod places;
mod show;

use clap::{Args, Subcommand};
use serde_json::Value;
use swarm_model::meta::Version;
use swarm_node::api::types::{Forecast, PlanRequest, Planned};

use super::node::update::NodeChanges;
use super::service::create::CreateOptions;
use super::service::rm::RmOptions;
use super::service::rollback::RollbackOptions;
use super::service::scale::{ScaleOptions, scaled};
use super::service::update::ChangeOptions;
use super::stale_query;
use crate::client::Client;
use crate::exit::Failure;
use crate::output::format::Format;
use crate::output::{inspect, line};

/// Show what a change would do, without making it
///
/// Runs the real decisions on a copy of the cluster's state: which tasks would start and where, be
/// replaced in which batches, move, stop, or wait and why. Tasks are taken to start at once and to run
/// for ever. The last line is the command that makes the change as long as no spec, node or config
/// changed meanwhile. Ends with exit code 1 when something would not run.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    swarm plan service update --reserve-memory 2g web\n  \
    swarm plan node update --availability drain NODE")]
pub(crate) enum Plan {
    #[command(subcommand)]
    Service(Service),
    #[command(subcommand)]
    Node(Node),
}

/// Changes of services
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  swarm plan service scale web=20")]
pub(crate) enum Service {
    /// What `swarm service create` would do
    #[command(after_help = "Example:\n  \
        swarm plan service create --name web --replicas 3 --runtime process -- /usr/bin/web")]
    Create(Box<Of<CreateOptions>>),
    /// What `swarm service update` would do
    #[command(after_help = "Example:\n  swarm plan service update --reserve-cpu 2 web")]
    Update(Box<Of<ChangeOptions>>),
    /// What `swarm service scale` would do
    #[command(after_help = "Example:\n  swarm plan service scale web=20 api=3")]
    Scale(Of<ScaleOptions>),
    /// What `swarm service rollback` would do
    #[command(after_help = "Example:\n  swarm plan service rollback web")]
    Rollback(Of<RollbackOptions>),
    /// What `swarm service rm` would do
    #[command(visible_alias = "remove", after_help = "Example:\n  swarm plan service rm web")]
    Rm(Of<RmOptions>),
}

/// Changes of nodes
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  swarm plan node update --availability drain NODE")]
pub(crate) enum Node {
    /// What `swarm node update` would do
    #[command(after_help = "Examples:\n  \
        swarm plan node update --availability drain NODE\n  \
        swarm plan node update --label-add zone=b NODE")]
    Update(Of<NodeChanges>),
}

// The options of the command that a plan stands for, and its own.
#[derive(Debug, Args)]
pub(crate) struct Of<T: Args> {
    #[command(flatten)]
    options: T,
    #[command(flatten)]
    show: PlanOptions,
}

// How a plan is made and shown.
#[derive(Debug, Clone, Args)]
struct PlanOptions {
    /// table, json (one line) or a template like '{{.Revision}} {{.LastsMs}}'
    #[arg(long, value_name = "FORMAT", default_value = "table", hide_default_value = true)]
    format: Format,
    /// From this node's own copy at once, without asking the leader
    #[arg(long)]
    stale: bool,
}

impl Plan {
    /// Shows what would become of the change.
    ///
    /// # Errors
    /// What would be refused, or that something would not run.
    pub(crate) async fn run(self, client: &Client) -> Result<(), Failure> {
        let (changes, show) = match self {
            Self::Service(Service::Create(of)) => {
                let Of { options, show } = *of;
                let spec = Box::new(options.declared(client).await?);
                (vec![Planned::CreateService { spec }], show)
            }
            Self::Service(Service::Update(of)) => {
                let (entry, spec) = of.options.declared(client).await?;
                let (service, version) = (entry.service.id.to_string(), entry.service.meta.version);
                let (version, spec) = (Some(version), Box::new(spec));
                (vec![Planned::UpdateService { service, version, spec }], of.show)
            }
            Self::Service(Service::Scale(Of { options, show })) => {
                let mut changes = Vec::new();
                for (service, number) in options.targets()? {
                    let (entry, spec) = scaled(client, &service, number).await?;
                    let (service, spec) = (entry.service.id.to_string(), Box::new(spec));
                    changes.push(Planned::UpdateService { service, version: None, spec });
                }
                (changes, show)
            }
            Self::Service(Service::Rollback(Of { options, show })) => {
                let to = options.to.map(Version);
                (vec![Planned::RollbackService { service: options.service, to }], show)
            }
            Self::Service(Service::Rm(Of { options, show })) => {
                let each = |service| Planned::RemoveService { service };
                (options.services.into_iter().map(each).collect(), show)
            }
            Self::Node(Node::Update(Of { options, show })) => {
                let (node, update) = (options.node.clone(), options.declared()?);
                (vec![Planned::UpdateNode { node, update }], show)
            }
        };
        show.ask(client, PlanRequest { changes }).await
    }
}

impl PlanOptions {
    async fn ask(self, client: &Client, request: PlanRequest) -> Result<(), Failure> {
        let query = stale_query(self.stale);
        let mut object: Value = client.ask("/v1/plan", query, &request).await?;
        let forecast: Forecast = serde_json::from_value(object.clone()).map_err(|error| {
            Failure::failed(format!("the node's answer is not understood: {error}"))
        })?;
        let name = request.changes.iter().find_map(|change| match change {
            Planned::CreateService { spec } => Some(spec.name.as_str()),
            Planned::UpdateService { .. }
            | Planned::RollbackService { .. }
            | Planned::RemoveService { .. }
            | Planned::UpdateNode { .. } => None,
        });
        let apply = apply::command(&apply::own_words(), forecast.revision, name);
        match &self.format {
            Format::Table => line(&show::text(&forecast, &apply))?,
            Format::Json | Format::Template(_) | Format::TemplateTable(_) => {
                if let Some(fields) = object.as_object_mut() {
                    fields.insert("Apply".to_owned(), Value::String(apply));
                }
                inspect::one(&object, &self.format)?;
            }
        }
        if forecast.is_well() { Ok(()) } else { Err(Failure::failed(show::verdict(&forecast))) }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::args::Cli;

    #[test]
    fn a_plan_takes_the_options_of_its_command_but_does_not_wait() {
        for (line, fits) in [
            ("service create --name web --priority 60 --env A=1 --runtime process -- x -d", true),
            ("service create --runtime process --format json --stale -- x", true),
            ("service create --mode global-job --schedule @daily --runtime process -- x", true),
            ("service update --max-concurrent 2 --job-deadline 1m batch", true),
            ("service run batch", false),
            ("service update --update-parallelism 4 --args '-x' web", true),
            ("service scale web=3 api=2", true),
            ("service rollback --to 7 web", true),
            ("service rm web api", true),
            ("node update --availability drain --deadline 5m self", true),
            ("service create --detach --runtime process -- x", false),
            ("service update --timeout 5s web", false),
            ("service scale web=3 --if-revision 4", false),
            ("service pause web", false),
            ("service promote web", false),
            ("node rm self", false),
        ] {
            let given = Cli::try_parse_from(format!("swarm plan {line}").split(' '));
            assert_eq!(given.is_ok(), fits, "{line}: {:?}", given.err());
        }
    }
}

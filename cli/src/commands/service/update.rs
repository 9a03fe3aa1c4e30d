//! `swarm service update`.

use clap::{Arg, Args};
use swarm_model::runtime::RuntimeSpec;
use swarm_model::service::{Priority, ServiceMode, ServiceSpec};
use swarm_model::update::UpdateState;
use swarm_node::api::types::{ServiceEntry, Written};

use super::create::priority;
use super::job_options::{self, JobOptions};
use super::options::TemplateOptions;
use super::probe_options::{NoProbes, ProbeOptions};
use super::update_lists::UpdateLists;
use super::update_options::UpdateOptions;
use super::{Expect, WaitOptions, path, resolve, wait_for_update};
use crate::args::Global;
use crate::client::Client;
use crate::commands::guard::Guard;
use crate::exit::Failure;
use crate::output;
use crate::parse::words;

/// Change a service and wait until the change runs
///
/// Tasks are replaced when the change concerns them, by the rules of --update-parallelism and its like:
/// one after the other, each new one first, and each has to run for --update-monitor before the next one.
/// When new ones fail the service goes back to what it was, or stops where it is, and this fails with
/// exit code 1 and says why. A new version of a job starts a new run, which is waited for; other changes
/// count from its next run on. Name and mode cannot change. When somebody else changes the service at the
/// same moment, this fails with exit code 4 and changes nothing.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm service update --env-add MODE=slow --env-rm OLD web\n  \
    swarm service update web -- /usr/bin/web --port 81\n  \
    swarm service update --args '--port 81' web\n  \
    swarm service update --force web        # replace all tasks")]
pub(crate) struct Update {
    #[command(flatten)]
    options: ChangeOptions,
    #[command(flatten)]
    wait: WaitOptions,
    #[command(flatten)]
    guard: Guard,
}

// What is to be changed of a service.
#[derive(Debug, Args)]
#[command(mut_args(keeps_value))]
pub(crate) struct ChangeOptions {
    /// Name or id
    service: String,
    /// Number of tasks
    #[arg(long, value_name = "N")]
    replicas: Option<u32>,
    /// How important its tasks are, 0 to 100
    #[arg(long, value_name = "N", value_parser = priority, help_heading = "Placement")]
    priority: Option<Priority>,
    /// Replace all tasks though nothing changed for them
    #[arg(long)]
    force: bool,
    /// New arguments of the same program, split as a shell would
    #[arg(long, value_name = "ARGS", value_parser = arguments, conflicts_with = "command")]
    #[arg(allow_hyphen_values = true, help_heading = "Process")]
    args: Option<Arguments>,
    #[command(flatten)]
    lists: UpdateLists,
    #[command(flatten)]
    template: TemplateOptions,
    #[command(flatten)]
    probes: ProbeOptions,
    #[command(flatten)]
    no_probes: NoProbes,
    #[command(flatten)]
    updates: UpdateOptions,
    #[command(flatten)]
    jobs: JobOptions,
    /// New program and arguments, behind --
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

/// An option of the template: here an absent one keeps the value, so `create`'s default is no default.
fn keeps_value(option: Arg) -> Arg {
    let help = option.get_help().map(ToString::to_string).unwrap_or_default();
    match help.split_once(" [default: ") {
        Some((text, _)) => option.help(text.to_owned()),
        None => option,
    }
}

/// Words of one option.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Arguments(Vec<String>);

fn arguments(text: &str) -> Result<Arguments, String> {
    words::split(text).map(Arguments)
}

impl Update {
    /// Changes the service, shows what was named and waits until the change runs.
    ///
    /// # Errors
    /// A wrong option, what the node refused, or the time-out.
    pub(super) async fn run(self, client: &Client, global: &Global) -> Result<(), Failure> {
        let (entry, spec) = self.options.declared(client).await?;
        let mut guard = self.guard;
        write(client, global, &entry, &spec, &self.wait, &mut guard).await
    }
}

impl ChangeOptions {
    /// The service as it is, and as it is to be.
    ///
    /// # Errors
    /// A wrong option, or nothing to change.
    pub(crate) async fn declared(
        self,
        client: &Client,
    ) -> Result<(ServiceEntry, ServiceSpec), Failure> {
        let entry: ServiceEntry = client.get(&path(&self.service), &[]).await?;
        let old = &entry.service.spec;
        let configs = resolve(client, &self.lists.config_add).await?;
        let reference = self.service.clone();
        let mut spec = self.changed(old)?;
        let RuntimeSpec::Process(process) = &mut spec.task_template.runtime;
        process.configs.retain(|old| configs.iter().all(|new| new.target != old.target));
        process.configs.extend(configs);
        // The same once more lets a paused update go on.
        let paused = entry.service.update.as_ref().is_some_and(UpdateState::is_open);
        if spec == **old && !paused {
            return Err(Failure::usage(format!(
                "nothing to change: service {reference} is like that already; --force replaces \
                 its tasks, `swarm service update --help` shows all options"
            )));
        }
        Ok((entry, spec))
    }

    /// The service's spec with the options put in.
    fn changed(self, old: &ServiceSpec) -> Result<ServiceSpec, Failure> {
        let mut spec = old.clone();
        if let Some(replicas) = self.replicas {
            set_replicas(&mut spec, replicas)?;
        }
        spec.priority = self.priority.unwrap_or(spec.priority);
        spec.task_template.force_update += u64::from(self.force);
        let restart = self.template.restart_condition();
        self.template.apply(&mut spec.task_template);
        self.no_probes.apply(&mut spec.task_template);
        self.probes.apply(&mut spec.task_template)?;
        self.updates.apply(&mut spec);
        self.jobs.apply(&mut spec)?;
        job_options::check(&spec, restart)?;
        self.lists.apply(&mut spec)?;
        let RuntimeSpec::Process(process) = &mut spec.task_template.runtime;
        if let Some(Arguments(arguments)) = self.args {
            process.command.truncate(1);
            process.command.extend(arguments);
        }
        if !self.command.is_empty() {
            process.command = self.command;
        }
        spec.validate().map_err(|error| Failure::usage(error.to_string()))?;
        Ok(spec)
    }
}

/// Sets the number of replicas of a replicated service, or of completions of the next run of a job.
///
/// # Errors
/// For a global one.
pub(super) fn set_replicas(spec: &mut ServiceSpec, number: u32) -> Result<(), Failure> {
    match &mut spec.mode {
        ServiceMode::Replicated { replicas } => {
            *replicas = number;
            Ok(())
        }
        ServiceMode::ReplicatedJob { completions, .. } => {
            *completions = number;
            Ok(())
        }
        ServiceMode::Global {} | ServiceMode::GlobalJob {} => {
            let name = &spec.name;
            let message = format!("service {name} is global: each node that fits runs one task");
            Err(Failure::usage(message))
        }
    }
}

/// Writes the new spec of `entry` if nobody changed it meanwhile, shows its name and waits. The guard
/// follows the change, whatever comes of the wait.
///
/// # Errors
/// What the node refused, or the time-out.
pub(super) async fn write(
    client: &Client,
    global: &Global,
    entry: &ServiceEntry,
    spec: &ServiceSpec,
    wait: &WaitOptions,
    guard: &mut Guard,
) -> Result<(), Failure> {
    let id = entry.service.id.to_string();
    let version = entry.service.meta.version.to_string();
    let target = format!("{}/update", path(&id));
    let query = guard.query(&[("version", &version)]);
    let written: Written = client.post(&target, &query, spec).await?;
    guard.follow(&written);
    output::line(spec.name.as_str())?;
    if wait.detach {
        written.warnings.iter().for_each(|warning| output::warning(warning));
        return Ok(());
    }
    wait_for_update(client, global, &id, wait, Expect::update(written.version)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn old() -> ServiceSpec {
        serde_json::from_value(serde_json::json!({
            "Name": "web", "Labels": {"a": "1"}, "Mode": {"Replicated": {"Replicas": 2}},
            "TaskTemplate": {
                "Runtime": {"Process": {
                    "Command": ["/bin/web", "-p", "80"], "Env": {"A": "1", "B": "2"},
                    "User": "nobody", "Groups": ["audio"]
                }},
                "Resources": {"Limits": {"MemoryBytes": 67_108_864}},
                "Placement": {"Constraints": ["node.role==worker"]}
            }
        }))
        .expect("is a spec")
    }

    fn changed(options: &[&str]) -> Result<ServiceSpec, Failure> {
        let line = ["swarm", "service", "update", "web"].iter().chain(options);
        let cli = crate::args::Cli::try_parse_from(line).expect("is a command line");
        let crate::args::Command::Service(super::super::Service::Update(update)) = cli.command
        else {
            unreachable!("the line says service update")
        };
        update.options.changed(&old())
    }

    fn process(spec: &ServiceSpec) -> &swarm_model::runtime::ProcessSpec {
        let RuntimeSpec::Process(process) = &spec.task_template.runtime;
        process
    }

    #[test]
    fn the_help_shows_no_defaults_of_create() {
        let help = |verb: &str| {
            let mut all = <crate::args::Cli as clap::CommandFactory>::command();
            let service = all.find_subcommand_mut("service").expect("is a noun");
            let verb = service.find_subcommand_mut(verb).expect("is a verb");
            verb.render_long_help().to_string()
        };
        assert!(help("create").contains("[default: SIGTERM]"));
        let help = help("update");
        assert_eq!(help.matches("[default: ").count(), 1, "{help}");
        assert!(help.contains("[default: 1s]"), "that of --monitor: {help}");
    }

    #[test]
    fn without_options_nothing_changes() {
        assert_eq!(changed(&[]), Ok(old()));
    }

    #[test]
    fn lists_are_added_to_and_removed_from() {
        let spec = changed(&[
            "--env-add",
            "C=3",
            "--env-rm",
            "A",
            "--label-add",
            "b=2",
            "--label-rm",
            "a",
            "--group-add",
            "video",
            "--group-rm",
            "audio",
            "--constraint-rm",
            "node.role==worker",
            "--constraint-add",
            "node.labels.zone!=b",
        ])
        .expect("is valid");
        let names: Vec<_> = process(&spec).env.keys().map(String::as_str).collect();
        assert_eq!(names, ["B", "C"]);
        assert_eq!(process(&spec).groups, ["video"]);
        assert_eq!(spec.labels.keys().collect::<Vec<_>>(), ["b"]);
        let constraints = &spec.task_template.placement.constraints;
        assert_eq!(constraints.len(), 1);
        assert_eq!(constraints[0].to_string(), "node.labels.zone!=b");
    }

    #[test]
    fn placement_is_changed_part_by_part() {
        let spec = changed(&[
            "--generic-resource-add",
            "licence=2",
            "--generic-resource-add",
            "port=1",
            "--placement-pref-add",
            "binpack",
            "--placement-pref-add",
            "anti-affinity=service:db:20",
            "--constraint-add",
            "node.labels.cores>=4",
            "--priority",
            "70",
        ])
        .expect("is valid");
        let generic = &spec.task_template.resources.reservations.generic;
        assert_eq!(generic.values().copied().collect::<Vec<_>>(), [2, 1]);
        assert_eq!(spec.task_template.placement.preferences.len(), 2);
        assert_eq!(spec.task_template.placement.constraints.len(), 2);
        assert_eq!(spec.priority, Priority(70));
        let back = changed(&["--generic-resource-rm", "licence"]).expect("a warning at most");
        assert_eq!(back, old());
        let failure = changed(&["--placement-pref-add", "affinity=service:web"]);
        assert_eq!(failure.expect_err("itself").exit, crate::exit::Exit::Usage);
    }

    #[test]
    fn rules_of_updates_are_changed_one_by_one() {
        let spec = changed(&["--update-parallelism", "4", "--rollback-monitor", "1s"]);
        let spec = spec.expect("is valid");
        assert_eq!((spec.update.parallelism, spec.update.monitor_ms), (4, 5000));
        assert_eq!((spec.rollback.parallelism, spec.rollback.monitor_ms), (1, 1000));
        assert_eq!(spec.task_template, old().task_template, "no task is replaced for it");
    }

    #[test]
    fn probes_are_changed_replaced_and_taken_away() {
        let probed = |options: &[&str], old: &ServiceSpec| {
            let line = [&["swarm", "service", "update"], options, &["web"]].concat();
            let cli = crate::args::Cli::try_parse_from(line).expect("parses");
            let crate::args::Command::Service(super::super::Service::Update(update)) = cli.command
            else {
                unreachable!("the line says service update")
            };
            update.options.changed(old)
        };
        let first = probed(&["--health-tcp", "80", "--drain-delay", "2s"], &old()).expect("valid");
        let faster = probed(&["--health-interval", "1s"], &first).expect("is valid");
        let probe = faster.task_template.health.as_ref().expect("is kept");
        assert_eq!((probe.interval_ms, probe.timeout_ms, probe.retries), (1000, 1000, 3));
        let other = probed(&["--health-cmd", "check me"], &faster).expect("is valid");
        let probe = other.task_template.health.as_ref().expect("is kept");
        let words = ["/bin/sh", "-c", "check me"].map(str::to_owned).to_vec();
        assert_eq!(
            (&probe.check, probe.interval_ms),
            (&swarm_model::probe::Check::Command(words), 1000)
        );
        let back = ["--no-healthcheck", "--no-readycheck", "--drain-delay", "0"];
        assert_eq!(probed(&back, &other), Ok(old()));
        let refused = probed(&["--health-retries", "2"], &old()).expect_err("there is none");
        assert_eq!(refused.exit, crate::exit::Exit::Usage);
        let both = ["swarm", "service", "update", "--no-healthcheck", "--health-tcp", "8", "web"];
        assert!(crate::args::Cli::try_parse_from(both).is_err());
    }

    #[test]
    fn args_keep_the_program_and_a_command_replaces_it() {
        let spec = changed(&["--args", "-p 81 'a b'"]).expect("is valid");
        assert_eq!(process(&spec).command, ["/bin/web", "-p", "81", "a b"]);
        let spec = changed(&["--", "/bin/other", "-x"]).expect("is valid");
        assert_eq!(process(&spec).command, ["/bin/other", "-x"]);
    }

    #[test]
    fn empty_and_zero_take_away() {
        let spec = changed(&["--user", "", "--limit-memory", "0"]).expect("is valid");
        assert_eq!(process(&spec).user, None);
        assert_eq!(spec.task_template.resources.limits.memory, None);
    }

    #[test]
    fn force_changes_the_template() {
        let spec = changed(&["--force"]).expect("is valid");
        assert_eq!(spec.task_template.force_update, 1);
    }

    #[test]
    fn options_of_jobs_are_refused_for_what_is_none() {
        for options in [["--max-concurrent", "2"], ["--job-deadline", "1s"], ["--keep-runs", "2"]] {
            let failure = changed(&options).expect_err("is no job");
            assert_eq!(failure.exit, crate::exit::Exit::Usage);
        }
    }

    #[test]
    fn invalid_results_are_usage_errors() {
        let failure = changed(&["--workdir", "relative"]).expect_err("not absolute");
        assert_eq!(failure.exit, crate::exit::Exit::Usage);
    }
}

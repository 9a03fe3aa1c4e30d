//! `swarm service create`.

use std::collections::BTreeMap;
use std::path::Path;

use clap::{Args, ValueEnum};
use swarm_model::id::RequestId;
use swarm_model::name::Name;
use swarm_model::placement::{Constraint, Placement, Preference};
use swarm_model::restart::RestartCondition;
use swarm_model::runtime::{ProcessSpec, RuntimeSpec, Signal};
use swarm_model::service::{PRIORITY_MAX, Priority, ServiceMode, ServiceSpec};
use swarm_model::task::{DEFAULT_STOP_GRACE_MS, TaskTemplate};
use swarm_node::api::types::Written;

use super::job_options::{self, JobOptions};
use super::options::TemplateOptions;
use super::probe_options::ProbeOptions;
use super::update_options::UpdateOptions;
use super::{WaitOptions, resolve, wait_until_running};
use crate::args::Global;
use crate::client::Client;
use crate::commands::guard::Guard;
use crate::exit::Failure;
use crate::output;
use crate::parse::config_mount::{self, ConfigMount};
use crate::parse::{generic, key_value};

/// What a task runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Runtime {
    /// A program of the host
    Process,
}

/// How many tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// As many as --replicas says
    Replicated,
    /// One on each node that fits
    Global,
    /// As many as --replicas says have to end well, in each run
    ReplicatedJob,
    /// One on each node that fits has to end well, in each run
    GlobalJob,
}

impl Mode {
    /// The mode with its number.
    ///
    /// # Errors
    /// When the number does not go with it.
    fn of(self, replicas: Option<u32>) -> Result<ServiceMode, Failure> {
        let replicated = replicas.unwrap_or(1);
        let (mode, word) = match self {
            Self::Replicated => return Ok(ServiceMode::Replicated { replicas: replicated }),
            Self::ReplicatedJob => {
                let (completions, max_concurrent) = (replicated, 0);
                return Ok(ServiceMode::ReplicatedJob { completions, max_concurrent });
            }
            Self::Global => (ServiceMode::Global {}, "global"),
            Self::GlobalJob => (ServiceMode::GlobalJob {}, "global-job"),
        };
        if replicas.is_some() {
            return Err(Failure::usage(format!(
                "--replicas does not go with --mode {word}: each node runs one task"
            )));
        }
        Ok(mode)
    }
}

/// Create a service and wait until it runs
///
/// Waits until every replica has been running for the time of --monitor, and says meanwhile why tasks
/// do not run. A job is waited for until its first run is complete; it fails with exit code 1 when the run
/// does. Command, environment and host name take templates: {{.Service.Name}}, {{.Task.Slot}},
/// {{.Task.ID}}, {{.Node.Hostname}}, {{.Node.ID}}, {{.Node.Labels.KEY}}. Each task finds itself in
/// SWARM_TASK_ID, SWARM_SERVICE_NAME, SWARM_TASK_SLOT and SWARM_NODE_ID, its devices in
/// SWARM_DEVICE_ and their class; of a job, its run in SWARM_TASK_RUN.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm service create --name web --replicas 3 --runtime process -- /usr/bin/web --port 80\n  \
    swarm service create --name agent --mode global --runtime process -- /bin/agent\n  \
    swarm service create --name api --health-http /healthz:8080 --runtime process -- /bin/api\n  \
    swarm service create --mode replicated-job --schedule '30 2 * * *' --timezone Europe/Berlin \\\n    \
    --runtime process -- /usr/bin/nightly\n  \
    swarm service create --mode replicated-job --replicas 20 --max-concurrent 4 \\\n    \
    --runtime process -- /usr/bin/render {{.Task.Slot}}\n  \
    swarm service create --name runner --constraint node.labels.zone==a \\\n    \
    --reserve-memory 64m --limit-memory 128m --env MODE=fast --runtime process -- /bin/runner")]
pub(crate) struct Create {
    #[command(flatten)]
    options: CreateOptions,
    #[command(flatten)]
    wait: WaitOptions,
    #[command(flatten)]
    guard: Guard,
}

// What a new service is.
#[derive(Debug, Args)]
pub(crate) struct CreateOptions {
    /// The service's name [default: made from the program's]
    #[arg(long)]
    name: Option<Name>,
    /// What a task runs as
    #[arg(long, value_enum)]
    runtime: Runtime,
    /// How many tasks
    #[arg(long, value_enum, default_value = "replicated", hide_possible_values = true)]
    #[arg(value_name = "replicated|global|replicated-job|global-job")]
    mode: Mode,
    /// Number of tasks; of a replicated-job those that have to end well [default: 1]
    #[arg(long, value_name = "N")]
    replicas: Option<u32>,
    /// How important its tasks are, 0 to 100: they may end less important ones [default: 50]
    #[arg(long, value_name = "N", value_parser = priority, help_heading = "Placement")]
    priority: Option<Priority>,
    /// Label the service; may be repeated
    #[arg(short, long = "label", value_name = "KEY=VALUE", value_parser = key_value::label)]
    labels: Vec<(String, String)>,
    /// Set an environment variable; KEY alone passes on your own; may be repeated
    #[arg(short, long = "env", value_name = "KEY[=VALUE]", help_heading = "Process")]
    envs: Vec<String>,
    /// Read environment variables from a file, KEY=VALUE a line; may be repeated
    #[arg(long = "env-file", value_name = "FILE", help_heading = "Process")]
    env_files: Vec<String>,
    /// Add a group, by name or number; may be repeated
    #[arg(long = "group", value_name = "GROUP", help_heading = "Process")]
    groups: Vec<String>,
    /// Give tasks a config as a file in $SWARM_CONFIGS_DIR; may be repeated
    #[arg(
        long = "config",
        value_name = "NAME|source=NAME,target=FILE,uid=N,gid=N,mode=0444",
        value_parser = config_mount::parse,
        help_heading = "Process"
    )]
    configs: Vec<ConfigMount>,
    /// Run only on nodes that meet a rule like ATTRIBUTE==VALUE; may be repeated
    #[arg(
        long = "constraint",
        value_name = "RULE",
        help_heading = "Placement",
        long_help = "Run only on nodes that meet a rule; may be repeated, all must hold. Rules: \
            ATTRIBUTE==VALUE, ATTRIBUTE!=VALUE, 'ATTRIBUTE in A,B', and with a number \
            'ATTRIBUTE>N' (<, >=, <=). Attributes: node.id, node.hostname, node.role, node.ip, \
            node.platform.os, node.platform.arch, node.labels.KEY, engine.labels.KEY"
    )]
    constraints: Vec<Constraint>,
    /// What to strive for: spread=ATTRIBUTE, binpack, affinity=…; may be repeated
    #[arg(
        long = "placement-pref",
        value_name = "PREFERENCE",
        help_heading = "Placement",
        long_help = "What to strive for among the nodes that fit; may be repeated, the first weighs \
            most. spread=ATTRIBUTE: evenly over its values. binpack: on few nodes, instead of evenly \
            over all. affinity=service:NAME:WEIGHT: beside tasks of that service. \
            affinity=RULE:WEIGHT: on nodes that meet a rule as of --constraint. anti-affinity=…: the \
            opposite. Weights go from 1 to 100 (50)"
    )]
    preferences: Vec<Preference>,
    /// Set aside so much of what nodes offer, like licence=1; may be repeated
    #[arg(
        long = "generic-resource",
        value_name = "KIND=N",
        value_parser = generic::need,
        help_heading = "Resources"
    )]
    generic_resources: Vec<(String, u64)>,
    /// Hand out a device of a class, or N of them (nodes: --device); may be repeated
    #[arg(
        long = "device-class",
        value_name = "CLASS[=N]",
        value_parser = generic::device,
        help_heading = "Resources"
    )]
    device_classes: Vec<(String, u64)>,
    #[command(flatten)]
    template: TemplateOptions,
    #[command(flatten)]
    probes: ProbeOptions,
    #[command(flatten)]
    updates: UpdateOptions,
    #[command(flatten)]
    jobs: JobOptions,
    /// The program and its arguments, behind --
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

impl Create {
    /// Creates the service, shows its id and waits until it runs.
    ///
    /// # Errors
    /// A wrong option, what the node refused, or the time-out.
    pub(super) async fn run(self, client: &Client, global: &Global) -> Result<(), Failure> {
        let wait = self.wait;
        let spec = self.options.declared(client).await?;
        let query = self.guard.query(&[]);
        let written: Written = client.post("/v1/services/create", &query, &spec).await?;
        output::line(&written.id)?;
        if wait.detach {
            written.warnings.iter().for_each(|warning| output::warning(warning));
            return Ok(());
        }
        wait_until_running(client, global, &written.id, &wait).await
    }
}

impl CreateOptions {
    /// What is declared, valid and with its configs.
    ///
    /// # Errors
    /// A wrong option, or a config that does not exist.
    pub(crate) async fn declared(self, client: &Client) -> Result<ServiceSpec, Failure> {
        let configs = self.configs.clone();
        let mut spec = self.spec()?;
        let RuntimeSpec::Process(process) = &mut spec.task_template.runtime;
        process.configs = resolve(client, &configs).await?;
        spec.validate().map_err(|error| Failure::usage(error.to_string()))?;
        Ok(spec)
    }

    /// What the options say, without the configs.
    fn spec(self) -> Result<ServiceSpec, Failure> {
        let Self { runtime: Runtime::Process, command, .. } = &self;
        let name = match self.name {
            Some(name) => name,
            None => name_of(command)?,
        };
        let mode = self.mode.of(self.replicas)?;
        let process = ProcessSpec {
            command: self.command,
            env: environment(&self.env_files, &self.envs)?,
            groups: self.groups,
            ..ProcessSpec::default()
        };
        let mut task_template = TaskTemplate {
            runtime: RuntimeSpec::Process(process),
            resources: Default::default(),
            restart_policy: Default::default(),
            placement: Placement {
                constraints: self.constraints,
                preferences: self.preferences,
                max_replicas_per_node: 0,
            },
            stop_signal: Signal::TERM,
            stop_grace_ms: DEFAULT_STOP_GRACE_MS,
            force_update: 0,
            health: None,
            ready: None,
            drain_delay_ms: 0,
        };
        let generic = &mut task_template.resources.reservations.generic;
        for (kind, count) in self.generic_resources.into_iter().chain(self.device_classes) {
            if generic.insert(kind.clone(), count).is_some() {
                let message = format!("{kind} is asked for twice: say once how many");
                return Err(Failure::usage(message));
            }
        }
        if mode.is_job() {
            task_template.restart_policy.condition = RestartCondition::OnFailure;
        }
        let restart = self.template.restart_condition();
        self.template.apply(&mut task_template);
        self.probes.apply(&mut task_template)?;
        let mut spec = ServiceSpec {
            name,
            labels: self.labels.into_iter().collect(),
            mode,
            task_template,
            priority: self.priority.unwrap_or_default(),
            update: Default::default(),
            rollback: Default::default(),
            min_available: None,
            job: Default::default(),
            schedule: None,
        };
        self.updates.apply(&mut spec);
        self.jobs.apply(&mut spec)?;
        job_options::check(&spec, restart)?;
        Ok(spec)
    }
}

/// A priority from 0 to 100.
pub(super) fn priority(text: &str) -> Result<Priority, String> {
    let number = text.parse().ok().filter(|number| *number <= PRIORITY_MAX);
    let refused = || format!("\"{text}\" is not a priority: use a number from 0 to {PRIORITY_MAX}");
    number.map(Priority).ok_or_else(refused)
}

/// A name from the program's, with a few random digits behind it.
fn name_of(command: &[String]) -> Result<Name, Failure> {
    let program = command.first().map(Path::new).and_then(Path::file_stem);
    let program = program.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let word: String = program.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
    let word = if word.is_empty() { "service".to_owned() } else { word.to_lowercase() };
    let digits = RequestId::from_raw(rand::random()).to_string();
    format!("{word}-{}", &digits[digits.len() - 6..])
        .parse()
        .map_err(|error| Failure::usage(format!("give the service a --name: {error}")))
}

/// The variables of files and options; a later one wins, an option over any file.
pub(super) fn environment(
    files: &[String],
    options: &[String],
) -> Result<BTreeMap<String, String>, Failure> {
    let own = |name: &str| std::env::var(name).ok();
    let mut variables = BTreeMap::new();
    for file in files {
        let text = std::fs::read_to_string(file)
            .map_err(|error| Failure::usage(format!("--env-file {file}: {error}")))?;
        let read = key_value::env_file(&text, own)
            .map_err(|reason| Failure::usage(format!("--env-file {file}, {reason}")))?;
        variables.extend(read);
    }
    for option in options {
        let pair = key_value::env(option, own)
            .map_err(|reason| Failure::usage(format!("--env: {reason}")))?;
        variables.extend(pair);
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use swarm_model::probe::{Check, Probe};
    use swarm_model::schedule::{CatchUp, Overlap};
    use swarm_model::share::Share;
    use swarm_model::update::{FailureAction, Order, UpdatePolicy};

    fn spec(options: &str) -> Result<ServiceSpec, Failure> {
        spec_of(format!("swarm service create {options}").split_whitespace())
    }

    fn spec_of<'a>(words: impl Iterator<Item = &'a str>) -> Result<ServiceSpec, Failure> {
        let cli = crate::args::Cli::try_parse_from(words).expect("is a command line");
        let crate::args::Command::Service(super::super::Service::Create(create)) = cli.command
        else {
            unreachable!("the line says service create")
        };
        create.options.spec()
    }

    #[test]
    fn options_become_a_valid_spec() {
        let spec = spec(
            "--name web --replicas 3 --runtime process --env A=1 -e B=2 -l x=y \
             --constraint node.role==worker --placement-pref spread=node.labels.zone \
             --reserve-cpu 0.5 --limit-memory 64m --restart-delay 5s --restart-condition on-failure \
             --generic-resource licence=2 --generic-resource device/camera=1 \
             --priority 80 --placement-pref affinity=service:db:10 --placement-pref binpack \
             --stop-signal INT --stop-grace-period 1m --replicas-max-per-node 2 -u nobody -w /tmp \
             -- /bin/web --port 80",
        )
        .expect("is valid");
        assert_eq!(spec.validate(), Ok(()));
        assert_eq!(spec.mode, ServiceMode::Replicated { replicas: 3 });
        let template = &spec.task_template;
        let RuntimeSpec::Process(process) = &template.runtime;
        assert_eq!(process.command, ["/bin/web", "--port", "80"]);
        assert_eq!(process.env.len(), 2);
        assert_eq!(process.user.as_deref(), Some("nobody"));
        assert_eq!(template.restart_policy.delay_ms, Some(5000));
        assert_eq!(template.stop_grace_ms, 60_000);
        assert_eq!(template.stop_signal.number(), 2);
        assert_eq!(template.placement.max_replicas_per_node, 2);
        assert_eq!(template.placement.constraints.len(), 1);
        assert_eq!(template.placement.preferences.len(), 3);
        assert_eq!(spec.priority, Priority(80));
        assert_eq!(template.resources.reservations.generic("licence"), 2);
        assert_eq!(template.resources.reservations.generic("device/camera"), 1);
    }

    #[test]
    fn what_is_not_shared_is_listed_with_commas() {
        let namespaces = |text: &str| {
            let spec = spec(&format!("{text} --runtime process -- /bin/web"))?;
            let RuntimeSpec::Process(process) = spec.task_template.runtime;
            Ok::<Vec<_>, Failure>(process.namespaces.into_iter().collect())
        };
        use swarm_model::runtime::Namespace;
        assert_eq!(
            namespaces("--isolate pid,net").ok(),
            Some(vec![Namespace::Pid, Namespace::Net])
        );
        assert_eq!(namespaces("--isolate none").ok(), Some(Vec::new()));
    }

    #[test]
    fn a_kind_of_resource_is_asked_for_once() {
        let asked = |options: &str| spec(&format!("{options} --runtime process -- /bin/web"));
        let two = asked("--device-class camera=2 --generic-resource licence=1").expect("is valid");
        assert_eq!(two.task_template.resources.reservations.generic("device/camera"), 2);
        let twice = "--device-class camera --generic-resource device/camera=2";
        for options in [twice, "--generic-resource licence=1 --generic-resource licence=2"] {
            assert!(asked(options).is_err(), "{options}");
        }
    }

    #[test]
    fn rules_of_updates_are_set_one_by_one() {
        let spec = spec(
            "--runtime process --update-parallelism 3 --update-delay 2s --update-monitor 1m \
             --update-failure-action pause --update-max-failure-ratio 0.1 \
             --update-order stop-first --update-start-timeout 90s --canary 25% --auto-promote \
             --rollback-parallelism 0 \
             --rollback-failure-action continue --rollback-order start-first -- x",
        )
        .expect("is valid");
        assert_eq!(spec.validate(), Ok(()));
        let update = UpdatePolicy {
            parallelism: 3,
            delay_ms: 2000,
            monitor_ms: 60_000,
            failure_action: Some(FailureAction::Pause),
            max_failure_permille: 100,
            order: Some(Order::StopFirst),
            start_timeout_ms: 90_000,
            canary: Some(Share::Percent(25)),
            auto_promote: true,
        };
        assert_eq!(spec.update, update);
        let rollback = UpdatePolicy {
            parallelism: 0,
            failure_action: Some(FailureAction::Continue),
            order: Some(Order::StartFirst),
            ..UpdatePolicy::default()
        };
        assert_eq!(spec.rollback, rollback);
    }

    #[test]
    fn probes_are_set_one_by_one() {
        let spec = spec(
            "--runtime process --health-http /healthz:8080 --health-interval 2s \
             --health-retries 5 --health-start-period 1m --ready-tcp 6379 --ready-timeout 200ms \
             --drain-delay 3s -- x",
        )
        .expect("is valid");
        assert_eq!(spec.validate(), Ok(()));
        let health = Probe {
            interval_ms: 2000,
            timeout_ms: 2000,
            retries: 5,
            start_period_ms: 60_000,
            ..Probe::new(Check::Http { path: "/healthz".to_owned(), port: 8080 })
        };
        assert_eq!(spec.task_template.health, Some(health));
        let ready = Probe { timeout_ms: 200, ..Probe::new(Check::Tcp { port: 6379 }) };
        assert_eq!(spec.task_template.ready, Some(ready));
        assert_eq!(spec.task_template.drain_delay_ms, 3000);
    }

    #[test]
    fn what_probes_cannot_be_is_a_usage_error_by_name() {
        let refused = |options: &str, word: &str| {
            let spec = spec(&format!("{options} --runtime process -- x"));
            let message = match spec {
                Err(failure) => failure.to_string(),
                Ok(spec) => spec.validate().expect_err(options).to_string(),
            };
            assert!(message.contains(word), "{options}: {message}");
        };
        refused("--health-interval 5s", "give --health-cmd, --health-http or --health-tcp");
        refused("--ready-retries 5", "there is no ready probe");
        refused("--health-tcp 80 --health-timeout 11s", "longer than the interval of 10000 ms");
        refused("--health-tcp 80 --health-timeout 0s", "within no time");
        refused("--health-tcp 80 --health-interval 0s", "from 100 ms to 24 h");
        refused("--health-cmd {{.Nope}}", "\".Nope\" is unknown");
        refused("--drain-delay 25h", "at most 24h");
    }

    #[test]
    fn a_start_time_out_of_nothing_is_refused() {
        let spec = spec("--runtime process --update-start-timeout 0s -- x").expect("parses");
        assert_eq!(spec.validate().expect_err("is nothing").field, "UpdateConfig.StartTimeoutMs");
    }

    #[test]
    fn a_service_without_a_name_is_named_after_its_program() {
        let spec = spec("--runtime process -- /usr/bin/my_web.sh").expect("is valid");
        assert!(spec.name.as_str().starts_with("myweb-"), "{}", spec.name);
    }

    #[test]
    fn global_services_take_no_replicas() {
        let failure = spec("--mode global --replicas 2 --runtime process -- x").expect_err("both");
        assert_eq!(failure.exit, crate::exit::Exit::Usage);
    }

    #[test]
    fn a_service_cannot_be_near_itself() {
        let spec =
            spec("--name web --placement-pref affinity=service:web --runtime process -- /bin/web");
        let error = spec.expect("parses").validate().expect_err("itself");
        assert!(error.to_string().contains("its own tasks"), "{error}");
    }

    #[test]
    fn a_job_has_completions_seats_a_deadline_and_restarts_on_failure() {
        let spec = spec(
            "--mode replicated-job --replicas 20 --max-concurrent 4 --job-deadline 1h --keep-runs 3 \
             --restart-max-attempts 2 --runtime process -- x",
        )
        .expect("is a job");
        assert_eq!(spec.validate(), Ok(()));
        assert_eq!(spec.mode, ServiceMode::ReplicatedJob { completions: 20, max_concurrent: 4 });
        assert_eq!((spec.job.deadline_ms, spec.job.keep_runs), (Some(3_600_000), 3));
        let restart = spec.task_template.restart_policy;
        assert_eq!(restart.condition, RestartCondition::OnFailure);
        assert_eq!(restart.max_attempts, Some(2));
    }

    #[test]
    fn a_schedule_has_times_a_zone_and_rules() {
        let line = "swarm service create --mode global-job --timezone Europe/Berlin --overlap allow \
            --catch-up none --runtime process --schedule";
        let words = line.split_whitespace().chain(["0 3 * * mon-fri", "--", "x"]);
        let spec = spec_of(words).expect("is a job");
        let schedule = spec.schedule.expect("was given");
        assert_eq!(
            (schedule.cron.to_string(), schedule.time_zone.as_str()),
            ("0 3 * * mon-fri".to_owned(), "Europe/Berlin")
        );
        assert_eq!((schedule.overlap, schedule.catch_up), (Overlap::Allow, CatchUp::None));
        for (cron, said) in [("0 0 31 2 *", "is never due"), ("61 * * * *", "is no minute")] {
            let words = line.split_whitespace().chain([cron, "--", "x"]);
            let error = crate::args::Cli::try_parse_from(words).expect_err(cron);
            assert!(error.to_string().contains(said), "{error}");
        }
    }

    #[test]
    fn what_contradicts_a_jobs_nature_is_refused_in_a_sentence() {
        for (options, said) in [
            ("--max-concurrent 2", "goes with --mode replicated-job, not with replicated"),
            ("--mode global-job --max-concurrent 2", "not with global-job"),
            ("--mode global-job --replicas 2", "--replicas does not go with --mode global-job"),
            ("--job-deadline 1s", "--job-deadline goes with jobs"),
            ("--mode global --keep-runs 2", "--keep-runs goes with jobs"),
            ("--mode replicated-job --restart-condition any", "never started again"),
            ("--mode replicated-job --update-parallelism 2", "a new version is a new run"),
            ("--mode global-job --rollback-delay 2s", "a new version is a new run"),
            ("--schedule @daily", "--schedule goes with jobs"),
            ("--mode global-job --timezone UTC", "--timezone goes with --schedule"),
            ("--mode global-job --catch-up all", "--catch-up goes with --schedule"),
        ] {
            let failure = spec(&format!("{options} --runtime process -- x")).expect_err(options);
            assert_eq!(failure.exit, crate::exit::Exit::Usage);
            assert!(failure.to_string().contains(said), "{options}: {failure}");
        }
        let none = spec("--mode replicated-job --replicas 0 --runtime process -- x");
        let error = none.expect("parses").validate().expect_err("nothing to do");
        assert!(error.to_string().contains("0 is not from 1 to"), "{error}");
    }

    #[test]
    fn wrong_values_are_refused_by_the_parser() {
        for options in [
            "--runtime process",
            "-- /bin/web",
            "--runtime vm -- x",
            "--runtime process --replicas -1 -- x",
            "--runtime process --constraint color=red -- x",
            "--runtime process --limit-memory lots -- x",
            "--runtime process --stop-signal SIGNOPE -- x",
            "--runtime process --name -x- -- x",
            "--runtime process --priority 101 -- x",
            "--runtime process --placement-pref affinity=service:db:0 -- x",
            "--runtime process --placement-pref affinity=service:db:101 -- x",
            "--runtime process --placement-pref packed -- x",
            "--runtime process --constraint node.labels.cores>many -- x",
            "--runtime process --generic-resource licence=0 -- x",
            "--runtime process --generic-resource licence -- x",
            "--runtime process --update-failure-action explode -- x",
            "--runtime process --rollback-failure-action rollback -- x",
            "--runtime process --update-max-failure-ratio 1.5 -- x",
            "--runtime process --update-order sideways -- x",
            "--runtime process --update-parallelism -1 -- x",
            "--runtime process --update-monitor soon -- x",
            "--runtime process --min-available 101% -- x",
            "--runtime process --min-available half -- x",
            "--runtime process --min-available -1 -- x",
            "--runtime process --health-cmd a --health-http :80 -- x",
            "--runtime process --health-http :80 --health-tcp 80 -- x",
            "--runtime process --ready-cmd a --ready-tcp 80 -- x",
            "--runtime process --health-tcp 0 -- x",
            "--runtime process --health-http healthz:80 -- x",
            "--runtime process --health-http /healthz -- x",
            "--runtime process --health-tcp 80 --health-retries 0 -- x",
            "--runtime process --no-healthcheck -- x",
            "--runtime process --mode job -- x",
            "--runtime process --mode global-job --schedule @never -- x",
            "--runtime process --mode global-job --schedule @daily --overlap both -- x",
            "--runtime process --mode global-job --schedule @daily --catch-up some -- x",
            "--runtime process --mode replicated-job --max-concurrent many -- x",
            "--runtime process --mode replicated-job --job-deadline soon -- x",
        ] {
            let line = format!("swarm service create {options}");
            let error = crate::args::Cli::try_parse_from(line.split_whitespace());
            assert_eq!(error.expect_err(options).exit_code(), 2, "{options}");
        }
    }
}

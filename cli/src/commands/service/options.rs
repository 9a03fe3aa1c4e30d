//! The single-valued options that `service create` and `service update` share.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use swarm_model::restart::{Reschedule, RestartCondition};
use swarm_model::runtime::{Namespace, RuntimeSpec, Signal};
use swarm_model::task::TaskTemplate;
use swarm_model::units::{Bytes, MilliCpu};

use crate::parse::{duration, quantity};

/// A restart delay: fixed, or the growing one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RestartDelay {
    /// At once, then 100 ms doubling to 30 s.
    Auto,
    /// Always the same.
    Fixed(Duration),
}

fn restart_delay(text: &str) -> Result<RestartDelay, String> {
    if text == "auto" {
        return Ok(RestartDelay::Auto);
    }
    duration::parse(text).map(RestartDelay::Fixed)
}

fn isolation(text: &str) -> Result<BTreeSet<Namespace>, String> {
    if text == "none" {
        return Ok(BTreeSet::new());
    }
    let all = text.split(',').map(|one| one.trim().parse::<Namespace>());
    all.collect::<Result<_, _>>().map_err(|error| error.to_string())
}

/// Options that set one field of the task template each; what is absent stays.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct TemplateOptions {
    /// Run as user, uid, user:group or uid:gid; '' is the daemon's own user
    #[arg(short, long, value_name = "USER[:GROUP]", help_heading = "Process")]
    user: Option<String>,
    /// Working directory; '' is the task's own directory
    #[arg(short, long, value_name = "DIR", help_heading = "Process")]
    workdir: Option<String>,
    /// Host name in the task's HOSTNAME; takes templates like web-{{.Task.Slot}}
    #[arg(long, value_name = "NAME", help_heading = "Process")]
    hostname: Option<String>,
    /// What a task does not share with the machine: mount, pid, net, ipc, with commas; none for all shared
    #[arg(long, value_name = "WHAT", value_parser = isolation, help_heading = "Process")]
    isolate: Option<BTreeSet<Namespace>>,
    /// Signal that asks a task to stop [default: SIGTERM]
    #[arg(long, value_name = "SIGNAL", help_heading = "Process")]
    stop_signal: Option<Signal>,
    /// Time from that signal until the task is killed [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, help_heading = "Process")]
    stop_grace_period: Option<Duration>,
    /// CPUs set aside for each task, like 0.5
    #[arg(long, value_name = "CPUS", value_parser = quantity::cpus, help_heading = "Resources")]
    reserve_cpu: Option<MilliCpu>,
    /// Memory set aside for each task, like 64m
    #[arg(long, value_name = "SIZE", value_parser = quantity::bytes, help_heading = "Resources")]
    reserve_memory: Option<Bytes>,
    /// The most CPUs a task may use; 0 is no limit
    #[arg(long, value_name = "CPUS", value_parser = quantity::cpus, help_heading = "Resources")]
    limit_cpu: Option<MilliCpu>,
    /// The most memory a task may use; 0 is no limit
    #[arg(long, value_name = "SIZE", value_parser = quantity::bytes, help_heading = "Resources")]
    limit_memory: Option<Bytes>,
    /// The most processes and threads of a task; 0 is no limit
    #[arg(long, value_name = "N", help_heading = "Resources")]
    limit_pids: Option<u64>,
    /// Which ends are followed by a restart: any, on-failure, none [default: any]
    #[arg(long, value_name = "WORD", help_heading = "Restart")]
    restart_condition: Option<RestartCondition>,
    /// Pause before each restart; auto: at once, then 100ms doubling to 30s [default: auto]
    #[arg(long, value_name = "DURATION", value_parser = restart_delay, help_heading = "Restart")]
    restart_delay: Option<RestartDelay>,
    /// The most restarts within the window; 0 is no bound [default: 0]
    #[arg(long, value_name = "N", help_heading = "Restart")]
    restart_max_attempts: Option<u32>,
    /// The window in which restarts are counted; 0 counts for ever [default: 0]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, help_heading = "Restart")]
    restart_window: Option<Duration>,
    /// Whether tasks of a lost node start elsewhere: always, never [default: always]
    #[arg(long, value_name = "WORD", help_heading = "Restart")]
    reschedule: Option<Reschedule>,
    /// The most tasks of the service on one node; 0 is no bound [default: 0]
    #[arg(long, value_name = "N", help_heading = "Placement")]
    replicas_max_per_node: Option<u32>,
}

/// `value` into `field`, when there is one.
fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// `value` into `field`; zero (or empty) empties it.
fn set_or_clear<T: Default + PartialEq>(field: &mut Option<T>, value: Option<T>) {
    if let Some(value) = value {
        *field = (value != T::default()).then_some(value);
    }
}

impl TemplateOptions {
    /// The restart condition that was asked for.
    pub(super) fn restart_condition(&self) -> Option<RestartCondition> {
        self.restart_condition
    }

    /// Puts what was given into `template`.
    pub(super) fn apply(self, template: &mut TaskTemplate) {
        let RuntimeSpec::Process(process) = &mut template.runtime;
        set_or_clear(&mut process.user, self.user);
        set_or_clear(&mut process.workdir, self.workdir);
        set_or_clear(&mut process.hostname, self.hostname);
        set(&mut process.namespaces, self.isolate);
        set(&mut template.stop_signal, self.stop_signal);
        set(&mut template.stop_grace_ms, self.stop_grace_period.map(duration::millis));
        let resources = &mut template.resources;
        set(&mut resources.reservations.cpu, self.reserve_cpu);
        set(&mut resources.reservations.memory, self.reserve_memory);
        set_or_clear(&mut resources.limits.cpu, self.limit_cpu);
        set_or_clear(&mut resources.limits.memory, self.limit_memory);
        set_or_clear(&mut resources.limits.pids, self.limit_pids);
        let restart = &mut template.restart_policy;
        set(&mut restart.condition, self.restart_condition);
        set(
            &mut restart.delay_ms,
            self.restart_delay.map(|delay| match delay {
                RestartDelay::Auto => None,
                RestartDelay::Fixed(span) => Some(duration::millis(span)),
            }),
        );
        set_or_clear(&mut restart.max_attempts, self.restart_max_attempts);
        set_or_clear(&mut restart.window_ms, self.restart_window.map(duration::millis));
        set(&mut restart.reschedule, self.reschedule);
        set(&mut template.placement.max_replicas_per_node, self.replicas_max_per_node);
    }
}

//! Health, readiness and draining, as `service create` and `service update` take them.

use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use swarm_model::probe::{Check, PROBE_RETRIES_MAX, Probe};
use swarm_model::task::TaskTemplate;

use crate::exit::Failure;
use crate::parse::duration;

/// Path and port of an HTTP probe.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    path: String,
    port: u16,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hint = || format!("\"{text}\" is not PATH:PORT: write it like /healthz:8080 or :8080");
        let (path, port) = text.rsplit_once(':').unwrap_or(("", text));
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(hint)?;
        match path {
            "" => Ok(Self { path: "/".to_owned(), port }),
            path if path.starts_with('/') => Ok(Self { path: path.to_owned(), port }),
            _ => Err(hint()),
        }
    }
}

fn port(text: &str) -> Result<u16, String> {
    let port = text.parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| format!("\"{text}\" is not a port: use a number from 1 to 65535"))
}

fn retries() -> RangedU64ValueParser<u32> {
    RangedU64ValueParser::new().range(1..=u64::from(PROBE_RETRIES_MAX))
}

/// Options that set one rule each; what is absent stays.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Health")]
pub(super) struct ProbeOptions {
    /// A task runs when this shell command ends with 0 inside of it, and is stopped when it does not
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["health_http", "health_tcp"])]
    health_cmd: Option<String>,
    /// The same when a GET is answered with 200 to 399
    #[arg(long, value_name = "[PATH]:PORT", conflicts_with = "health_tcp")]
    health_http: Option<Target>,
    /// The same when a port takes connections
    #[arg(long, value_name = "PORT", value_parser = port)]
    health_tcp: Option<u16>,
    /// From one health probe to the next [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    health_interval: Option<Duration>,
    /// A probe without an answer by then has failed, and is killed [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    health_timeout: Option<Duration>,
    /// Failures in a row, an interval apart, that make a task unhealthy [default: 3]
    #[arg(long, value_name = "N", value_parser = retries())]
    health_retries: Option<u32>,
    /// Failures so soon after the start do not count [default: 0s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    health_start_period: Option<Duration>,
    /// The longest pause between probes before the first success [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    health_start_interval: Option<Duration>,
    /// A task is sent work while this shell command ends with 0 inside of it; nothing else follows
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["ready_http", "ready_tcp"])]
    ready_cmd: Option<String>,
    /// The same while a GET is answered with 200 to 399
    #[arg(long, value_name = "[PATH]:PORT", conflicts_with = "ready_tcp")]
    ready_http: Option<Target>,
    /// The same while a port takes connections
    #[arg(long, value_name = "PORT", value_parser = port)]
    ready_tcp: Option<u16>,
    /// As --health-interval, for readiness [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    ready_interval: Option<Duration>,
    /// As --health-timeout, for readiness [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    ready_timeout: Option<Duration>,
    /// Failures in a row, an interval apart, that make a task not ready [default: 3]
    #[arg(long, value_name = "N", value_parser = retries())]
    ready_retries: Option<u32>,
    /// As --health-start-period, for readiness [default: 0s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    ready_start_period: Option<Duration>,
    /// As --health-start-interval, for readiness [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    ready_start_interval: Option<Duration>,
    /// A ready task that has to stop is sent no more work for so long before its signal [default: 0s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    drain_delay: Option<Duration>,
}

/// What was given for one probe.
struct Given {
    name: &'static str,
    check: Option<Check>,
    interval: Option<Duration>,
    timeout: Option<Duration>,
    retries: Option<u32>,
    start_period: Option<Duration>,
    start_interval: Option<Duration>,
}

/// As Docker does: the text is a shell's.
fn check(command: Option<String>, http: Option<Target>, tcp: Option<u16>) -> Option<Check> {
    let command =
        command.map(|text| Check::Command(vec!["/bin/sh".to_owned(), "-c".to_owned(), text]));
    let http = http.map(|Target { path, port }| Check::Http { path, port });
    command.or(http).or(tcp.map(|port| Check::Tcp { port }))
}

impl Given {
    fn apply(self, probe: &mut Option<Probe>) -> Result<(), Failure> {
        let Self { name, check, interval, timeout, retries, start_period, start_interval } = self;
        let spans = [interval, timeout, start_period, start_interval];
        if probe.is_none() && check.is_none() {
            if retries.is_none() && spans.iter().all(Option::is_none) {
                return Ok(());
            }
            let message = format!(
                "there is no {name} probe that could be set: give --{name}-cmd, --{name}-http or \
                 --{name}-tcp, too"
            );
            return Err(Failure::usage(message));
        }
        let old = match (probe.take(), check) {
            (Some(old), Some(check)) => Probe { check, ..old },
            (Some(old), None) => old,
            (None, Some(check)) => Probe::new(check),
            (None, None) => return Ok(()),
        };
        let millis = |span: Option<Duration>| span.map(duration::millis);
        let interval_ms = millis(interval).unwrap_or(old.interval_ms);
        *probe = Some(Probe {
            interval_ms,
            // A shorter interval alone is a wish that can be met.
            timeout_ms: millis(timeout).unwrap_or(old.timeout_ms.min(interval_ms)),
            retries: retries.unwrap_or(old.retries),
            start_period_ms: millis(start_period).unwrap_or(old.start_period_ms),
            start_interval_ms: millis(start_interval).unwrap_or(old.start_interval_ms),
            check: old.check,
        });
        Ok(())
    }
}

impl ProbeOptions {
    /// Puts what was given into `template`.
    ///
    /// # Errors
    /// When a probe's times are given, and there is no probe.
    pub(super) fn apply(self, template: &mut TaskTemplate) -> Result<(), Failure> {
        Given {
            name: "health",
            check: check(self.health_cmd, self.health_http, self.health_tcp),
            interval: self.health_interval,
            timeout: self.health_timeout,
            retries: self.health_retries,
            start_period: self.health_start_period,
            start_interval: self.health_start_interval,
        }
        .apply(&mut template.health)?;
        Given {
            name: "ready",
            check: check(self.ready_cmd, self.ready_http, self.ready_tcp),
            interval: self.ready_interval,
            timeout: self.ready_timeout,
            retries: self.ready_retries,
            start_period: self.ready_start_period,
            start_interval: self.ready_start_interval,
        }
        .apply(&mut template.ready)?;
        if let Some(delay) = self.drain_delay {
            template.drain_delay_ms = duration::millis(delay);
        }
        Ok(())
    }
}

/// What only `service update` takes: no probe any more.
#[derive(Debug, Clone, Copy, Default, Args)]
#[command(next_help_heading = "Health")]
pub(super) struct NoProbes {
    /// Take the health probe away
    #[arg(long, conflicts_with_all = ["health_cmd", "health_http", "health_tcp",
        "health_interval", "health_timeout", "health_retries", "health_start_period",
        "health_start_interval"])]
    no_healthcheck: bool,
    /// Take the readiness probe away
    #[arg(long, conflicts_with_all = ["ready_cmd", "ready_http", "ready_tcp", "ready_interval",
        "ready_timeout", "ready_retries", "ready_start_period", "ready_start_interval"])]
    no_readycheck: bool,
}

impl NoProbes {
    /// Takes away from `template` what was asked for.
    pub(super) fn apply(self, template: &mut TaskTemplate) {
        if self.no_healthcheck {
            template.health = None;
        }
        if self.no_readycheck {
            template.ready = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_path_and_port() {
        let is = |text: &str, path: &str, port| {
            assert_eq!(text.parse(), Ok(Target { path: path.to_owned(), port }), "{text}");
        };
        is("/healthz:8080", "/healthz", 8080);
        is(":8080", "/", 8080);
        is("8080", "/", 8080);
        is("/a:b:80", "/a:b", 80);
        for text in ["", "/healthz", ":0", "/:65536", "healthz:80", "http://x:80", "/x:"] {
            let refused = text.parse::<Target>().expect_err(text);
            assert!(refused.contains("PATH:PORT"), "{refused}");
        }
        assert_eq!(port("80"), Ok(80));
        assert!(port("0").is_err() && port("http").is_err());
    }
}

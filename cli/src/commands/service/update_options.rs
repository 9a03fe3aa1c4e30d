//! The rules of updates and rollbacks, as `service create` and `service update` take them.

use std::time::Duration;

use clap::Args;
use swarm_model::service::ServiceSpec;
use swarm_model::share::Share;
use swarm_model::update::{FailureAction, Order, UpdatePolicy};

use crate::parse::duration;

/// Which task goes first, or whatever fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn(Option<Order>);

fn turn(text: &str) -> Result<Turn, String> {
    if text == "auto" {
        return Ok(Turn(None));
    }
    let order = text.parse().map(|order| Turn(Some(order)));
    order.map_err(|_unknown| format!("\"{text}\" is not one of: start-first, stop-first, auto"))
}

/// A share of all tasks in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ratio(u16);

fn ratio(text: &str) -> Result<Ratio, String> {
    let hint = || format!("\"{text}\" is not a ratio: write it like 0.25, from 0 to 1");
    let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    if decimals > 3 {
        return Err(format!("\"{text}\" is finer than a thousandth"));
    }
    let permille = duration::scaled(text, 1000).filter(|permille| *permille <= 1000);
    permille.and_then(|permille| u16::try_from(permille).ok()).map(Ratio).ok_or_else(hint)
}

fn rollback_action(text: &str) -> Result<FailureAction, String> {
    match text.parse() {
        Ok(FailureAction::Rollback) => {
            Err("a rollback is never rolled back: use pause or continue".to_owned())
        }
        Ok(action) => Ok(action),
        Err(_unknown) => Err(format!("\"{text}\" is not one of: pause, continue")),
    }
}

/// Options that set one rule each; what is absent stays.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Update")]
pub(super) struct UpdateOptions {
    /// Tasks replaced at a time; 0 is all at once [default: 1]
    #[arg(long, value_name = "N")]
    update_parallelism: Option<u32>,
    /// Pause between one task's replacement and the next [default: 0s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    update_delay: Option<Duration>,
    /// A new task that ends sooner after its start has failed [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    update_monitor: Option<Duration>,
    /// When too many tasks fail: pause, continue, rollback [default: rollback]
    #[arg(long, value_name = "ACTION")]
    update_failure_action: Option<FailureAction>,
    /// The share of tasks that may fail, from 0 to 1 [default: 0]
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    update_max_failure_ratio: Option<Ratio>,
    /// start-first, stop-first; auto: start-first where there is room [default: auto]
    #[arg(long, value_name = "ORDER", value_parser = turn)]
    update_order: Option<Turn>,
    /// A new task that does not run so soon has failed [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    update_start_timeout: Option<Duration>,
    /// So many tasks, or N%, are updated first; the others follow when `swarm service promote` says so;
    /// 0 is no canary [default: 0]
    #[arg(long, value_name = "N|N%")]
    canary: Option<Share>,
    /// Promote a canary that has run for --update-monitor without being asked [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
        require_equals = true)]
    auto_promote: Option<bool>,
    /// So many tasks, or N%, run at least whatever is done on purpose: updates that stop first,
    /// drains, making room for others; 0 bounds nothing [default: 0]
    #[arg(long, value_name = "N|N%")]
    min_available: Option<Share>,
    /// As --update-parallelism, on the way back [default: 1]
    #[arg(long, value_name = "N")]
    rollback_parallelism: Option<u32>,
    /// As --update-delay, on the way back [default: 0s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    rollback_delay: Option<Duration>,
    /// As --update-monitor, on the way back [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    rollback_monitor: Option<Duration>,
    /// When too many tasks fail on the way back: pause, continue [default: pause]
    #[arg(long, value_name = "ACTION", value_parser = rollback_action)]
    rollback_failure_action: Option<FailureAction>,
    /// As --update-max-failure-ratio, on the way back [default: 0]
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    rollback_max_failure_ratio: Option<Ratio>,
    /// As --update-order, on the way back [default: auto]
    #[arg(long, value_name = "ORDER", value_parser = turn)]
    rollback_order: Option<Turn>,
    /// As --update-start-timeout, on the way back [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    rollback_start_timeout: Option<Duration>,
}

/// What was given for one policy.
struct Given {
    parallelism: Option<u32>,
    delay: Option<Duration>,
    monitor: Option<Duration>,
    failure_action: Option<FailureAction>,
    max_failure_ratio: Option<Ratio>,
    order: Option<Turn>,
    start_timeout: Option<Duration>,
}

impl Given {
    fn apply(self, policy: &mut UpdatePolicy) {
        let (old, millis) = (*policy, |span: Option<Duration>| span.map(duration::millis));
        *policy = UpdatePolicy {
            parallelism: self.parallelism.unwrap_or(old.parallelism),
            delay_ms: millis(self.delay).unwrap_or(old.delay_ms),
            monitor_ms: millis(self.monitor).unwrap_or(old.monitor_ms),
            failure_action: self.failure_action.or(old.failure_action),
            max_failure_permille: self
                .max_failure_ratio
                .map_or(old.max_failure_permille, |Ratio(permille)| permille),
            order: self.order.map_or(old.order, |Turn(order)| order),
            start_timeout_ms: millis(self.start_timeout).unwrap_or(old.start_timeout_ms),
            ..old
        };
    }
}

impl UpdateOptions {
    /// Puts what was given into `spec`.
    pub(super) fn apply(self, spec: &mut ServiceSpec) {
        let some = |share: Share| !matches!(share, Share::Count(0) | Share::Percent(0));
        if let Some(share) = self.min_available {
            spec.min_available = Some(share).filter(|share| some(*share));
        }
        if let Some(share) = self.canary {
            spec.update.canary = Some(share).filter(|share| some(*share));
            // Without one there is nothing to promote.
            spec.update.auto_promote &= spec.update.canary.is_some();
        }
        spec.update.auto_promote = self.auto_promote.unwrap_or(spec.update.auto_promote);
        Given {
            parallelism: self.update_parallelism,
            delay: self.update_delay,
            monitor: self.update_monitor,
            failure_action: self.update_failure_action,
            max_failure_ratio: self.update_max_failure_ratio,
            order: self.update_order,
            start_timeout: self.update_start_timeout,
        }
        .apply(&mut spec.update);
        Given {
            parallelism: self.rollback_parallelism,
            delay: self.rollback_delay,
            monitor: self.rollback_monitor,
            failure_action: self.rollback_failure_action,
            max_failure_ratio: self.rollback_max_failure_ratio,
            order: self.rollback_order,
            start_timeout: self.rollback_start_timeout,
        }
        .apply(&mut spec.rollback);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_thousandths() {
        assert_eq!(ratio("0.25"), Ok(Ratio(250)));
        assert_eq!(ratio("1"), Ok(Ratio(1000)));
        for text in ["1.1", "-0.1", "a", "", "0.0001", "25%"] {
            assert!(ratio(text).is_err(), "{text}");
        }
    }

    #[test]
    fn orders_and_actions_are_words() {
        assert_eq!(turn("auto"), Ok(Turn(None)));
        assert_eq!(turn("stop-first"), Ok(Turn(Some(Order::StopFirst))));
        assert!(turn("random").expect_err("is none").contains("start-first"));
        assert_eq!(rollback_action("pause"), Ok(FailureAction::Pause));
        let refused = rollback_action("rollback").expect_err("never");
        assert!(refused.contains("never rolled back"), "{refused}");
    }
}

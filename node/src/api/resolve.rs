//! From a reference to the object: by full id, then by exact name, then by a unique prefix of the id.
//!
//! Pure: looks at one view.

use std::sync::Arc;

use swarm_model::config::Config;
use swarm_model::id::{ConfigId, ID_LEN, NodeId, ServiceId, TaskId};
use swarm_model::node::Node;
use swarm_model::outcome::Kind;
use swarm_model::service::Service;
use swarm_model::task::{Slot, Task};
use swarm_model::view::View;

use super::errors::{AMBIGUOUS, ApiError};

/// Candidates that an error lists.
const CANDIDATES_MAX: usize = 8;

/// The node called `reference`; `self` is the one that answers.
pub(super) fn node<'a>(
    view: &'a View,
    reference: &str,
    this: NodeId,
) -> Result<&'a Arc<Node>, ApiError> {
    let exact = if reference == "self" { Some(this) } else { reference.parse().ok() };
    if let Some(node) = exact.and_then(|id: NodeId| view.nodes.get(&id)) {
        return Ok(node);
    }
    let named = view.nodes.values().filter(|node| node.description.hostname == reference);
    let prefixed = range(reference).into_iter().flat_map(|(first, last)| {
        view.nodes.range(NodeId::from_raw(first)..=NodeId::from_raw(last)).map(|(_, node)| node)
    });
    let describe = |node: &&Arc<Node>| format!("{} ({})", node.id, node.description.hostname);
    pick(Kind::Node, reference, [named.collect(), prefixed.collect()], describe)
}

/// All nodes that `reference` may mean, for filters: those of the name, or of the prefix.
pub(super) fn nodes(view: &View, reference: &str, this: NodeId) -> Result<Vec<NodeId>, ApiError> {
    match node(view, reference, this) {
        Ok(node) => return Ok(vec![node.id]),
        Err(error) if error.code != AMBIGUOUS => return Err(error),
        Err(_several) => {}
    }
    let ids = |wanted: &dyn Fn(&Node) -> bool| -> Vec<NodeId> {
        view.nodes.values().filter(|node| wanted(node)).map(|node| node.id).collect()
    };
    let named = ids(&|node| node.description.hostname == reference);
    if !named.is_empty() {
        return Ok(named);
    }
    Ok(ids(&|node| node.id.to_string().starts_with(reference)))
}

/// The service called `reference`; one that is being removed has no name any more.
pub(super) fn service<'a>(view: &'a View, reference: &str) -> Result<&'a Arc<Service>, ApiError> {
    let here = |service: &&Arc<Service>| !service.removing;
    let exact = reference.parse().ok().and_then(|id: ServiceId| view.services.get(&id));
    if let Some(service) = exact.filter(here) {
        return Ok(service);
    }
    let named = reference.parse().ok().and_then(|name| view.service_named(&name));
    let prefixed = range(reference).into_iter().flat_map(|(first, last)| {
        let ids = ServiceId::from_raw(first)..=ServiceId::from_raw(last);
        view.services.range(ids).map(|(_, service)| service).filter(here)
    });
    let describe = |service: &&Arc<Service>| format!("{} ({})", service.id, service.spec.name);
    pick(Kind::Service, reference, [named.into_iter().collect(), prefixed.collect()], describe)
}

/// The config called `reference`.
pub(super) fn config<'a>(view: &'a View, reference: &str) -> Result<&'a Arc<Config>, ApiError> {
    if let Some(config) = reference.parse().ok().and_then(|id: ConfigId| view.configs.get(&id)) {
        return Ok(config);
    }
    let named = reference.parse().ok().and_then(|name| view.config_named(&name));
    let prefixed = range(reference).into_iter().flat_map(|(first, last)| {
        view.configs.range(ConfigId::from_raw(first)..=ConfigId::from_raw(last)).map(|(_, it)| it)
    });
    let describe = |config: &&Arc<Config>| format!("{} ({})", config.id, config.spec.name);
    pick(Kind::Config, reference, [named.into_iter().collect(), prefixed.collect()], describe)
}

/// The task called `reference`: `web.1`, or `batch.run3.7` of a job, is the newest active task of that
/// slot, or the newest one.
pub(super) fn task<'a>(view: &'a View, reference: &str) -> Result<&'a Arc<Task>, ApiError> {
    if let Some(task) = reference.parse().ok().and_then(|id: TaskId| view.tasks.get(&id)) {
        return Ok(task);
    }
    let named = in_slot(view, reference);
    let prefixed = range(reference).into_iter().flat_map(|(first, last)| {
        view.tasks.range(TaskId::from_raw(first)..=TaskId::from_raw(last)).map(|(_, task)| task)
    });
    let describe = |task: &&Arc<Task>| format!("{} ({})", task.id, super::tasks::name(view, task));
    pick(Kind::Task, reference, [named.into_iter().collect(), prefixed.collect()], describe)
}

fn in_slot<'a>(view: &'a View, reference: &str) -> Option<&'a Arc<Task>> {
    let (name, slot) = reference.rsplit_once('.')?;
    let called = |name: &str| view.service_named(&name.parse().ok()?);
    let in_run = name.rsplit_once(".run").and_then(|(name, run)| Some((name, run.parse().ok()?)));
    // A service may be called like the runs of a job.
    let in_run = in_run.filter(|(job, _)| {
        called(name).is_none() && called(job).is_some_and(|job| job.spec.mode.is_job())
    });
    let (name, slot) = match (in_run, slot.parse()) {
        (Some((name, run)), Ok(index)) => (name, Slot::Job { run, index }),
        (Some((name, run)), Err(_)) => (name, Slot::JobNode { run, node: slot.parse().ok()? }),
        (None, Ok(number)) => (name, Slot::Replica(number)),
        (None, Err(_)) => (name, Slot::Node(slot.parse().ok()?)),
    };
    let service = called(name)?;
    view.tasks_of(service.id)
        .filter(|task| task.slot == slot)
        .max_by_key(|task| (task.is_active(), task.meta.created_at, task.id))
}

/// The first group that has one; several in it are too many.
fn pick<T>(
    kind: Kind,
    reference: &str,
    groups: [Vec<T>; 2],
    describe: impl Fn(&T) -> String,
) -> Result<T, ApiError> {
    for mut group in groups {
        match group.len() {
            0 => {}
            1 => return Ok(group.swap_remove(0)),
            count => {
                let mut listed: Vec<_> = group.iter().take(CANDIDATES_MAX).map(&describe).collect();
                if count > CANDIDATES_MAX {
                    listed.push(format!("and {} more", count - CANDIDATES_MAX));
                }
                return Err(ApiError::ambiguous(format!(
                    "{kind} \"{reference}\" is ambiguous, use the id: {}",
                    listed.join(", ")
                )));
            }
        }
    }
    Err(ApiError::not_found(kind, reference))
}

/// The ids that begin with `prefix`, first and last.
fn range(prefix: &str) -> Option<(u128, u128)> {
    let digits = !prefix.is_empty()
        && prefix.len() <= ID_LEN
        && prefix.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
    if !digits {
        return None;
    }
    let filled = |digit: char| {
        let rest = std::iter::repeat_n(digit, ID_LEN - prefix.len());
        let text: String = prefix.chars().chain(rest).collect();
        text.parse::<NodeId>().map(NodeId::raw)
    };
    // Beyond the last id there is nothing; a range that ends there is cut.
    let first = filled('0').ok()?;
    Some((first, filled('z').unwrap_or(u128::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_prefix_covers_exactly_the_ids_that_begin_with_it(
            raw: u128,
            other: u128,
            length in 1usize..=ID_LEN,
        ) {
            let (id, other) = (NodeId::from_raw(raw), NodeId::from_raw(other));
            let text = id.to_string();
            let (first, last) = range(&text[..length]).expect("is a prefix");
            prop_assert!((first..=last).contains(&raw));
            let begins = other.to_string().starts_with(&text[..length]);
            prop_assert_eq!((first..=last).contains(&other.raw()), begins);
        }
    }

    #[test]
    fn what_cannot_begin_an_id_is_no_prefix() {
        for text in ["", "web-1", "ABC", "z", "ü"] {
            assert_eq!(range(text), None, "{text}");
        }
    }

    #[test]
    fn the_first_group_with_a_member_wins() {
        let found = pick(Kind::Node, "a", [vec![1], vec![2, 3]], i32::to_string);
        assert_eq!(found, Ok(1));
        let error = pick(Kind::Node, "a", [vec![], vec![2, 3]], i32::to_string);
        let error = error.expect_err("two of them");
        assert_eq!(error.code, "ambiguous");
        assert!(error.message.contains("2, 3"), "{}", error.message);
        let error = pick(Kind::Node, "a", [vec![], vec![]], i32::to_string);
        assert_eq!(error.expect_err("nobody").code, "not_found");
    }
}

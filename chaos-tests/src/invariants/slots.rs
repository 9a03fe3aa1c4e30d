//! O: at most one task a slot runs; counted in processes, not in what the cluster believes.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use crate::real::{Cluster, processes};

/// A task's program as the machine shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The number of its node.
    pub node: usize,
    /// Its process.
    pub pid: i32,
    /// Its task's id.
    pub task: String,
    /// Its slot.
    pub slot: String,
}

/// The programs of a service's tasks on all nodes. Children of a program do not count.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn programs(cluster: &Cluster, service: &str) -> Result<Vec<Program>> {
    let mut all = every_program(cluster)?;
    all.retain(|(name, _)| name == service);
    Ok(all.into_iter().map(|(_, program)| program).collect())
}

/// The programs of all services' tasks on all nodes, with the names of their services.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn every_program(cluster: &Cluster) -> Result<Vec<(String, Program)>> {
    let mut found = Vec::new();
    for (number, node) in cluster.nodes().iter().enumerate() {
        let all = node.task_processes()?;
        let supervisors: Vec<_> = all.iter().filter(|it| it.supervisor).map(|it| it.pid).collect();
        for process in all.iter().filter(|it| supervisors.contains(&it.parent)) {
            let variable = |name| processes::variable(process.pid, name);
            // Between fork and exec it has none yet: it does not run the program.
            if let (Some(name), Some(task), Some(slot)) = (
                variable("SWARM_SERVICE_NAME"),
                variable("SWARM_TASK_ID"),
                variable("SWARM_TASK_SLOT"),
            ) {
                found.push((name, Program { node: number, pid: process.pid, task, slot }));
            }
        }
    }
    Ok(found)
}

/// Checks that no slot of the service has two programs.
///
/// # Errors
/// The programs of such a slot.
pub fn at_most_one_task_a_slot(cluster: &Cluster, service: &str) -> Result<()> {
    let mut slots: BTreeMap<String, Program> = BTreeMap::new();
    for program in programs(cluster, service)? {
        if let Some(other) = slots.insert(program.slot.clone(), program.clone()) {
            bail!("slot {} of {service} runs twice: {other:?} and {program:?}", program.slot);
        }
    }
    Ok(())
}

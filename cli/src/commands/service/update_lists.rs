//! The many-valued options of `service update`: `--x-add` and `--x-rm`.

use clap::Args;
use swarm_model::placement::{Constraint, Preference};
use swarm_model::runtime::RuntimeSpec;
use swarm_model::service::ServiceSpec;

use super::create::environment;
use crate::commands::label_changes::LabelChanges;
use crate::exit::Failure;
use crate::output;
use crate::parse::config_mount::{self, ConfigMount};
use crate::parse::generic;

/// What is added to and removed from lists and maps; removing comes first.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct UpdateLists {
    #[command(flatten)]
    labels: LabelChanges,
    /// Set an environment variable; KEY alone passes on your own; may be repeated
    #[arg(long, value_name = "KEY[=VALUE]", help_heading = "Process")]
    env_add: Vec<String>,
    /// Set the environment variables of a file; may be repeated
    #[arg(long, value_name = "FILE", help_heading = "Process")]
    env_file_add: Vec<String>,
    /// Remove an environment variable; may be repeated
    #[arg(long, value_name = "KEY", help_heading = "Process")]
    env_rm: Vec<String>,
    /// Add a group; may be repeated
    #[arg(long, value_name = "GROUP", help_heading = "Process")]
    group_add: Vec<String>,
    /// Remove a group; may be repeated
    #[arg(long, value_name = "GROUP", help_heading = "Process")]
    group_rm: Vec<String>,
    /// Give tasks a config as a file, as in `service create`; may be repeated
    #[arg(
        long,
        value_name = "NAME|source=NAME,target=FILE,…",
        value_parser = config_mount::parse,
        help_heading = "Process"
    )]
    pub(super) config_add: Vec<ConfigMount>,
    /// Take a config away, by its name; may be repeated
    #[arg(long, value_name = "NAME", help_heading = "Process")]
    config_rm: Vec<String>,
    /// Add a constraint; may be repeated
    #[arg(long, value_name = "RULE", help_heading = "Placement")]
    constraint_add: Vec<Constraint>,
    /// Remove a constraint; may be repeated
    #[arg(long, value_name = "RULE", help_heading = "Placement")]
    constraint_rm: Vec<Constraint>,
    /// Add a placement preference behind the others; may be repeated
    #[arg(long, value_name = "PREFERENCE", help_heading = "Placement")]
    placement_pref_add: Vec<Preference>,
    /// Remove a placement preference; may be repeated
    #[arg(long, value_name = "PREFERENCE", help_heading = "Placement")]
    placement_pref_rm: Vec<Preference>,
    /// Set aside so much of what nodes offer, instead of what was set of that kind; may be repeated
    #[arg(long, value_name = "KIND=N", value_parser = generic::need, help_heading = "Resources")]
    generic_resource_add: Vec<(String, u64)>,
    /// Set nothing of a kind aside any more; may be repeated
    #[arg(long, value_name = "KIND", help_heading = "Resources")]
    generic_resource_rm: Vec<String>,
}

/// Removes, then adds what is not there yet; the order of the rest stays.
fn change<T: PartialEq>(list: &mut Vec<T>, add: Vec<T>, remove: &[T]) {
    list.retain(|item| !remove.contains(item));
    for item in add {
        if !list.contains(&item) {
            list.push(item);
        }
    }
}

impl UpdateLists {
    /// Puts what was given into `spec`; the configs to add are the caller's part.
    ///
    /// # Errors
    /// When a file or a variable is wrong.
    pub(super) fn apply(self, spec: &mut ServiceSpec) -> Result<(), Failure> {
        for warning in self.labels.apply(&mut spec.labels) {
            output::warning(&warning);
        }
        let generic = &mut spec.task_template.resources.reservations.generic;
        for kind in &self.generic_resource_rm {
            if generic.remove(kind).is_none() {
                output::warning(&format!("generic resource {kind} was not set"));
            }
        }
        generic.extend(self.generic_resource_add);
        let placement = &mut spec.task_template.placement;
        change(&mut placement.constraints, self.constraint_add, &self.constraint_rm);
        change(&mut placement.preferences, self.placement_pref_add, &self.placement_pref_rm);
        let RuntimeSpec::Process(process) = &mut spec.task_template.runtime;
        process.env.retain(|key, _| !self.env_rm.contains(key));
        process.env.extend(environment(&self.env_file_add, &self.env_add)?);
        change(&mut process.groups, self.group_add, &self.group_rm);
        process.configs.retain(|config| {
            let id = config.config.to_string();
            !self.config_rm.iter().any(|removed| *removed == config.name || *removed == id)
        });
        Ok(())
    }
}

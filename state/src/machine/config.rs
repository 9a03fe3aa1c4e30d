//! Commands about configs.

use swarm_model::config::{Config, ConfigSpec};
use swarm_model::event::{Action, Subject};
use swarm_model::id::ConfigId;
use swarm_model::meta::Version;
use swarm_model::outcome::{Done, Kind, Outcome, Rejection};
use swarm_model::runtime::RuntimeSpec;
use swarm_model::service::SpecError;

use super::Change;

impl Change<'_> {
    pub(super) fn create_config(&mut self, id: ConfigId, spec: &ConfigSpec) -> Outcome {
        let invalid = |error| Rejection::Invalid { kind: Kind::Config, error };
        spec.validate().map_err(invalid)?;
        let known = self.view.configs.contains_key(&id);
        if known || self.view.config_names.contains_key(&spec.name) {
            let name = spec.name.to_string();
            return Err(Rejection::NameTaken { kind: Kind::Config, name });
        }
        let config = Config { id, meta: self.new_meta(), spec: spec.clone() };
        Ok(self.put_config(config, Action::Create))
    }

    fn put_config(&mut self, config: Config, action: Action) -> Done {
        self.emit(Subject::Config(config.id), action, config.spec.name.as_str(), &[]);
        let done = Done::Config(config.id, config.meta.version);
        self.view.put_config(config);
        done
    }

    fn config(&self, id: ConfigId) -> Result<Config, Rejection> {
        let missing = || Rejection::NotFound { kind: Kind::Config, reference: id.to_string() };
        self.view.configs.get(&id).map(|config| Config::clone(config)).ok_or_else(missing)
    }

    pub(super) fn update_config(
        &mut self,
        id: ConfigId,
        given: Option<Version>,
        spec: &ConfigSpec,
    ) -> Outcome {
        let invalid = |error| Rejection::Invalid { kind: Kind::Config, error };
        let mut config = self.config(id)?;
        let have = config.meta.version;
        if let Some(given) = given.filter(|given| *given != have) {
            let name = config.spec.name.to_string();
            return Err(Rejection::VersionConflict { kind: Kind::Config, name, have, given });
        }
        if config.spec.name != spec.name {
            return Err(invalid(SpecError::new("Name", "a config keeps its name for ever")));
        }
        spec.validate().map_err(invalid)?;
        if config.spec == *spec {
            return Ok(Done::Config(id, have));
        }
        config.spec = spec.clone();
        config.meta.touch(self.at, self.now);
        Ok(self.put_config(config, Action::Update))
    }

    pub(super) fn remove_config(&mut self, id: ConfigId) -> Outcome {
        let config = self.config(id)?;
        let name = config.spec.name.to_string();
        let users: Vec<String> = self
            .view
            .services
            .values()
            .filter(|service| !service.removing)
            .filter(|service| {
                let RuntimeSpec::Process(process) = &service.template.runtime;
                process.configs.iter().any(|reference| reference.config == id)
            })
            .map(|service| format!("service {}", service.spec.name))
            .collect();
        if !users.is_empty() {
            return Err(Rejection::InUse { kind: Kind::Config, name, users });
        }
        self.view.remove_config(id);
        self.emit(Subject::Config(id), Action::Remove, &name, &[]);
        Ok(Done::Config(id, self.at.into()))
    }
}

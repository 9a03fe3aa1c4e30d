//! Commands about services: declare, declare anew, remove.

use std::sync::Arc;

use swarm_model::event::{Action, Subject};
use swarm_model::id::ServiceId;
use swarm_model::meta::Version;
use swarm_model::outcome::{Done, Kind, Outcome, Rejection};
use swarm_model::runtime::RuntimeSpec;
use swarm_model::schedule::ScheduleState;
use swarm_model::service::{Service, ServiceMode, ServiceSpec, SpecError};

use super::Change;

fn invalid(error: SpecError) -> Rejection {
    Rejection::Invalid { kind: Kind::Service, error }
}

fn same_kind(a: ServiceMode, b: ServiceMode) -> bool {
    std::mem::discriminant(&a) == std::mem::discriminant(&b)
}

impl Change<'_> {
    pub(super) fn check_spec(&self, spec: &ServiceSpec) -> Result<(), Rejection> {
        spec.validate().map_err(invalid)?;
        let RuntimeSpec::Process(process) = &spec.task_template.runtime;
        for config in &process.configs {
            if !self.view.configs.contains_key(&config.config) {
                let reason = format!("config {} does not exist: create it first", config.name);
                return Err(invalid(SpecError::new(
                    "TaskTemplate.Runtime.Process.Configs",
                    reason,
                )));
            }
        }
        Ok(())
    }

    fn service(&self, id: ServiceId) -> Result<Service, Rejection> {
        let missing = || Rejection::NotFound { kind: Kind::Service, reference: id.to_string() };
        let service = self.view.services.get(&id).ok_or_else(missing)?;
        if service.removing { Err(missing()) } else { Ok(Service::clone(service)) }
    }

    pub(super) fn create_service(&mut self, id: ServiceId, spec: &ServiceSpec) -> Outcome {
        self.check_spec(spec)?;
        let known = self.view.services.contains_key(&id);
        if known || self.view.service_names.contains_key(&spec.name) {
            let name = spec.name.to_string();
            return Err(Rejection::NameTaken { kind: Kind::Service, name });
        }
        let service = Service {
            id,
            meta: self.new_meta(),
            spec: Arc::new(spec.clone()),
            previous_spec: None,
            template_version: self.at.into(),
            template: Arc::new(spec.task_template.clone()),
            removing: false,
            update: None,
            schedule: spec.schedule.as_ref().map(|_| ScheduleState { cursor: self.now }),
        };
        let done = self.put_service(service.clone(), Action::Create);
        if service.spec.mode.is_job() && service.schedule.is_none() {
            self.start_run(&service, None);
        }
        Ok(done)
    }

    /// A service that is not being removed.
    ///
    /// # Errors
    /// When there is none, or it is not at the version that was given.
    pub(super) fn service_at(
        &self,
        id: ServiceId,
        given: Option<Version>,
    ) -> Result<Service, Rejection> {
        let service = self.service(id)?;
        let have = service.meta.version;
        match given.filter(|given| *given != have) {
            None => Ok(service),
            Some(given) => {
                let name = service.spec.name.to_string();
                Err(Rejection::VersionConflict { kind: Kind::Service, name, have, given })
            }
        }
    }

    /// Stores a service that changed and says so.
    pub(super) fn put_service(&mut self, service: Service, action: Action) -> Done {
        let name = service.spec.name.to_string();
        let mut attributes = vec![("mode", service.spec.mode.word().to_owned())];
        match service.spec.mode {
            ServiceMode::Replicated { replicas } => {
                attributes.push(("replicas", replicas.to_string()));
            }
            ServiceMode::ReplicatedJob { completions, .. } => {
                attributes.push(("completions", completions.to_string()));
            }
            ServiceMode::Global {} | ServiceMode::GlobalJob {} => {}
        }
        let before = self.view.services.get(&service.id).and_then(|old| old.update.as_ref());
        if let Some(update) = service.update.as_ref().filter(|update| before != Some(update)) {
            attributes.push(("update", update.word().to_owned()));
            attributes.push(("reason", update.reason.clone()));
        }
        self.emit(Subject::Service(service.id), action, &name, &attributes);
        let done = Done::Service(service.id, service.meta.version);
        self.view.put_service(service);
        done
    }

    pub(super) fn update_service(
        &mut self,
        id: ServiceId,
        given: Option<Version>,
        spec: &ServiceSpec,
        steered: bool,
    ) -> Outcome {
        let mut service = self.service_at(id, given)?;
        if service.spec.name != spec.name {
            return Err(invalid(SpecError::new("Name", "a service keeps its name for ever")));
        }
        if !same_kind(service.spec.mode, spec.mode) {
            return Err(invalid(SpecError::new("Mode", "a service keeps its mode for ever")));
        }
        self.check_spec(spec)?;
        if *service.spec == *spec {
            let have = service.meta.version;
            return Ok(if steered { self.resume(service) } else { Done::Service(id, have) });
        }
        if steered {
            self.steer(&mut service, spec);
            return Ok(self.put_renewed(service));
        }
        if service.spec.task_template != spec.task_template {
            service.template_version = self.at.into();
            service.template = Arc::new(spec.task_template.clone());
            service.update = None;
        }
        service.previous_spec = Some(service.spec);
        service.spec = Arc::new(spec.clone());
        service.meta.touch(self.at, self.now);
        Ok(self.put_service(service, Action::Update))
    }

    pub(super) fn remove_service(&mut self, id: ServiceId) -> Outcome {
        let mut service = self.service(id)?;
        service.removing = true;
        service.meta.touch(self.at, self.now);
        Ok(self.put_service(service, Action::Remove))
    }
}

//! Updates and rollbacks of services: how they begin, step by step to their end, and what is remembered.
//!
//! Which step is due is the leader's decision; whether it still can be taken is decided here.

use std::sync::Arc;

use swarm_model::event::Action;
use swarm_model::id::ServiceId;
use swarm_model::job::RunPhase;
use swarm_model::meta::Version;
use swarm_model::outcome::{Done, Outcome, Rejection};
use swarm_model::schedule::ScheduleState;
use swarm_model::service::{Service, ServiceSpec};
use swarm_model::task::TaskTemplate;
use swarm_model::task_state::ObservedState;
use swarm_model::update::{
    Canary, Cause, History, SpecRecord, UpdateKind, UpdatePhase, UpdateState, UpdateStep,
};

use super::Change;

impl Change<'_> {
    /// Gives `service` another spec by the rules of updates: a new template becomes an update, the old
    /// spec is remembered.
    pub(super) fn steer(&mut self, service: &mut Service, spec: &ServiceSpec) {
        self.note_standing(service);
        if service.spec.task_template != spec.task_template {
            let (to, template) = self.known_template(service.id, &spec.task_template);
            let canary = spec.update.canary.map(|_share| Canary::Trying);
            self.begin(service, UpdateKind::Update, to, template, canary, String::new());
        }
        self.renew(service, Arc::new(spec.clone()), Cause::Updated);
    }

    /// The same spec once more lets a paused update go on, as a new one: what failed is forgotten.
    pub(super) fn resume(&mut self, mut service: Service) -> Done {
        match &mut service.update {
            Some(update) if update.phase == UpdatePhase::Paused => {
                update.id = self.at;
                update.phase = UpdatePhase::Rolling;
                update.started_at = self.now;
                update.reason.clear();
            }
            Some(_) | None => return Done::Service(service.id, service.meta.version),
        }
        service.meta.touch(self.at, self.now);
        self.put_service(service, Action::Update)
    }

    pub(super) fn rollback_service(
        &mut self,
        id: ServiceId,
        given: Option<Version>,
        to: Option<Version>,
    ) -> Outcome {
        let mut service = self.service_at(id, given)?;
        let history = self.view.histories.get(&id);
        let found = history.and_then(|history| match to {
            Some(version) => history.find(version),
            None => history.before(service.template_version),
        });
        let Some(record) = found.cloned() else {
            let kept = history.map(|history| history.records()).unwrap_or_default();
            // What was never changed has but itself.
            let kept = if kept.len() < 2 { &[] } else { kept };
            return Err(Rejection::NoSuchVersion {
                service: service.spec.name.to_string(),
                given: to,
                kept: kept.iter().map(|record| record.version).collect(),
            });
        };
        self.check_spec(&record.spec)?;
        if record.spec == service.spec {
            return Ok(self.resume(service));
        }
        self.note_standing(&service);
        self.go_back(&mut service, record, String::new());
        Ok(self.put_renewed(service))
    }

    pub(super) fn pause_update(&mut self, id: ServiceId, paused: bool) -> Outcome {
        let mut service = self.service_at(id, None)?;
        let name = service.spec.name.to_string();
        let state = service.update.as_ref().map_or("there was none yet", UpdateState::word);
        let verb = if paused { "stop" } else { "go on" };
        let (verb, state) = (verb.to_owned(), state.to_owned());
        let unfit = Rejection::NoUpdate { service: name, verb, state };
        let Some(update) = &mut service.update else { return Err(unfit) };
        match (update.phase, paused) {
            (UpdatePhase::Rolling, true) => {
                update.phase = UpdatePhase::Paused;
                "a user asked for it".clone_into(&mut update.reason);
            }
            (UpdatePhase::Paused, false) => {
                update.phase = UpdatePhase::Rolling;
                update.reason.clear();
            }
            (UpdatePhase::Rolling | UpdatePhase::Paused | UpdatePhase::Completed, _) => {
                return Err(unfit);
            }
        }
        service.meta.touch(self.at, self.now);
        Ok(self.put_service(service, Action::Update))
    }

    /// Lets a canary that has proven itself be followed by the others.
    pub(super) fn promote_update(&mut self, id: ServiceId) -> Outcome {
        let mut service = self.service_at(id, None)?;
        match &mut service.update {
            Some(update) if update.awaits_promotion() => {
                update.canary = Some(Canary::Promoted);
            }
            other => {
                let state = other.as_ref().map_or("there was none yet", UpdateState::word);
                let (verb, state) = ("be promoted".to_owned(), state.to_owned());
                let service = service.spec.name.to_string();
                return Err(Rejection::NoUpdate { service, verb, state });
            }
        }
        service.meta.touch(self.at, self.now);
        Ok(self.put_service(service, Action::Update))
    }

    /// Takes the update one step on; `None` when it is not the one that this was decided for.
    pub(super) fn step_update(
        &mut self,
        id: ServiceId,
        version: Version,
        step: &UpdateStep,
    ) -> Option<()> {
        let found = self.view.services.get(&id)?;
        let mut service = Service::clone(found);
        let update = service.update.as_mut().filter(|it| it.phase == UpdatePhase::Rolling)?;
        if service.meta.version != version || service.removing {
            return None;
        }
        match step {
            UpdateStep::Pause { reason } => pause(update, reason.clone()),
            UpdateStep::Complete { reason } => {
                update.phase = UpdatePhase::Completed;
                update.ended_at = Some(self.now);
                if reason.is_empty() {
                    let stands = update.to;
                    self.history(id).note_stood(stands);
                } else {
                    let before = if update.reason.is_empty() { "" } else { "; " };
                    update.reason = format!("{}{before}{reason}", update.reason);
                }
            }
            UpdateStep::Prove { .. } if update.canary != Some(Canary::Trying) => return None,
            UpdateStep::Prove { promoted } => {
                let on = if *promoted { Canary::Promoted } else { Canary::Waiting };
                update.canary = Some(on);
            }
            UpdateStep::RollBack { .. } if update.kind == UpdateKind::Rollback => return None,
            UpdateStep::RollBack { reason } => {
                let proven = self.view.histories.get(&id);
                let proven = proven.and_then(|history| history.proven(service.template_version));
                match proven.cloned().map(|record| (self.check_spec(&record.spec), record)) {
                    Some((Ok(()), record)) => {
                        self.go_back(&mut service, record, reason.clone());
                        self.put_renewed(service);
                        return Some(());
                    }
                    Some((Err(refused), _)) => {
                        pause(update, format!("{reason}; it cannot go back: {refused}"));
                    }
                    None => {
                        let none = "there is nothing to go back to: no version before it ever ran";
                        pause(update, format!("{reason}; {none}"));
                    }
                }
            }
        }
        service.meta.touch(self.at, self.now);
        self.put_service(service, Action::Update);
        Some(())
    }

    /// Gives the service the spec of `record` again, template version and all: tasks that were made from
    /// it are current once more.
    fn go_back(&mut self, service: &mut Service, record: SpecRecord, reason: String) {
        if record.template_version != service.template_version {
            let template = self.known_template(service.id, &record.spec.task_template).1;
            let to = record.template_version;
            self.begin(service, UpdateKind::Rollback, to, template, None, reason);
        }
        self.renew(service, record.spec, Cause::RolledBack { to: record.version });
    }

    /// Stores a service that has another spec now; a job with another template starts a run, unless it has
    /// a schedule to do so.
    pub(super) fn put_renewed(&mut self, service: Service) -> Done {
        let before = self.view.services.get(&service.id).map(|old| old.template_version);
        let anew = service.spec.mode.is_job() && service.schedule.is_none();
        let anew = anew && before != Some(service.template_version);
        let done = self.put_service(service.clone(), Action::Update);
        if anew {
            self.run_anew(&service);
        }
        // Fewer may be wanted now.
        self.forget_runs(&service);
        done
    }

    /// Another template, which tasks have to be brought to, if there are any. A job's tasks stay what they
    /// are: its runs are replaced.
    fn begin(
        &mut self,
        service: &mut Service,
        kind: UpdateKind,
        to: Version,
        template: Arc<TaskTemplate>,
        canary: Option<Canary>,
        reason: String,
    ) {
        let has_tasks = self.view.tasks_of(service.id).next().is_some();
        let replaces = has_tasks && !service.spec.mode.is_job();
        service.update = replaces.then_some(UpdateState {
            id: self.at,
            kind,
            phase: UpdatePhase::Rolling,
            from: service.template_version,
            to,
            started_at: self.now,
            ended_at: None,
            reason,
            canary,
        });
        service.template_version = to;
        service.template = template;
    }

    /// The version under which `template` is known already, if it is, and the shared template.
    fn known_template(
        &self,
        id: ServiceId,
        template: &TaskTemplate,
    ) -> (Version, Arc<TaskTemplate>) {
        let history = self.view.histories.get(&id);
        let records = history.map(|history| history.records()).unwrap_or_default();
        let known = records.iter().rev().find(|record| record.spec.task_template == *template);
        let version = known.map_or(self.at.into(), |record| record.template_version);
        (version, self.view.shared_template(id, version, template))
    }

    /// Puts `spec` in the place of the service's, and remembers it.
    fn renew(&mut self, service: &mut Service, spec: Arc<ServiceSpec>, cause: Cause) {
        service.previous_spec = Some(std::mem::replace(&mut service.spec, spec));
        retry_canary(service);
        let before = service.previous_spec.as_ref().and_then(|spec| spec.schedule.as_ref());
        service.schedule = match (&service.spec.schedule, before) {
            (None, _) => None,
            (Some(now), Some(before)) if now.is_at(before) => service.schedule,
            // Times that it was not due at by the former schedule were not missed; those that were decided
            // on by another clock were that.
            (Some(_), _) => {
                let before = service.schedule.map(|schedule| schedule.cursor);
                Some(ScheduleState { cursor: before.map_or(self.now, |it| it.max(self.now)) })
            }
        };
        service.meta.touch(self.at, self.now);
        let by = Some(self.actor.clone());
        let (spec, template_version) = (service.spec.clone(), service.template_version);
        let (version, at) = (service.meta.version, self.now);
        let history = self.history(service.id);
        let mut records = history.records().iter();
        let stood =
            records.any(|record| record.stood && record.template_version == template_version);
        history.push(SpecRecord { version, template_version, spec, at, by, cause, stood });
    }

    /// Before the spec changes: the history begins with what is there, and a template that runs without
    /// an update is one to go back to.
    fn note_standing(&mut self, service: &Service) {
        let template_version = service.template_version;
        let first = !self.view.histories.contains_key(&service.id);
        if first {
            self.history(service.id).push(SpecRecord {
                version: service.meta.version,
                template_version,
                spec: service.spec.clone(),
                at: service.meta.updated_at,
                by: None,
                cause: Cause::Created,
                stood: false,
            });
        }
        let runs = self.view.tasks_of(service.id).any(|task| {
            let runs = task.status.state == ObservedState::Running;
            runs && task.template_version == template_version
        });
        // What runs prove later is noted when they are complete.
        let ran = first && self.view.runs_of(service.id).any(|run| run.phase == RunPhase::Complete);
        let open = service.update.as_ref().is_some_and(UpdateState::is_open);
        if ran || runs && !open && !service.spec.mode.is_job() {
            self.history(service.id).note_stood(template_version);
        }
    }

    pub(super) fn history(&mut self, id: ServiceId) -> &mut History {
        Arc::make_mut(self.view.histories.entry(id).or_default())
    }
}

/// A canary that is another one by the new spec is tried anew, unless the others have their turn already.
fn retry_canary(service: &mut Service) {
    let canary = |spec: &ServiceSpec| (spec.update.canary, spec.update.auto_promote);
    if service.previous_spec.as_deref().map(canary) == Some(canary(&service.spec)) {
        return;
    }
    let share = service.spec.update.canary;
    if let Some(update) = &mut service.update
        && update.kind == UpdateKind::Update
        && update.is_open()
        && update.canary != Some(Canary::Promoted)
    {
        update.canary = share.map(|_| Canary::Trying);
    }
}

fn pause(update: &mut UpdateState, reason: String) {
    update.phase = UpdatePhase::Paused;
    update.reason = reason;
}

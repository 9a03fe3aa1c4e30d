//! A request to change the one object that its path names: what updates and removals have in common.
//! Nodes have their own way, since they are decided on as they are.

use std::fmt::Display;

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;

use swarm_model::command::Op;
use swarm_model::id::{ConfigId, ServiceId};
use swarm_model::view::View;

use super::errors::ApiError;
use super::request::Write;
use super::resolve;
use super::state::Api;
use super::types::Written;
use super::written;

/// A change of the object that `{ref}` stands for.
#[derive(Debug)]
pub(super) struct Change {
    api: Api,
    reference: String,
    write: Write,
}

impl FromRequestParts<Api> for Change {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let path = Path::from_request_parts(parts, api).await;
        let Path(reference) = path.map_err(|error| ApiError::invalid(error.to_string()))?;
        let write = Write::from_request_parts(parts, api).await?;
        Ok(Self { api: api.clone(), reference, write })
    }
}

impl Change {
    /// Finds the service and has `op` done to it.
    pub(super) async fn service(
        &self,
        op: impl FnOnce(ServiceId) -> Op,
    ) -> Result<Written, ApiError> {
        self.apply(|view| Ok(resolve::service(view, &self.reference)?.id), op).await
    }

    /// Finds the config and has `op` done to it.
    pub(super) async fn config(
        &self,
        op: impl FnOnce(ConfigId) -> Op,
    ) -> Result<Written, ApiError> {
        self.apply(|view| Ok(resolve::config(view, &self.reference)?.id), op).await
    }

    async fn apply<T: Copy + Display>(
        &self,
        find: impl Fn(&View) -> Result<T, ApiError>,
        op: impl FnOnce(T) -> Op,
    ) -> Result<Written, ApiError> {
        let id = self.api.settle(&self.reference, find).await?;
        let applied = self.api.propose(&self.write, op(id)).await?;
        Ok(written::of(&applied, id))
    }
}

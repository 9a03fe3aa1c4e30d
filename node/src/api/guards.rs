//! How the API's document describes the parameters under which a change may be refused.
//!
//! `request` reads them.

use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::{IntoParams, PartialSchema as _};

use super::request::{GUARD, VERSION};

/// `if-revision`, of changes that were decided on a plan.
#[derive(Debug)]
pub(super) struct IfRevision;

impl IntoParams for IfRevision {
    fn into_params(_place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![number(GUARD, "refuse when specs, nodes or configs changed since")]
    }
}

/// `version`, of changes that were decided on one object.
#[derive(Debug)]
pub(super) struct IfVersion;

impl IntoParams for IfVersion {
    fn into_params(_place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![number(VERSION, "refuse when it has another one by now")]
    }
}

fn number(name: &str, description: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(u64::schema()))
        .build()
}

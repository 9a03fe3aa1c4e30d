//! `/v1/openapi.json`: the machine-readable description of the API, from the handlers themselves.

use std::sync::OnceLock;

use axum::response::Response;
use utoipa::OpenApi;

use super::answer;
use super::errors::ApiError;
use super::request::Params;
use super::{
    cluster, configs, events, exec, explain, files, forward, info, logs, nodes, plan, rebalance,
    recovery, runs, services, tasks, tokens, top, updates,
};

#[derive(Debug, OpenApi)]
#[openapi(
    info(title = "swarm", description = "REST API of a swarm node, on its local Unix socket"),
    paths(
        info::ping,
        info::version,
        info::info,
        info::status,
        info::clocks,
        document,
        cluster::inspect,
        cluster::update,
        cluster::leave,
        recovery::report,
        recovery::recover,
        recovery::backup,
        tokens::standing,
        tokens::rotate,
        tokens::create,
        nodes::list,
        nodes::inspect,
        nodes::update,
        nodes::remove,
        services::list,
        services::create,
        services::inspect,
        services::update,
        services::remove,
        updates::rollback,
        updates::pause,
        updates::promote,
        updates::history,
        updates::diff,
        runs::list,
        runs::start,
        runs::stop,
        explain::explain,
        plan::plan,
        rebalance::rebalance,
        logs::of_service,
        logs::of_task,
        exec::exec,
        files::copy,
        forward::to_service,
        forward::to_task,
        top::of_all,
        top::of_service,
        top::of_task,
        tasks::list,
        tasks::inspect,
        configs::list,
        configs::create,
        configs::inspect,
        configs::update,
        configs::remove,
        events::stream,
    )
)]
struct Document;

/// Describes the API.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "info",
    responses((status = 200, description = "this document", body = utoipa::openapi::Object)))]
pub(super) async fn document(params: Params) -> Result<Response, ApiError> {
    static WRITTEN: OnceLock<String> = OnceLock::new();
    params.allow(&[])?;
    if WRITTEN.get().is_none() {
        let document = Document::openapi().to_json();
        let document = document.map_err(|error| ApiError::internal(error.to_string()))?;
        // Another request may have been faster: it wrote the same.
        let _same = WRITTEN.set(document);
    }
    WRITTEN
        .get()
        .map(|document| answer::written_json(document))
        .ok_or_else(|| ApiError::internal("the document was just written"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use crate::api::routes;

    #[test]
    fn every_route_is_described_and_every_description_has_a_route() {
        let document = serde_json::to_value(Document::openapi()).expect("is json");
        let paths = document["paths"].as_object().expect("has paths");
        let described: BTreeSet<(String, String)> = paths
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().expect("is an object").keys();
                methods.map(move |method| (path.clone(), method.clone()))
            })
            .collect();
        let routed: BTreeSet<(String, String)> = routes::all()
            .iter()
            .map(|route| (route.path.to_owned(), route.method.to_owned()))
            .collect();
        assert_eq!(described, routed);
    }

    #[test]
    fn every_schema_that_is_named_is_there() {
        let text = Document::openapi().to_json().expect("is json");
        let document: serde_json::Value = serde_json::from_str(&text).expect("is json");
        let schemas = document["components"]["schemas"].as_object().expect("has schemas");
        for named in text.split("#/components/schemas/").skip(1) {
            let name = named.split('"').next().expect("ends");
            assert!(schemas.contains_key(name), "{name} is missing");
        }
    }
}

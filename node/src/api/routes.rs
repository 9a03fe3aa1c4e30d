//! Every route of the API: method, path, handler.

use axum::Router;
use axum::routing::{MethodRouter, delete, get, post};
use http::{Method, Uri};

use super::errors::ApiError;
use super::state::Api;
use super::{
    cluster, configs, events, exec, explain, files, forward, info, logs, nodes, openapi, plan,
    rebalance, recovery, runs, services, tasks, tokens, top, updates,
};

/// One route.
pub(super) struct Route {
    /// `get`, `post` or `delete`.
    #[cfg_attr(not(test), expect(dead_code, reason = "compared with the document by a test"))]
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    handler: MethodRouter<Api>,
}

/// All of them.
pub(super) fn all() -> Vec<Route> {
    let route = |method, path, handler| Route { method, path, handler };
    vec![
        route("get", "/v1/ping", get(info::ping)),
        route("get", "/v1/version", get(info::version)),
        route("get", "/v1/info", get(info::info)),
        route("get", "/v1/status", get(info::status)),
        route("get", "/v1/clocks", get(info::clocks)),
        route("get", "/v1/openapi.json", get(openapi::document)),
        route("get", "/v1/cluster", get(cluster::inspect)),
        route("post", "/v1/cluster/update", post(cluster::update)),
        route("post", "/v1/leave", post(cluster::leave)),
        route("get", "/v1/recovery", get(recovery::report)),
        route("post", "/v1/recovery", post(recovery::recover)),
        route("post", "/v1/backup", post(recovery::backup)),
        route("get", "/v1/tokens/{role}", get(tokens::standing)),
        route("post", "/v1/tokens/{role}/rotate", post(tokens::rotate)),
        route("post", "/v1/tokens", post(tokens::create)),
        route("get", "/v1/nodes", get(nodes::list)),
        route("get", "/v1/nodes/{ref}", get(nodes::inspect)),
        route("post", "/v1/nodes/{ref}/update", post(nodes::update)),
        route("delete", "/v1/nodes/{ref}", delete(nodes::remove)),
        route("get", "/v1/services", get(services::list)),
        route("post", "/v1/services/create", post(services::create)),
        route("get", "/v1/services/{ref}", get(services::inspect)),
        route("post", "/v1/services/{ref}/update", post(services::update)),
        route("delete", "/v1/services/{ref}", delete(services::remove)),
        route("post", "/v1/services/{ref}/rollback", post(updates::rollback)),
        route("post", "/v1/services/{ref}/pause", post(updates::pause)),
        route("post", "/v1/services/{ref}/promote", post(updates::promote)),
        route("get", "/v1/services/{ref}/history", get(updates::history)),
        route("get", "/v1/services/{ref}/diff", get(updates::diff)),
        route("get", "/v1/services/{ref}/runs", get(runs::list)),
        route("post", "/v1/services/{ref}/run", post(runs::start)),
        route("post", "/v1/services/{ref}/stop-run", post(runs::stop)),
        route("get", "/v1/services/{ref}/explain", get(explain::explain)),
        route("get", "/v1/services/{ref}/logs", get(logs::of_service)),
        route("post", "/v1/plan", post(plan::plan)),
        route("post", "/v1/rebalance", post(rebalance::rebalance)),
        route("get", "/v1/tasks", get(tasks::list)),
        route("get", "/v1/tasks/{ref}", get(tasks::inspect)),
        route("get", "/v1/top", get(top::of_all)),
        route("get", "/v1/services/{ref}/top", get(top::of_service)),
        route("get", "/v1/tasks/{ref}/top", get(top::of_task)),
        route("get", "/v1/tasks/{ref}/logs", get(logs::of_task)),
        route("post", "/v1/tasks/{ref}/exec", post(exec::exec)),
        route("post", "/v1/services/{ref}/forward", post(forward::to_service)),
        route("post", "/v1/tasks/{ref}/forward", post(forward::to_task)),
        route("post", "/v1/tasks/{ref}/files", post(files::copy)),
        route("get", "/v1/configs", get(configs::list)),
        route("post", "/v1/configs/create", post(configs::create)),
        route("get", "/v1/configs/{ref}", get(configs::inspect)),
        route("post", "/v1/configs/{ref}/update", post(configs::update)),
        route("delete", "/v1/configs/{ref}", delete(configs::remove)),
        route("get", "/v1/events", get(events::stream)),
    ]
}

/// The router over all routes.
pub(super) fn router(api: Api) -> Router {
    all()
        .into_iter()
        .fold(Router::new(), |router, route| router.route(route.path, route.handler))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .with_state(api)
}

async fn unknown(method: Method, uri: Uri) -> ApiError {
    let path = uri.path();
    ApiError::no_route(format!("there is no {method} {path}: see /v1/openapi.json"))
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    let path = uri.path();
    ApiError::wrong_method(format!("{path} has no method {method}: see /v1/openapi.json"))
}

//! `/v1/tasks/{ref}/exec`: one more program in a running task.

use axum::extract::{Path, Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::backend::Reach;
use super::consistency::Read;
use super::errors::ApiError;
use super::request::Params;
use super::session::Client;
use super::state::Api;
use super::types::ErrorBody;
use crate::chunk::Size;
use crate::reach::exec::ExecAsk;
use crate::runtime::{Errand, ExecRequest};

/// Bytes of all arguments and variables.
const WORDS_MAX: usize = 256 << 10;
/// Names that swarm gives: what they say of the task must stay true.
const OWN_PREFIX: &str = "SWARM_";

/// What to run in a task.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ExecSpec {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Variables on top of the task's, each `NAME=VALUE`.
    #[serde(default)]
    pub env: Vec<String>,
    /// `user`, `uid`, `user:group` or `uid:gid` instead of the task's.
    #[serde(default)]
    pub user: Option<String>,
    /// An absolute path instead of the task's working directory.
    #[serde(default)]
    pub work_dir: Option<String>,
    /// The size of its terminal; without one it has pipes.
    #[serde(default)]
    pub terminal: Option<Size>,
    /// Whether it gets input.
    #[serde(default)]
    pub input: bool,
}

impl ExecSpec {
    fn into_request(self) -> Result<ExecRequest, ApiError> {
        let length: usize = self.command.iter().chain(&self.env).map(String::len).sum();
        if length > WORDS_MAX {
            let over = format!("{length} bytes of arguments and variables are over the limit");
            return Err(ApiError::too_large(format!("{over} of {WORDS_MAX}")));
        }
        if self.command.first().is_none_or(String::is_empty) {
            return Err(ApiError::invalid("Command is empty: name a program"));
        }
        let variable = |text: String| match text.split_once('=') {
            Some((name, _)) if name.starts_with(OWN_PREFIX) => {
                Err(ApiError::invalid(format!("Env: {name} is what swarm says of the task")))
            }
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            Some(_) | None => Err(ApiError::invalid(format!("Env: \"{text}\" is not NAME=VALUE"))),
        };
        Ok(ExecRequest {
            errand: Errand::Run(self.command),
            env: self.env.into_iter().map(variable).collect::<Result<_, _>>()?,
            user: self.user,
            workdir: self.work_dir,
            terminal: self.terminal,
            input: self.input,
        })
    }
}

/// Runs a program in a task.
///
/// Needs `Connection: Upgrade` and `Upgrade: swarm-chunks`; see docs/api.md for what follows the answer.
#[utoipa::path(post, path = "/v1/tasks/{ref}/exec", tag = "tasks", request_body = ExecSpec,
    params(("ref" = String, Path,
            description = "id, unique prefix of the id, or name like web.1"),
        ("stale" = Option<bool>, Query)),
    responses((status = 101, description = "the connection carries chunks from now on"),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn exec(
    State(api): State<Api>,
    Path(reference): Path<String>,
    params: Params,
    read: Read,
    request: Request,
) -> Result<Response, ApiError> {
    params.allow(&["stale"])?;
    let (client, spec) = Client::asking::<ExecSpec>(request, &api).await?;
    let request = spec.into_request()?;
    let ask = |task| Reach::Exec(ExecAsk { task, request });
    client.talk(&api, &read, &reference, ask).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(command: &[&str], env: &[&str]) -> Result<ExecRequest, ApiError> {
        let words = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let (command, env) = (words(command), words(env));
        ExecSpec { command, env, ..ExecSpec::default() }.into_request()
    }

    #[test]
    fn what_cannot_be_run_is_refused_with_what_would_be_right() {
        let refused = |command: &[&str], env: &[&str], word: &str| {
            let error = spec(command, env).expect_err(word);
            assert!(error.message.contains(word), "{}", error.message);
        };
        refused(&[], &[], "name a program");
        refused(&[""], &[], "name a program");
        refused(&["a"], &["B"], "NAME=VALUE");
        refused(&["a"], &["=B"], "NAME=VALUE");
        refused(&["a"], &["SWARM_TASK_ID=1"], "what swarm says");
        refused(&[&"a".repeat(WORDS_MAX + 1)], &[], "over the limit");
        let made = spec(&["a", ""], &["B=c=d"]).expect("is fine");
        assert_eq!(made.env, [("B".to_owned(), "c=d".to_owned())]);
    }
}

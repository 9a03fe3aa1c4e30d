//! Error answers of the API as failures of a command.

use http::StatusCode;
use swarm_node::api::types::ErrorBody;

use crate::exit::{Exit, Failure};

/// The failure that `status` and `body` speak of.
pub(super) fn failure(status: StatusCode, body: &[u8]) -> Failure {
    if let Ok(error) = serde_json::from_slice::<ErrorBody>(body) {
        return of_body(error);
    }
    let exit = match status {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => Exit::Usage,
        StatusCode::NOT_FOUND => Exit::NotFound,
        StatusCode::CONFLICT => Exit::Conflict,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => Exit::Unreachable,
        _ => Exit::Failed,
    };
    let text = String::from_utf8_lossy(body);
    Failure::new(exit, format!("the node answered {status}: {}", text.trim()))
}

/// The failure that an error body speaks of.
pub(super) fn of_body(error: ErrorBody) -> Failure {
    Failure::new(Exit::of_api_code(&error.code), error.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_decide_and_statuses_stand_in() {
        let body = br#"{"Message":"service web not found","Code":"not_found"}"#;
        let known = failure(StatusCode::NOT_FOUND, body);
        assert_eq!((known.exit, known.message.as_str()), (Exit::NotFound, "service web not found"));
        let bare = failure(StatusCode::PAYLOAD_TOO_LARGE, b"length limit exceeded");
        assert_eq!(bare.exit, Exit::Failed);
        assert!(bare.message.contains("length limit"), "{bare}");
    }
}

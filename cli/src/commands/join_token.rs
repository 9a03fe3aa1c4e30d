//! `swarm join-token`: the tokens that new nodes join with.

use std::time::Duration;

use clap::Args;
use swarm_model::node::Role;
use swarm_node::api::types::{TokenAnswer, TokenRequest};

use crate::client::Client;
use crate::exit::Failure;
use crate::output::line;
use crate::parse::duration;

/// Show or replace the tokens that new nodes join with
///
/// Without options shows the standing token of a role. --ttl or --uses make a new token with limits.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm join-token worker\n  \
    swarm join-token manager -q\n  \
    swarm join-token worker --rotate\n  \
    swarm join-token worker --ttl 1h --uses 3")]
pub(crate) struct JoinToken {
    /// What the token makes of a node: worker or manager
    role: Role,
    /// Replace the standing token; the old one becomes worthless
    #[arg(long, conflicts_with_all = ["ttl", "uses"])]
    rotate: bool,
    /// Make a token that is worthless after this time
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    ttl: Option<Duration>,
    /// Make a token that is worthless after N joins
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    uses: Option<u32>,
    /// Show the token only
    #[arg(short, long)]
    quiet: bool,
}

impl JoinToken {
    /// Shows or makes a token.
    ///
    /// # Errors
    /// When the node refuses or does not answer.
    pub(crate) async fn run(self, client: &Client) -> Result<(), Failure> {
        let role = self.role;
        let answer: TokenAnswer = if self.rotate {
            client.post(&format!("/v1/tokens/{role}/rotate"), &[], &()).await?
        } else if self.ttl.is_some() || self.uses.is_some() {
            let ttl_ms = self.ttl.map(duration::millis);
            client.post("/v1/tokens", &[], &TokenRequest { role, ttl_ms, uses: self.uses }).await?
        } else {
            client.get(&format!("/v1/tokens/{role}"), &[]).await?
        };
        if self.quiet {
            return line(&answer.token);
        }
        if self.rotate {
            line(&format!("The {role} token was replaced.\n"))?;
        }
        line(&text(&answer))
    }
}

/// How to join as the token's role.
pub(crate) fn text(answer: &TokenAnswer) -> String {
    let addresses = if answer.addresses.is_empty() {
        "HOST:PORT".to_owned()
    } else {
        answer.addresses.join(" ")
    };
    format!(
        "To add a {} to this cluster, run on another machine:\n\n    swarm join --token {} {}\n",
        answer.role, answer.token, addresses
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_join_command_is_complete() {
        let answer = TokenAnswer {
            token: "SWMTKN-1-a-b".to_owned(),
            role: Role::Worker,
            addresses: vec!["10.0.0.1:2377".to_owned(), "10.0.0.2:2377".to_owned()],
        };
        let text = text(&answer);
        assert!(text.contains("swarm join --token SWMTKN-1-a-b 10.0.0.1:2377 10.0.0.2:2377\n"));
    }
}

//! `--if-revision`: changes that hold only as long as what was seen before them does.
//!
//! The node compares; this only says what was seen.

use clap::Args;
use swarm_node::api::types::Written;

/// What the change was decided on.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Guard {
    /// Only if specs, nodes and configs are as at that revision, which `swarm plan` shows
    #[arg(long, value_name = "REVISION", value_parser = revision)]
    if_revision: Option<String>,
}

/// A revision, as it is sent.
fn revision(text: &str) -> Result<String, std::num::ParseIntError> {
    text.parse().map(|revision: u64| revision.to_string())
}

impl Guard {
    /// Itself as a query parameter, behind `query`.
    pub(crate) fn query<'a>(&'a self, query: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let seen = self.if_revision.iter().map(|seen| ("if-revision", seen.as_str()));
        query.iter().copied().chain(seen).collect()
    }

    /// After one's own change, which the next one of the same command builds on.
    pub(crate) fn follow(&mut self, written: &Written) {
        self.if_revision.iter_mut().for_each(|seen| *seen = written.revision.to_string());
    }
}

#[cfg(test)]
mod tests {
    use crate::args::Cli;
    use crate::commands::fake_node::{self, FakeNode};
    use clap::Parser as _;
    use serde_json::{Value, json};
    use swarm_model::id::{ConfigId, NodeId};
    use swarm_model::node::{Availability, Node, NodeSpec, Role};

    fn answer(request: &str) -> Value {
        let (id, meta) = (NodeId::from_raw(1), Default::default());
        let node = || Node {
            id,
            meta,
            spec: NodeSpec {
                role: Role::Worker,
                availability: Availability::Active,
                labels: Default::default(),
            },
            description: Default::default(),
            status: Default::default(),
            drain: None,
        };
        let (method, target) = request.split_once(' ').expect("a method and a target");
        match (method, target.split('/').nth(2).expect("a noun")) {
            ("GET", "services") => fake_node::service("Update", "Completed", ""),
            ("GET", "nodes") => {
                let mut node = serde_json::to_value(node()).expect("is json");
                let own = json!({"ManagerStatus": null, "Voter": false, "Self": true});
                let own = own.as_object().expect("as it is written").clone();
                node.as_object_mut().expect("a node has fields").extend(own);
                node
            }
            ("GET", "configs") => {
                let (id, spec) = (ConfigId::from_raw(1), json!({"Name": "c", "Data": "aGk="}));
                json!({"ID": id, "Meta": meta, "Spec": spec})
            }
            (_, "rebalance?dry-run=false&max-moves=10&if-revision=7") => {
                json!({"Moves": [], "Applied": 0, "Refused": 0})
            }
            _ => fake_node::written(11),
        }
    }

    #[tokio::test]
    async fn every_change_of_specs_takes_the_guard_and_sends_it() {
        let node = FakeNode::new(answer);
        for line in [
            "service create --detach --runtime process --if-revision 7 -- x",
            "service update --detach --if-revision 7 --env-add A=1 web",
            "service scale --detach --if-revision 7 web=1 api=2",
            "service rollback --detach --if-revision 7 web",
            "service pause --if-revision 7 web",
            "service promote --detach --if-revision 7 web",
            "service resume --detach --if-revision 7 web",
            "service rm --if-revision 7 web api",
            "service run --detach --if-revision 7 batch",
            "service stop-run --if-revision 7 batch 3",
            "node update --if-revision 7 --availability pause self",
            "node promote --if-revision 7 n1 n2",
            "node demote --if-revision 7 n1 n2",
            "node rm --if-revision 7 n1 n2",
            "config create --if-revision 7 c /dev/null",
            "config update --if-revision 7 c /dev/null",
            "config rm --if-revision 7 c d",
            "rebalance --if-revision 7",
        ] {
            assert_eq!(node.run(line).await, Ok(()), "{line}");
            let guards: Vec<_> = node.changes();
            let guards = guards.iter().map(|change| change.split("if-revision=").nth(1));
            let guards: Vec<_> = guards.collect();
            let (first, more) = guards.split_first().expect(line);
            assert_eq!(*first, Some("7"), "{line}");
            assert!(more.iter().all(|guard| *guard == Some("11")), "{line}: its own change");
            let wrong = line.replace('7', "soon");
            assert!(Cli::try_parse_from(format!("swarm {wrong}").split(' ')).is_err(), "{wrong}");
        }
    }
}

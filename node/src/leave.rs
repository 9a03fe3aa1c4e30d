//! How a node leaves: the leader moves its tasks, takes its vote, then its membership ([`departure`]).
//!
//! A leave outlives the client that asked for it: it is finished, or undone, and says which.
//!
//! [`departure`]: crate::departure

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use swarm_model::command::Actor;
use swarm_model::id::{NodeId, RequestId};
use swarm_model::node::{Node, NodeSpec, Role};
use swarm_model::view::View;
use swarm_net::frame;
use swarm_net::rpc::{Method, Refusal, RefusalCode};
use swarm_net::transport::CallError;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::api::backend::ProposeError;
use crate::core::Core;
use crate::departure::{self, Failed};

/// For how long a leader that lets this node go is looked for: two elections, and within the ten
/// seconds after which changes fail without a majority.
const FIND_LEADER: Duration = Duration::from_secs(8);
/// How long a node that came to lead while it leaves waits for others that leave, too: of several that
/// hand each other the lead nobody would ever go.
const OTHERS_FIRST: Duration = Duration::from_secs(1);
/// One call to the leader: it answers when everything is done, or undone.
const CALL_DEADLINE: Duration = departure::LONGEST.saturating_add(Duration::from_secs(5));
/// Pause between two attempts.
const LOOK: Duration = Duration::from_millis(50);

/// What a leaving node asks of the leader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Farewell {
    /// Who wants it.
    pub(crate) actor: Actor,
    /// The same through all attempts.
    pub(crate) request: RequestId,
}

/// Leaves the cluster. Goes on when nobody waits for the answer any more.
///
/// # Errors
/// When this is the last manager (without `force`), or the cluster does not let it go (without
/// `force`); says whether anything of it is left.
pub(crate) async fn leave(core: &Arc<Core>, actor: Actor, force: bool) -> Result<(), ProposeError> {
    let (told, answer) = oneshot::channel();
    let leaving = core.clone();
    core.tasks.spawn("leave", async move {
        let cancel = leaving.tasks.token();
        let left = tokio::select! {
            biased;
            // The replica, or a refusal, may tell of the removal before the leader's answer does;
            // then the daemon ends, and that answer never comes.
            () = leaving.dismissed.cancelled() => Ok(()),
            () = cancel.cancelled() => return,
            left = leave_now(&leaving, actor, force) => left,
        };
        if let Err(error) = &left {
            tracing::warn!(%error, "this node did not leave");
        }
        let dismissed = left.is_ok();
        // Nobody may be waiting any more.
        drop(told.send(left));
        if dismissed {
            leaving.dismissed.cancel();
        }
    });
    let stopped = || ProposeError::Unavailable { reason: "the daemon ends".to_owned() };
    answer.await.unwrap_or_else(|_dropped| Err(stopped()))
}

async fn leave_now(core: &Core, actor: Actor, force: bool) -> Result<(), ProposeError> {
    let before = departure::spec_of(core, core.id);
    let parted = depart(core, actor).await;
    if parted.is_err()
        && !force
        && let Some(before) = &before
        && core.consensus.status_now().is_leader()
    {
        // The leader that began it is gone: nobody else would undo it.
        departure::undo(core, core.id, &Actor { node: core.id, uid: None }, before).await;
    }
    match parted {
        Ok(()) => Ok(()),
        Err(Kept::LastManager) if force => Ok(()),
        Err(Kept::LastManager) => {
            let reason = "this is the last manager: promote another node first, or leave with \
                          --force, which ends the cluster";
            Err(ProposeError::Forbidden { reason: reason.to_owned() })
        }
        Err(Kept::Because(reason)) if force => {
            tracing::warn!(%reason, "leaving without the cluster's consent");
            Ok(())
        }
        Err(Kept::Because(reason)) => {
            let now = core.consensus.view();
            let left_over = left_over(before.as_ref(), now.nodes.get(&core.id));
            let reason = format!("the cluster does not let this node go ({reason}); {left_over}");
            Err(ProposeError::Unavailable { reason })
        }
    }
}

fn is_last_manager(view: &View, me: NodeId) -> bool {
    let manager = |node: &Node| node.spec.role == Role::Manager;
    let mut others = view.nodes.values().filter(|node| node.id != me);
    view.nodes.get(&me).is_some_and(|node| manager(node)) && !others.any(|node| manager(node))
}

/// What a leave that failed has changed, and what to do about it. Pure.
fn left_over(before: Option<&NodeSpec>, now: Option<&Arc<Node>>) -> String {
    let (Some(before), Some(now)) = (before, now) else {
        return "use --force to leave all the same".to_owned();
    };
    let mut undo = Vec::new();
    if now.spec.role != before.role {
        undo.push("`swarm node promote`".to_owned());
    }
    if now.spec.availability != before.availability {
        undo.push(format!("`swarm node update --availability {}`", before.availability));
    }
    if undo.is_empty() {
        return "it stays a member as it was; use --force to leave all the same".to_owned();
    }
    format!(
        "it is a {} with availability {} now: leave again or use --force, or make it what it was \
         with {} on a manager",
        now.spec.role,
        now.spec.availability,
        undo.join(" and ")
    )
}

/// Why a node did not leave.
#[derive(Debug, PartialEq, Eq)]
enum Kept {
    LastManager,
    Because(String),
}

/// Has the cluster part with this node. Who leads may change meanwhile, and be this node.
async fn depart(core: &Core, actor: Actor) -> Result<(), Kept> {
    let farewell = Farewell { actor, request: RequestId::from_raw(core.draw()) };
    let began = Instant::now();
    let (mut trouble_since, mut asked, mut leads_since) = (None, false, None);
    loop {
        let answer = if core.consensus.status_now().is_leader() {
            let leads_since = *leads_since.get_or_insert_with(Instant::now);
            let at_once = !asked && leads_since.duration_since(began) < LOOK;
            if others_leave(core) || !(at_once || leads_since.elapsed() > OTHERS_FIRST) {
                trouble_since = None;
                tokio::time::sleep(LOOK).await;
                continue;
            }
            if is_last_manager(&core.consensus.view(), core.id) {
                return Err(Kept::LastManager);
            }
            match step_down(core).await {
                Ok(()) => Answer::Again("no other node leads".to_owned()),
                Err(Failed::Lead(error)) => Answer::Again(error.to_string()),
                Err(Failed::Because(reason)) => Answer::Refused(reason),
            }
        } else if is_last_manager(&core.consensus.view(), core.id) {
            return Err(Kept::LastManager);
        } else {
            (asked, leads_since) = (true, None);
            say(core, &farewell).await
        };
        let reason = match answer {
            Answer::LetGo => return Ok(()),
            Answer::Refused(reason) => return Err(Kept::Because(reason)),
            Answer::Again(reason) => reason,
        };
        if trouble_since.get_or_insert_with(Instant::now).elapsed() > FIND_LEADER {
            return Err(Kept::Because(reason));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether this leader lets other nodes go just now.
fn others_leave(core: &Core) -> bool {
    core.leadership.borrow().as_ref().is_some_and(|it| it.departures.any())
}

/// A leader cannot part with itself: another voter takes the lead first. Where there is none, this
/// node gives up its vote, which brings one in.
async fn step_down(core: &Core) -> Result<(), Failed> {
    let status = core.consensus.status_now();
    if status.voters.iter().any(|voter| *voter != core.id)
        && core.consensus.transfer_leadership(None).await.is_ok()
    {
        return Ok(());
    }
    let Some(before) = departure::spec_of(core, core.id) else { return Ok(()) };
    let parted = departure::give_up_vote(core, core.id).await;
    if parted.is_err() {
        departure::undo(core, core.id, &Actor { node: core.id, uid: None }, &before).await;
    }
    parted
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    LetGo,
    /// Nothing will come of asking again.
    Refused(String),
    /// Nobody could answer.
    Again(String),
}

async fn say(core: &Core, farewell: &Farewell) -> Answer {
    let Some(leader) = core.leader().filter(|leader| *leader != core.id) else {
        return Answer::Again("no other node leads".to_owned());
    };
    let body = frame::encode(farewell);
    let mut status = core.consensus.status();
    let answer = tokio::select! {
        answer = core.transport.call(leader, Method::Leave, body, CALL_DEADLINE) => answer,
        // A dead leader never answers.
        _ = status.wait_for(|status| status.leader != Some(leader)) => {
            return Answer::Again("the leader was lost".to_owned());
        }
    };
    match answer {
        Ok(_) => Answer::LetGo,
        Err(CallError::Refused(refusal)) => meaning(refusal),
        Err(error) => Answer::Again(error.to_string()),
    }
}

/// What a leader's refusal means. Pure.
fn meaning(refusal: Refusal) -> Answer {
    match refusal.code {
        // It let us go before it could say so.
        RefusalCode::Removed => Answer::LetGo,
        RefusalCode::Conflict => Answer::Refused(refusal.message),
        _ => Answer::Again(refusal.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use swarm_model::meta::Meta;
    use swarm_model::node::{Availability, NodeDescription, NodeStatus};

    fn node(id: u128, role: Role, availability: Availability) -> Arc<Node> {
        Arc::new(Node {
            id: NodeId::from_raw(id),
            meta: Meta::default(),
            spec: NodeSpec { role, availability, labels: BTreeMap::new() },
            description: NodeDescription::default(),
            status: NodeStatus::default(),
            drain: None,
        })
    }

    #[test]
    fn only_a_manager_without_other_managers_is_the_last() {
        let check = |roles: &[Role], expect| {
            let mut view = View::default();
            for (id, role) in (1..).zip(roles) {
                let node = node(id, *role, Availability::Active);
                view.nodes.insert(node.id, node);
            }
            assert_eq!(is_last_manager(&view, NodeId::from_raw(1)), expect, "{roles:?}");
        };
        check(&[Role::Manager], true);
        check(&[Role::Manager, Role::Worker], true);
        check(&[Role::Manager, Role::Manager], false);
        check(&[Role::Worker, Role::Manager], false);
        check(&[], false);
    }

    #[test]
    fn a_leave_that_failed_says_what_is_left_of_it() {
        let before = node(1, Role::Manager, Availability::Active);
        let check = |now: Option<Arc<Node>>, expect: &str| {
            let text = left_over(Some(&before.spec), now.as_ref());
            assert!(text.contains(expect), "{text}");
        };
        check(Some(before.clone()), "stays a member as it was");
        check(Some(node(1, Role::Manager, Availability::Drain)), "--availability active");
        check(Some(node(1, Role::Worker, Availability::Active)), "swarm node promote");
        check(None, "--force");
    }

    #[test]
    fn only_a_word_about_this_node_counts_as_let_go() {
        let of = |code| meaning(Refusal::new(code, "why"));
        assert_eq!(of(RefusalCode::Removed), Answer::LetGo);
        assert_eq!(of(RefusalCode::NotLeader), Answer::Again("why".to_owned()));
        assert_eq!(of(RefusalCode::Conflict), Answer::Refused("why".to_owned()));
    }
}

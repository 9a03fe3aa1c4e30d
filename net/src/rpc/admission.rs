//! May this caller make this call? Deny by default; used by every transport before a handler runs.
//!
//! Only roles are looked at. Whether the request itself makes sense is the handler's question.

use swarm_model::id::NodeId;
use swarm_model::node::Role;

use super::{Callers, Kind, Lane, Method, Refusal, RefusalCode};
use crate::transport::{Members, Membership};

/// The role in which `node`, certified as `certified`, speaks right now.
///
/// # Errors
/// When it was removed from the cluster.
pub(crate) fn admit(members: &dyn Members, node: NodeId, certified: Role) -> Result<Role, Refusal> {
    match members.membership(node) {
        Membership::Member(role) => Ok(role),
        Membership::Unknown => Ok(certified),
        Membership::Removed => Err(Refusal::removed(
            format!("node {node} was removed from the cluster"),
            members.epoch(),
        )),
    }
}

/// Checks a call of `method` in shape `kind` on `lane` against its rule; no role is no certificate.
///
/// # Errors
/// When the rule does not allow it.
pub(crate) fn authorise(
    method: Method,
    kind: Kind,
    lane: Lane,
    role: Option<Role>,
) -> Result<(), Refusal> {
    let rule = method.rule();
    if rule.lane != lane || rule.kind != kind {
        return Err(Refusal::new(
            RefusalCode::UnknownMethod,
            format!("{method:?} is no {kind:?} call of the {lane:?} lane"),
        ));
    }
    let allowed = match rule.callers {
        Callers::Anonymous => true,
        Callers::Member => role.is_some(),
        Callers::Manager => role == Some(Role::Manager),
    };
    if allowed {
        return Ok(());
    }
    let who = match role {
        None => "a caller without a certificate",
        Some(Role::Worker) => "a worker",
        Some(Role::Manager) => "a manager",
    };
    Err(Refusal::new(RefusalCode::NotAllowed, format!("{who} may not call {method:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_method_is_open_to_exactly_the_callers_of_its_rule() {
        for &method in Method::ALL {
            let rule = method.rule();
            for role in [None, Some(Role::Worker), Some(Role::Manager)] {
                let expected = match rule.callers {
                    Callers::Anonymous => true,
                    Callers::Member => role.is_some(),
                    Callers::Manager => role == Some(Role::Manager),
                };
                let answer = authorise(method, rule.kind, rule.lane, role);
                assert_eq!(answer.is_ok(), expected, "{method:?} by {role:?}");
            }
        }
    }

    #[test]
    fn a_method_is_refused_on_every_other_lane() {
        for &method in Method::ALL {
            let rule = method.rule();
            for lane in Lane::ALL.into_iter().filter(|lane| *lane != rule.lane) {
                let refusal = authorise(method, rule.kind, lane, Some(Role::Manager))
                    .expect_err("the lane is wrong");
                assert_eq!(refusal.code, RefusalCode::UnknownMethod);
            }
        }
    }

    #[test]
    fn the_member_list_outranks_the_certificate() {
        struct List(Membership);
        impl Members for List {
            fn membership(&self, _node: NodeId) -> Membership {
                self.0
            }
        }
        let node = NodeId::from_raw(7);
        let role = |list, certified| admit(&List(list), node, certified);
        assert_eq!(role(Membership::Member(Role::Worker), Role::Manager), Ok(Role::Worker));
        assert_eq!(role(Membership::Unknown, Role::Manager), Ok(Role::Manager));
        let refusal = role(Membership::Removed, Role::Manager).expect_err("it was removed");
        assert_eq!(refusal.code, RefusalCode::Removed);
    }
}

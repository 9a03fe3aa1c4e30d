//! Commands about the cluster itself: its birth, its settings, its join tokens.

use std::collections::BTreeMap;
use std::sync::Arc;

use swarm_model::cluster::{Cluster, ClusterSpec, LimitedToken, TokenRotation};
use swarm_model::command::NewNode;
use swarm_model::epoch::Epoch;
use swarm_model::event::{Action, Subject};
use swarm_model::id::{ClusterId, TokenId};
use swarm_model::meta::Version;
use swarm_model::node::Role;
use swarm_model::outcome::{Done, Kind, Outcome, Rejection};

use super::{Change, DONE};

/// Limited tokens kept before those that let nobody in any more are forgotten.
const LIMITED_TOKENS_KEPT: usize = 64;

impl Change<'_> {
    pub(super) fn init_cluster(
        &mut self,
        id: ClusterId,
        spec: &ClusterSpec,
        ca_certificate: &[u8],
        node: &NewNode,
    ) -> Outcome {
        if self.view.cluster.is_some() {
            return Err(Rejection::AlreadyInitialised);
        }
        let cluster = Cluster {
            id,
            meta: self.new_meta(),
            spec: spec.clone(),
            tokens: TokenRotation::default(),
            limited_tokens: BTreeMap::new(),
            ca_certificate: ca_certificate.to_vec(),
            epoch: Epoch::FIRST,
            left_out: BTreeMap::new(),
        };
        let added = self.add_node(node)?;
        self.view.cluster = Some(Arc::new(cluster));
        self.emit(Subject::Cluster, Action::Create, &id.to_string(), &[]);
        Ok(added)
    }

    /// Changes the cluster object; refuses before the first command.
    pub(super) fn with_cluster(&mut self, change: impl FnOnce(&mut Cluster) -> Outcome) -> Outcome {
        let missing =
            || Rejection::NotFound { kind: Kind::Cluster, reference: "(not initialised)".into() };
        let mut cluster = Cluster::clone(self.view.cluster.as_deref().ok_or_else(missing)?);
        let outcome = change(&mut cluster)?;
        cluster.meta.touch(self.at, self.now);
        let name = cluster.id.to_string();
        self.view.cluster = Some(Arc::new(cluster));
        self.emit(Subject::Cluster, Action::Update, &name, &[]);
        Ok(outcome)
    }

    pub(super) fn update_cluster(&mut self, given: Option<Version>, spec: &ClusterSpec) -> Outcome {
        spec.validate().map_err(|error| Rejection::Invalid { kind: Kind::Cluster, error })?;
        self.with_cluster(|cluster| {
            let have = cluster.meta.version;
            if let Some(given) = given.filter(|given| *given != have) {
                let name = cluster.id.to_string();
                return Err(Rejection::VersionConflict { kind: Kind::Cluster, name, have, given });
            }
            cluster.spec = spec.clone();
            DONE
        })
    }

    pub(super) fn rotate_token(&mut self, role: Role) -> Outcome {
        self.with_cluster(|cluster| {
            match role {
                Role::Worker => cluster.tokens.worker += 1,
                Role::Manager => cluster.tokens.manager += 1,
            }
            DONE
        })
    }

    pub(super) fn create_token(&mut self, id: TokenId, token: &LimitedToken) -> Outcome {
        let now = self.now;
        self.with_cluster(|cluster| {
            // Worthless ones stay for a while: who still brings one is told why it is refused.
            if cluster.limited_tokens.len() >= LIMITED_TOKENS_KEPT {
                cluster.limited_tokens.retain(|_, old| old.is_worth(now));
            }
            cluster.limited_tokens.insert(id, token.clone());
            Ok(Done::Token(id))
        })
    }

    /// Takes one use of a limited token.
    pub(super) fn use_token(&mut self, id: TokenId) -> Outcome {
        let now = self.now;
        self.with_cluster(|cluster| {
            let token = cluster.limited_tokens.get_mut(&id).ok_or(Rejection::TokenExpired)?;
            if !token.is_worth(now) {
                return Err(Rejection::TokenExpired);
            }
            if let Some(left) = &mut token.uses_left {
                *left -= 1;
            }
            DONE
        })
    }
}

//! What the leader does besides agreeing: reconcile, record statuses, watch the nodes, choose voters.
//!
//! Nothing here remembers a decision: a new leader finds everything in the view.

mod calm;
mod liveness;
mod reconciler;
mod recorder;
mod voters;

use std::sync::Arc;
use std::time::Duration;

use swarm_model::command::StatusReport;
use swarm_model::id::NodeId;
use swarm_model::meta::Term;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::core::Core;
use crate::departure::Departures;

pub(crate) use voters::{Plea, successor};

/// Batches of reports that may wait to be recorded.
const REPORTS_WAITING: usize = 256;
/// Nodes that may wait to be taken in anew.
const PLEAS_WAITING: usize = 16;
/// Between two terms of one leader.
const PAUSE: Duration = Duration::from_millis(20);

/// One term of leading.
#[derive(Debug)]
pub struct Leadership {
    /// The term.
    pub term: Term,
    /// Where agents' reports go.
    pub reports: mpsc::Sender<(NodeId, Vec<StatusReport>)>,
    /// Where nodes go that lost their replica.
    pub(crate) pleas: mpsc::Sender<Plea>,
    /// Ends with the term.
    pub ended: CancellationToken,
    /// Nodes that are leaving.
    pub(crate) departures: Departures,
}

/// Leads whenever this node is the leader, until cancelled.
pub async fn run(core: Arc<Core>) {
    let mut status = core.consensus.status();
    let cancel = core.tasks.token();
    loop {
        let leading = status.wait_for(|status| status.is_leader());
        let term = tokio::select! {
            () = cancel.cancelled() => return,
            leading = leading => match leading {
                Ok(status) => status.term,
                Err(_) => return,
            },
        };
        tracing::info!(term = term.0, "leading the cluster");
        let (reports, waiting) = mpsc::channel(REPORTS_WAITING);
        let ended = cancel.child_token();
        let (pleas, pleading) = mpsc::channel(PLEAS_WAITING);
        let leadership = Arc::new(Leadership {
            term,
            reports,
            pleas,
            ended: ended.clone(),
            departures: Departures::default(),
        });
        core.leadership.send_replace(Some(leadership.clone()));
        let work = async {
            // When one ends the term does, too: none of them is to be missing for the rest of it.
            tokio::select! {
                () = reconciler::run(&core, term) => {}
                () = recorder::run(&core, waiting) => {}
                () = liveness::run(&core, &leadership) => {}
                () = voters::run(&core, pleading) => {}
            }
        };
        tokio::select! {
            () = work => {}
            _ = status.wait_for(|status| !status.is_leader() || status.term != term) => {}
            () = ended.cancelled() => {}
        }
        ended.cancel();
        core.leadership.send_replace(None);
        tracing::info!(term = term.0, "no longer leading the cluster");
        // A hand-over that failed leaves the lead here: go on, but not in a tight loop.
        if cancel.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
            return;
        }
    }
}

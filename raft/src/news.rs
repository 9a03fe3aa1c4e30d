//! What applying brings, for the rest of the node: the newest view and the events, once per batch.

use std::sync::Arc;

use swarm_model::event::Event;
use swarm_model::meta::Revision;
use swarm_model::view::View;
use tokio::sync::{broadcast, watch};

/// Batches of events that a slow listener may be behind before it has to start from a view again.
pub const NEWS_KEPT: usize = 1024;

/// What one batch of applied records brought.
#[derive(Debug, Clone)]
pub enum News {
    /// The records up to a revision were applied.
    Applied {
        /// The newest of them.
        upto: Revision,
        /// What changed, in order; nothing for records without effect.
        events: Vec<Arc<Event>>,
    },
    /// The state was replaced by a snapshot: what happened before it is not told.
    Replaced {
        /// Where the snapshot stands.
        at: Revision,
    },
}

/// The sending side; the state machine owns it.
#[derive(Debug)]
pub(crate) struct Publisher {
    views: watch::Sender<Arc<View>>,
    news: broadcast::Sender<Arc<News>>,
}

/// The receiving side: makes receivers for whoever asks.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    views: watch::Receiver<Arc<View>>,
    news: broadcast::Sender<Arc<News>>,
}

/// Both sides, at the empty state.
pub(crate) fn channel() -> (Publisher, Published) {
    let (views, viewer) = watch::channel(Arc::new(View::default()));
    let (news, _) = broadcast::channel(NEWS_KEPT);
    (Publisher { views, news: news.clone() }, Published { views: viewer, news })
}

impl Publisher {
    /// The view first: who hears the news must find them in it.
    pub(crate) fn publish(&self, view: Arc<View>, news: News) {
        self.views.send_replace(view);
        // Fails only when nobody listens.
        drop(self.news.send(Arc::new(news)));
    }
}

impl Published {
    pub(crate) fn view(&self) -> Arc<View> {
        self.views.borrow().clone()
    }

    pub(crate) fn views(&self) -> watch::Receiver<Arc<View>> {
        self.views.clone()
    }

    pub(crate) fn news(&self) -> broadcast::Receiver<Arc<News>> {
        self.news.subscribe()
    }
}

//! A handler that comes later than the transport: until then every caller is told to try again.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};

use crate::rpc::{Method, Refusal, RefusalCode};
use crate::stream::MessageStream;
use crate::transport::{Caller, Handler, Peer};

/// Hands everything on to the handler that [`LateHandler::set`] gives it.
#[derive(Clone, Default)]
pub struct LateHandler {
    handler: Arc<OnceLock<Arc<dyn Handler>>>,
}

impl LateHandler {
    /// Without a handler yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on `handler` answers. Only the first one counts.
    pub fn set(&self, handler: Arc<dyn Handler>) {
        if self.handler.set(handler).is_err() {
            tracing::warn!("a second handler was given to the transport and is not used");
        }
    }
}

impl Handler for LateHandler {
    fn call(
        &self,
        from: Caller,
        method: Method,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, Refusal>> {
        match self.handler.get() {
            Some(handler) => handler.call(from, method, body),
            None => {
                let refusal = Refusal::new(RefusalCode::Unavailable, "this node is starting");
                ready(Err(refusal)).boxed()
            }
        }
    }

    fn stream(
        &self,
        from: Peer,
        method: Method,
        hello: Bytes,
        stream: MessageStream,
    ) -> BoxFuture<'static, ()> {
        match self.handler.get() {
            Some(handler) => handler.stream(from, method, hello, stream),
            None => ready(()).boxed(),
        }
    }

    fn datagram(&self, from: Peer, payload: Bytes) {
        if let Some(handler) = self.handler.get() {
            handler.datagram(from, payload);
        }
    }
}

impl fmt::Debug for LateHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LateHandler").field("set", &self.handler.get().is_some()).finish()
    }
}

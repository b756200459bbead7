//! Did this exchange open a connection, or was it given one from the pool?
//!
//! The pool does not tell. But it polls a connection it opens for an exchange inside that exchange's own future until
//! the exchange has one, and hands it to a task of its own when an idle connection was quicker. So a layer around the
//! connector that reports to a task-local sees exactly the connections an exchange opened and waited for.

#![forbid(unsafe_code)]

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

tokio::task_local! {
    static CURRENT: Arc<AtomicU8>;
}

/// What an exchange has done for its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    /// Opened none: if it has one, it is a pooled one.
    Pooled,
    /// Is opening one, or could not.
    Connecting,
    /// Opened one.
    Opened,
}

/// The connection of one exchange, as seen from outside its future.
#[derive(Debug, Default, Clone)]
pub struct Connection(Arc<AtomicU8>);

impl Connection {
    /// What is known by now.
    pub fn state(&self) -> Observed {
        match self.0.load(Ordering::Relaxed) {
            0 => Observed::Pooled,
            1 => Observed::Connecting,
            _ => Observed::Opened,
        }
    }

    /// Watches one attempt from its start.
    pub(crate) fn observe<F: Future>(&self, attempt: F) -> impl Future<Output = F::Output> {
        self.0.store(Observed::Pooled as u8, Ordering::Relaxed);
        CURRENT.scope(Arc::clone(&self.0), attempt)
    }
}

fn report(state: Observed) {
    // Outside an exchange: a connection that is finished for the pool.
    let _ = CURRENT.try_with(|current| current.store(state as u8, Ordering::Relaxed));
}

/// The layer around the connector.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Observe;

impl<S> Layer<S> for Observe {
    type Service = Observer<S>;

    fn layer(&self, connector: S) -> Observer<S> {
        Observer(connector)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Observer<S>(S);

impl<S, T> Service<T> for Observer<S>
where
    S: Service<T>,
    S::Response: 'static,
    S::Error: 'static,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, target: T) -> Self::Future {
        let connecting = self.0.call(target);
        Box::pin(async move {
            report(Observed::Connecting);
            let connection = connecting.await?;
            report(Observed::Opened);
            Ok(connection)
        })
    }
}

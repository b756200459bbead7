//! Did this exchange open a connection, or was it given one from the pool? And does it have to open one?
//!
//! The pool does not tell. But it polls a connection it opens for an exchange inside that exchange's own future until
//! the exchange has one, and hands it to a task of its own when another connection was quicker. So a layer around the
//! connector that reports to a task-local sees exactly the connections an exchange opened and waited for.
//!
//! The pool would also open a connection for every exchange that comes before the first one is there, though one is all
//! that HTTP/2 needs. So, where HTTP/2 is possible and connections are shared, they are opened one at a time until it is
//! known that the server speaks HTTP/1.1.

#![forbid(unsafe_code)]

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::Connection as Connected;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_layer::Layer;
use tower_service::Service;

tokio::task_local! {
    static CURRENT: Arc<Shared>;
}

#[derive(Debug, Default)]
struct Shared {
    observed: AtomicU8,
    /// Held until the exchange has its answer: the others have the connection by then.
    turn: Mutex<Option<OwnedSemaphorePermit>>,
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
pub struct Connection(Arc<Shared>);

impl Connection {
    /// What is known by now.
    pub fn state(&self) -> Observed {
        match self.0.observed.load(Ordering::Relaxed) {
            0 => Observed::Pooled,
            1 => Observed::Connecting,
            _ => Observed::Opened,
        }
    }

    /// Watches one attempt from its start.
    pub(crate) async fn observe<F: Future>(&self, attempt: F) -> F::Output {
        self.0.observed.store(Observed::Pooled as u8, Ordering::Relaxed);
        let output = CURRENT.scope(Arc::clone(&self.0), attempt).await;
        *self.0.turn.lock() = None;
        output
    }
}

/// Whether it could be reported: not outside an exchange, where a connection is finished for the pool.
fn report(state: Observed) -> bool {
    CURRENT.try_with(|current| current.observed.store(state as u8, Ordering::Relaxed)).is_ok()
}

/// The layer around the connector.
#[derive(Debug, Clone)]
pub(crate) struct Observe(Arc<Turns>);

/// Whose turn it is to connect.
#[derive(Debug)]
struct Turns {
    /// One; `None` where no exchange can use another's connection.
    turn: Option<Arc<Semaphore>>,
    /// Until the server is known to speak HTTP/1.1, and whenever it has spoken HTTP/2.
    one_at_a_time: AtomicBool,
}

impl Observe {
    /// Around a connector whose connections may turn out to be HTTP/2, and be shared, or not.
    pub(crate) fn new(may_be_shared: bool) -> Self {
        let turn = may_be_shared.then(|| Arc::new(Semaphore::new(1)));
        Self(Arc::new(Turns { turn, one_at_a_time: AtomicBool::new(true) }))
    }
}

impl Turns {
    /// Waits for its turn; `Err` if the exchange has found a connection meanwhile.
    async fn wait(&self) -> Result<Option<OwnedSemaphorePermit>, NotNeeded> {
        let turn = match &self.turn {
            Some(turn) if self.one_at_a_time.load(Ordering::Relaxed) => {
                Some(Arc::clone(turn).acquire_owned().await.map_err(|_| NotNeeded)?)
            }
            _ => {
                // A connection whose answer has just been read is on its way back to the pool.
                tokio::task::yield_now().await;
                None
            }
        };
        if !report(Observed::Connecting) {
            return Err(NotNeeded);
        }
        // What one waits for its turn for may be known now.
        Ok(turn.filter(|_| self.one_at_a_time.load(Ordering::Relaxed)))
    }

    /// What has become of a connection.
    fn learn(&self, is_http2: bool) {
        self.one_at_a_time.store(is_http2, Ordering::Relaxed);
    }
}

/// A connection that nobody waits for any more was not opened.
#[derive(Debug, thiserror::Error)]
#[error("another connection was there first")]
struct NotNeeded;

impl<S> Layer<S> for Observe {
    type Service = Observer<S>;

    fn layer(&self, connector: S) -> Observer<S> {
        Observer { connector, turns: Arc::clone(&self.0) }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Observer<S> {
    connector: S,
    turns: Arc<Turns>,
}

impl<S, T> Service<T> for Observer<S>
where
    S: Service<T, Error = Box<dyn Error + Send + Sync>>,
    S::Response: Connected + 'static,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, target: T) -> Self::Future {
        let connecting = self.connector.call(target);
        let turns = Arc::clone(&self.turns);
        Box::pin(async move {
            report(Observed::Connecting);
            let turn = turns.wait().await?;
            let connection = connecting.await.inspect_err(|_| turns.learn(false))?;
            let is_http2 = connection.connected().is_negotiated_h2();
            turns.learn(is_http2);
            let _ = CURRENT.try_with(|current| {
                current.observed.store(Observed::Opened as u8, Ordering::Relaxed);
                *current.turn.lock() = turn.filter(|_| is_http2);
            });
            Ok(connection)
        })
    }
}

//! Who does the asking while NGINX goes on?
//!
//! One thread per worker process with a runtime of its own. Jobs go in, completions come out through a queue, and an
//! eventfd that is readable while the queue has something new wakes NGINX's event loop. Answers are parsed here too.
//! Every job that was accepted ends in exactly one completion, whatever becomes of the task or the thread.

#![forbid(unsafe_code)]

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::attempt::{Connection, Observed};
use crate::bridge::{Completions, Ticket};
use crate::claims::Wanted;
use crate::client::{Client, Template};
use crate::failure::{Failure, Phase};
use crate::freshness::{self, Stated};
use crate::introspection::{self, Answer};
pub use crate::job::{Job, JobControl};
use crate::limits::{Limit, Limits};
use crate::settings::{ClientSettings, Profile};

/// Name resolutions at a time: each occupies a thread, and a client resolves one name.
const MAX_RESOLVERS: usize = 4;

/// How long a name resolution that cannot be interrupted may hold up [`Worker::shutdown`].
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(200);

/// What a job came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint was asked.
    Done(Result<(Answer, Stated), Failure>),
    /// It was not asked: nobody wanted the answer any more when the job's turn came.
    Abandoned,
}

/// The end of a job.
#[derive(Debug, PartialEq, Eq)]
pub struct Completion {
    /// [`Job::id`].
    pub id: u64,
    /// What it came to.
    pub outcome: Outcome,
}

/// The handle of the introspection thread; dropping it is [`Worker::shutdown`].
pub struct Worker {
    done: Arc<Completions<Completion>>,
    jobs: Option<UnboundedSender<(Job, Ticket<Completion>)>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread, with every signal blocked in it that a process can be sent: NGINX's are for its own thread.
    /// Answers keep the claims that are `wanted`.
    pub fn spawn(wanted: Arc<Wanted>) -> io::Result<Self> {
        let mut clients = Clients::default();
        Self::start(move |job, limit| {
            let client = clients.get(&job);
            ask(job, limit, client, Arc::clone(&wanted))
        })
    }

    /// `ask` is called for each job on the thread; what it returns runs there as a task.
    fn start<A, F>(ask: A) -> io::Result<Self>
    where
        A: FnMut(Job, Limit) -> F + Send + 'static,
        F: Future<Output = Outcome> + Send + 'static,
    {
        let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(MAX_RESOLVERS)
            .thread_name("phantom token")
            .build()?;
        let (jobs, receiver) = unbounded_channel();
        let serve = move || serve(runtime, receiver, ask);
        let thread =
            with_signals_blocked(|| std::thread::Builder::new().name("phantom token".to_owned()).spawn(serve))?;
        Ok(Self { done: Arc::new(Completions::new(wake)), jobs: Some(jobs), thread: Some(thread) })
    }

    /// Readable when there is something to [`take`](Self::take); stays the same for the life of the worker.
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.done.wake().as_fd()
    }

    /// Hands a job over; gives it back if the thread has ended.
    pub fn submit(&self, job: Job) -> Result<(), Job> {
        let failed = Outcome::Done(Err(Failure::Internal));
        let ticket = Ticket::new(&self.done, Completion { id: job.id, outcome: failed });
        let Some(jobs) = &self.jobs else {
            ticket.void();
            return Err(job);
        };
        jobs.send((job, ticket)).map_err(|refused| {
            let (job, ticket) = refused.0;
            ticket.void();
            job
        })
    }

    /// Moves all completions to the end of `into` and makes the descriptor unreadable. May find none.
    pub fn take(&self, into: &mut VecDeque<Completion>) {
        self.done.take(into);
    }

    /// Ends the thread: no more jobs, exchanges in flight are cancelled, at most about 200 ms.
    pub fn shutdown(self) {
        drop(self);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The thread ends when there is no sender left.
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // An error means that it panicked, which the panic hook has reported.
            let _ = thread.join();
        }
    }
}

fn with_signals_blocked<T>(spawn: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let mut signals = SigSet::all();
    // Raised by what the thread itself does; POSIX leaves it undefined to block them.
    for signal in [Signal::SIGILL, Signal::SIGFPE, Signal::SIGSEGV, Signal::SIGBUS] {
        signals.remove(signal);
    }
    let before = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let spawned = spawn();
    before.thread_set_mask()?;
    spawned
}

fn serve<A, F>(runtime: Runtime, mut jobs: UnboundedReceiver<(Job, Ticket<Completion>)>, mut ask: A)
where
    A: FnMut(Job, Limit) -> F,
    F: Future<Output = Outcome> + Send + 'static,
{
    runtime.block_on(async {
        let mut limits = Limits::new();
        loop {
            let next = tokio::select! {
                // However many jobs come, those before them have their limits.
                biased;
                () = limits.enforce() => continue,
                next = jobs.recv() => next,
            };
            let Some((job, ticket)) = next else { break };
            let id = job.id;
            let limit = limits.begin(&job.control);
            let asking = ask(job, limit);
            // A task that panics or is cancelled drops the ticket.
            tokio::spawn(async move { ticket.post(Completion { id, outcome: asking.await }) });
        }
    });
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
}

/// Asks the endpoint about one token, within the job's limit.
async fn ask(
    job: Job,
    limit: Limit,
    client: Result<(Arc<Client>, Arc<Template>), String>,
    wanted: Arc<Wanted>,
) -> Outcome {
    let (client, template) = match client {
        Ok(ready) => ready,
        Err(cause) => return Outcome::Done(Err(Failure::Unreachable { cause })),
    };
    let connection = Connection::default();
    let exchange = async {
        let place = client.place().await;
        if !job.control.wanted() {
            return Outcome::Abandoned;
        }
        let response = client.exchange(&place, &template, &job.token, &connection).await;
        Outcome::Done(response.and_then(|response| {
            let answer = introspection::interpret(&response, &job.profile, &wanted)?;
            Ok((answer, freshness::stated(&response.headers, job.profile.ignore_cache_control)))
        }))
    };
    match limit.on(exchange).await {
        Some(outcome) => outcome,
        None if connection.state() == Observed::Connecting => {
            Outcome::Done(Err(Failure::Timeout { phase: Phase::Connect }))
        }
        None => Outcome::Done(Err(Failure::Timeout { phase: Phase::Answer })),
    }
}

/// What the thread keeps from job to job. Found by address first, because settings may hold whole files of
/// certificates; each entry keeps its settings alive, so that no address is used twice.
#[derive(Default)]
struct Clients {
    clients: HashMap<usize, (Arc<ClientSettings>, Arc<Client>)>,
    templates: HashMap<(usize, usize), (Arc<Profile>, Arc<Template>)>,
}

impl Clients {
    fn get(&mut self, job: &Job) -> Result<(Arc<Client>, Arc<Template>), String> {
        let address = Arc::as_ptr(&job.client).addr();
        let client = match self.clients.get(&address) {
            Some((_, client)) => Arc::clone(client),
            None => {
                let equal = self.clients.values().find(|(settings, _)| *settings == job.client);
                let client = match equal {
                    Some((_, client)) => Arc::clone(client),
                    None => Arc::new(Client::new(&job.client)?),
                };
                self.clients.insert(address, (Arc::clone(&job.client), Arc::clone(&client)));
                client
            }
        };
        let key = (address, Arc::as_ptr(&job.profile).addr());
        let template = match self.templates.get(&key) {
            Some((_, template)) => Arc::clone(template),
            None => {
                let template = Arc::new(client.template(&job.profile)?);
                self.templates.insert(key, (Arc::clone(&job.profile), Arc::clone(&template)));
                template
            }
        };
        Ok((client, template))
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;

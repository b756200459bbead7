use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use zeroize::Zeroizing;

use super::{Completion, Failure, Job, JobControl, Outcome, Worker};
use crate::settings::{ClientAuth, ClientSettings, Endpoint, EndpointUrl, IntrospectionJwt, Profile, Tls};

fn job(id: u64) -> Job {
    let endpoint = EndpointUrl::parse("http://127.0.0.1/").expect("a URL");
    let tls = Tls::new();
    Job {
        id,
        profile: Arc::new(Profile {
            endpoint: Endpoint::Url(endpoint.clone()),
            client_auth: ClientAuth::None,
            accept: "application/jwt".to_owned(),
            jwt_members: Vec::new(),
            introspection_jwt: IntrospectionJwt::Reject,
            tls: tls.clone(),
            ignore_cache_control: false,
            max_ttl: Duration::ZERO,
            inactive_ttl: Duration::ZERO,
        }),
        client: Arc::new(ClientSettings { endpoint, tls, connect_timeout: Duration::ZERO, keepalive: 0 }),
        token: Zeroizing::new(b"token".to_vec()),
        control: Arc::new(JobControl::new(0)),
    }
}

fn readable(worker: &Worker, timeout_ms: u16) -> bool {
    let mut fds = [PollFd::new(worker.wake_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::from(timeout_ms)).expect("poll") == 1
}

fn take(worker: &Worker) -> VecDeque<Completion> {
    let mut taken = VecDeque::new();
    worker.take(&mut taken);
    taken
}

fn failed(id: u64) -> Completion {
    Completion { id, outcome: Outcome::Done(Err(Failure::Internal)) }
}

fn abandoned(id: u64) -> Completion {
    Completion { id, outcome: Outcome::Abandoned }
}

#[test]
fn wakes_once_for_a_batch() {
    let (asked, wait) = mpsc::channel();
    let worker = Worker::start(move |job, _| {
        let _ = asked.send(job.id);
        async { Outcome::Abandoned }
    })
    .expect("worker");
    assert!(!readable(&worker, 0));
    for id in 0..3 {
        worker.submit(job(id)).expect("running");
    }
    // Tasks run in turn: the fourth job is asked for when the first three are being posted or have been.
    while wait.recv().expect("running") < 2 {}
    let mut taken = VecDeque::new();
    while taken.len() < 3 {
        assert!(readable(&worker, 10_000));
        worker.take(&mut taken);
    }
    assert_eq!(taken, [abandoned(0), abandoned(1), abandoned(2)]);
    assert!(!readable(&worker, 0));
    assert_eq!(take(&worker), []);
}

#[test]
fn the_descriptor_counts_batches() {
    let wake = super::EventFd::from_flags(super::EfdFlags::EFD_NONBLOCK).expect("eventfd");
    let done = super::Completions::new(wake);
    for id in 0..3 {
        done.post(abandoned(id));
    }
    assert_eq!(done.wake().read(), Ok(1));
    done.take(&mut VecDeque::new());
    assert!(done.wake().read().is_err());
    done.post(abandoned(3));
    assert_eq!(done.wake().read(), Ok(1));
}

#[test]
fn survives_a_task_that_panics() {
    let worker = Worker::start(|job, _| async move {
        assert!(job.id != 1, "on purpose");
        Outcome::Abandoned
    })
    .expect("worker");
    for (id, expected) in [(1, failed(1)), (2, abandoned(2))] {
        worker.submit(job(id)).expect("running");
        assert!(readable(&worker, 10_000));
        assert_eq!(take(&worker), [expected]);
    }
}

#[test]
fn the_end_of_the_thread_ends_every_job() {
    let (panic, wait) = mpsc::channel::<()>();
    let mut worker = Worker::start(move |job: Job, _| {
        if job.id == 2 {
            let _ = wait.recv();
            panic!("on purpose");
        }
        std::future::pending::<Outcome>()
    })
    .expect("worker");
    for id in 1..=3 {
        worker.submit(job(id)).expect("running");
    }
    drop(panic);
    assert!(worker.thread.take().expect("a thread").join().is_err());
    let mut ids: Vec<u64> = take(&worker).into_iter().inspect(|c| assert_eq!(*c, failed(c.id))).map(|c| c.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 3]);
    assert_eq!(worker.submit(job(4)).map_err(|job| job.id), Err(4));
    // A refused job is its owner's again: no completion.
    assert_eq!(take(&worker), []);
}

#[test]
fn a_resolver_that_hangs_does_not_hold_the_worker() {
    let (release, hang) = mpsc::channel::<()>();
    let (entered, wait) = mpsc::channel();
    let mut hang = Some(hang);
    let worker = Worker::start(move |_, _| {
        let (hang, entered) = (hang.take(), entered.clone());
        async move {
            let _ = tokio::task::spawn_blocking(move || {
                let _ = entered.send(());
                hang.map(|hang| hang.recv())
            })
            .await;
            Outcome::Abandoned
        }
    })
    .expect("worker");
    worker.submit(job(1)).expect("running");
    wait.recv().expect("resolving");
    let begun = std::time::Instant::now();
    worker.shutdown();
    let took = begun.elapsed();
    assert!((Duration::from_millis(190)..Duration::from_millis(1000)).contains(&took), "{took:?}");
    drop(release);
}

#[test]
fn signals_are_left_to_the_thread_that_started_it() {
    let before = SigSet::thread_get_mask().expect("mask");
    let (mask, wait) = mpsc::channel();
    let worker = Worker::start(move |_, _| {
        let _ = mask.send(SigSet::thread_get_mask());
        async { Outcome::Abandoned }
    })
    .expect("worker");
    assert_eq!(SigSet::thread_get_mask().expect("mask"), before);
    worker.submit(job(1)).expect("running");
    let mask = wait.recv().expect("running").expect("mask");
    for signal in [Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGCHLD, Signal::SIGUSR1, Signal::SIGALRM, Signal::SIGIO] {
        assert!(mask.contains(signal), "{signal}");
    }
    for signal in [Signal::SIGILL, Signal::SIGFPE, Signal::SIGSEGV, Signal::SIGBUS] {
        assert!(!mask.contains(signal), "{signal}");
    }
}

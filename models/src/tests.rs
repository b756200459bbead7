use std::collections::VecDeque;

use loom::thread;

use crate::bridge::{Completions, JobControl, Ticket};
use crate::sync::{Arc, EventFd};

type Queue = Arc<Completions<u32>>;
type Wait = fn(&EventFd);

/// Every model, with each way to be woken.
fn check(model: impl Fn(Wait) + Sync + Send + Copy + 'static) {
    loom::model(move || model(EventFd::wait_for_write));
    loom::model(move || model(EventFd::wait_until_readable));
}

fn queue() -> Queue {
    Arc::new(Completions::new(EventFd::new()))
}

/// What the event loop does: sleeps until it is woken, and takes what is there, until it has so many.
fn receive(queue: &Queue, wait: Wait, wanted: usize) -> Vec<u32> {
    let mut received = VecDeque::new();
    while received.len() < wanted {
        wait(queue.wake());
        queue.take(&mut received);
    }
    // and there is nothing more
    queue.take(&mut received);
    received.into()
}

/// No wake-up is lost, however posting and taking meet: nothing stays in the queue while the event loop sleeps.
#[test]
fn every_completion_arrives_in_order() {
    check(|wait| {
        let queue = queue();
        let thread = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || (1..=3).for_each(|n| queue.post(n)))
        };
        assert_eq!(receive(&queue, wait, 3), [1, 2, 3]);
        thread.join().expect("the thread");
    });
}

/// The same from two threads: nothing depends on there being one.
#[test]
fn every_completion_of_two_threads_arrives() {
    check(|wait| {
        let queue = queue();
        let threads: Vec<_> = [1, 2]
            .map(|n| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || queue.post(n))
            })
            .into();
        let mut received = receive(&queue, wait, 2);
        received.sort_unstable();
        assert_eq!(received, [1, 2]);
        for thread in threads {
            thread.join().expect("the thread");
        }
    });
}

/// Each ticket is worth one completion: what was posted with it, or failure if it was dropped. One that is void is worth none.
#[test]
fn one_completion_for_each_ticket() {
    check(|wait| {
        let queue = queue();
        let tickets = [10, 20, 30].map(|failed| Ticket::new(&queue, failed));
        let thread = thread::spawn(move || {
            let [posted, dropped, void] = tickets;
            posted.post(1);
            drop(dropped);
            void.void();
        });
        assert_eq!(receive(&queue, wait, 2), [1, 20]);
        thread.join().expect("the thread");
    });
}

const ANSWERED: u32 = 1;
const PASSED_OVER: u32 = 2;

/// What the thread does when a job's turn comes.
fn ask(queue: &Queue, control: &JobControl) {
    queue.post(if control.wanted() { ANSWERED } else { PASSED_OVER });
}

/// The last waiter leaves and another comes, while the job's turn comes: it is answered, or the job was passed over and is
/// handed over again, and that one is not passed over.
#[test]
fn who_comes_after_the_last_has_left_is_answered() {
    check(|wait| {
        let (queue, control) = (queue(), Arc::new(JobControl::new(1)));
        let turn = || {
            let (queue, control) = (Arc::clone(&queue), Arc::clone(&control));
            thread::spawn(move || ask(&queue, &control))
        };
        let first = turn();
        control.abandon();
        control.extend(2);
        if receive(&queue, wait, 1) == [PASSED_OVER] {
            let again = turn();
            assert_eq!(receive(&queue, wait, 1), [ANSWERED]);
            again.join().expect("the thread");
        }
        first.join().expect("the thread");
    });
}

/// A job for which somebody waits all the time is not passed over, and its limit only ever moves away.
#[test]
fn a_job_that_is_waited_for_is_asked() {
    check(|wait| {
        let (queue, control) = (queue(), Arc::new(JobControl::new(10)));
        let begun = control.deadline();
        let thread = {
            let (queue, control) = (Arc::clone(&queue), Arc::clone(&control));
            thread::spawn(move || {
                let (first, second) = (control.deadline(), control.deadline());
                assert!(begun <= first && first <= second);
                ask(&queue, &control);
            })
        };
        control.extend(30);
        control.extend(20);
        assert_eq!(control.deadline() - begun, std::time::Duration::from_millis(20));
        assert_eq!(receive(&queue, wait, 1), [ANSWERED]);
        thread.join().expect("the thread");
    });
}

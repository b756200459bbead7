//! Mixed load for a long time: run by `scripts/soak.sh`, which says how long.

mod support;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::gateway::{PROTECT, PROTECT_BY_LOCATION, asked_by_location, bare, wait_for_in_progress};
use support::http::{Client, request_bytes};
use support::{Answer, Api, Idp, Nginx, TokenSpec};

/// How long after a fault its consequences are explained by it.
const AFTERMATH: Duration = Duration::from_secs(2);

/// What all threads share.
struct Plan {
    began: Instant,
    end: Instant,
    /// Milliseconds from `began` until which the server's faults explain a 5xx.
    excused_until: AtomicU64,
    reloading: AtomicBool,
    counts: [AtomicU64; KINDS.len()],
}

const KINDS: [&str; 6] = ["hits", "new tokens", "unknown tokens", "no token", "left by the client", "during faults"];

impl Plan {
    fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn count(&self, kind: usize) {
        self.counts[kind].fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
#[ignore = "takes as long as SOAK_SECONDS says: scripts/soak.sh"]
fn soak() {
    let seconds: u64 = std::env::var("SOAK_SECONDS").expect("SOAK_SECONDS").parse().expect("a number");
    let (idp, api) = (Arc::new(Idp::start()), Api::start());
    let nginx = Arc::new(
        asked_by_location(bare(&idp, &api), &idp)
            .log_level("error")
            .http("phantom_token_cache_size 1m; keepalive_requests 100000;")
            .server("access_log off; phantom_token_timeout 1s;")
            .server(&format!("location /url {{ {PROTECT} proxy_pass @api@; }}"))
            .server(&format!("location /uri {{ {PROTECT_BY_LOCATION} proxy_pass @api@; }}"))
            .allow_log("introspection of token")
            .allow_log("upstream")
            .start(),
    );
    let began = Instant::now();
    let plan = Arc::new(Plan {
        began,
        end: began + Duration::from_secs(seconds),
        excused_until: AtomicU64::new(0),
        // in the second half the same workers stay, and their memory is looked at
        reloading: AtomicBool::new(true),
        counts: Default::default(),
    });
    let threads: Vec<_> = (0..4)
        .map(|seed| {
            let (plan, idp, nginx) = (plan.clone(), idp.clone(), nginx.clone());
            std::thread::spawn(move || load(&plan, &idp, &nginx, seed))
        })
        .collect();
    let faults = {
        let (plan, idp) = (plan.clone(), idp.clone());
        std::thread::spawn(move || make_faults(&plan, &idp))
    };
    let half = plan.began + Duration::from_secs(seconds) / 2;
    let mut reloads = 0;
    while Instant::now() < half {
        pause(&plan, Duration::from_secs(10));
        nginx.reload();
        reloads += 1;
    }
    plan.reloading.store(false, Ordering::SeqCst);
    // the caches of the new workers fill up first
    pause(&plan, (plan.end - Instant::now()) / 4);
    let first = sample(&nginx);
    while !plan.is_over() {
        pause(&plan, Duration::from_secs(5));
    }
    let last = sample(&nginx);
    faults.join().expect("the faults");
    let errors: Vec<String> = threads.into_iter().flat_map(|thread| thread.join().expect("a thread of load")).collect();
    wait_for_in_progress(&nginx, 0);
    for (kind, count) in KINDS.iter().zip(&plan.counts) {
        println!("{kind}: {}", count.load(Ordering::Relaxed));
    }
    println!("reloads: {reloads}; workers at the start of the last stretch, and at its end: {first:?}, {last:?}");
    assert!(errors.is_empty(), "{} unexplained:\n{}", errors.len(), errors[..errors.len().min(20)].join("\n"));
    assert!(last.resident < first.resident + first.resident / 10 + 2048, "memory grew: {first:?}, {last:?}");
    assert!(last.descriptors < first.descriptors + 20, "descriptors grew: {first:?}, {last:?}");
    Arc::try_unwrap(nginx).unwrap_or_else(|_| panic!("somebody still has NGINX")).finish();
}

fn pause(plan: &Plan, time: Duration) {
    let end = (Instant::now() + time).min(plan.end);
    std::thread::sleep(end.saturating_duration_since(Instant::now()));
}

/// One thread's requests; what came out that the plan does not explain.
fn load(plan: &Plan, idp: &Idp, nginx: &Nginx, seed: u64) -> Vec<String> {
    let mut errors = Vec::new();
    // they outlive the test
    let hot: Vec<_> = (0..20).map(|_| idp.issue_token(TokenSpec::new().expires_in(86_400))).collect();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut client = None;
    while !plan.is_over() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let path = if state % 2 == 0 { "/url" } else { "/uri" };
        // Few new ones: each is looked for in every log at the end.
        let (kind, bearer, expected) = match state / 2 % 200 {
            0..170 => (0, Some(hot[(state / 400 % 20) as usize].bearer()), 200),
            170 => (1, Some(idp.issue().bearer()), 200),
            171..185 => (2, Some(format!("Bearer unknown-{state}")), 401),
            185..190 => (3, None, 401),
            _ => (4, Some(format!("Bearer left-{state}")), 0),
        };
        let headers: Vec<_> = bearer.iter().map(|bearer| ("Authorization", bearer.as_str())).collect();
        let begun = plan.now();
        if expected == 0 {
            let mut leaver = Client::connect(nginx.addr());
            leaver.send(&request_bytes("GET", path, &headers, b""));
            leaver.reset();
            plan.count(kind);
            continue;
        }
        let connection = client.get_or_insert_with(|| Client::connect(nginx.addr()));
        let sent = connection.try_send(&request_bytes("GET", path, &headers, b""));
        let response = sent.and_then(|()| connection.try_read_response_to("GET"));
        let Ok(Some(response)) = response else {
            // an old worker closes what is idle, and may do so just now
            client = None;
            if !plan.reloading.load(Ordering::SeqCst) && plan.now() > begun + 60_000 {
                errors.push(format!("{path}: no response"));
            }
            continue;
        };
        if response.header("Connection") == Some("close") {
            client = None;
        }
        let excused = begun < plan.excused_until.load(Ordering::SeqCst);
        if excused && matches!(response.status, 502..=504) {
            plan.count(5);
        } else if response.status == expected {
            plan.count(kind);
        } else {
            errors.push(format!("{path} {}: {} instead of {expected} at {begun} ms", KINDS[kind], response.status));
        }
    }
    errors
}

/// One fault after the other, with peace between them.
fn make_faults(plan: &Plan, idp: &Idp) {
    let faults = [Answer::status(500), Answer::hang(), Answer::reset(), Answer::status(429), Answer::close()];
    for fault in faults.iter().cycle() {
        pause(plan, Duration::from_secs(7));
        if plan.is_over() {
            return;
        }
        plan.excused_until.store(u64::MAX, Ordering::SeqCst);
        idp.answer_all(fault.clone());
        pause(plan, Duration::from_secs(1));
        idp.answer_normally();
        idp.forget_introspections();
        plan.excused_until.store(plan.now() + AFTERMATH.as_millis() as u64, Ordering::SeqCst);
    }
}

#[derive(Debug)]
struct Sample {
    /// Kilobytes, all workers together.
    resident: u64,
    descriptors: usize,
}

fn sample(nginx: &Nginx) -> Sample {
    let workers = nginx.workers();
    let resident = |pid: &u32| -> u64 {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok()).unwrap_or(0)
    };
    let descriptors = |pid: &u32| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    Sample { resident: workers.iter().map(resident).sum(), descriptors: workers.iter().map(descriptors).sum() }
}

//! Each waiter waits its own time.

use std::time::{Duration, Instant};

use super::support::gateway::{PROTECT, bare, wait_for_in_progress};
use super::support::http::{Client, request_bytes};
use super::support::{Answer, Api, Echo, Gate, Idp, Nginx, Token};

const TIMEOUT: Duration = Duration::from_secs(2);

fn gateway(idp: &Idp, api: &Api) -> Nginx {
    let location = format!("location / {{ {PROTECT} phantom_token_timeout 2s; proxy_pass @api@; }}");
    bare(idp, api).workers(1).server(&location).start()
}

fn send(nginx: &Nginx, token: &Token) -> (Client, Instant) {
    let mut client = Client::connect(nginx.addr());
    let begun = Instant::now();
    client.send(&request_bytes("GET", "/", &[("Authorization", &token.bearer())], b""));
    (client, begun)
}

#[track_caller]
fn assert_own_time((mut client, begun): (Client, Instant)) {
    let response = client.read_response();
    let waited = begun.elapsed();
    assert_eq!(response.status, 504, "{response:?}");
    // NGINX's clock is that of the event loop's last turn
    assert!(waited >= TIMEOUT - Duration::from_millis(60), "gave up after {waited:?}");
    assert!(waited < TIMEOUT + Duration::from_millis(1200), "gave up only after {waited:?}");
}

#[test]
fn a_follower_that_joins_late_waits_its_own_time() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api);
    idp.answer_all(Answer::hang());
    let token = idp.issue();
    let leader = send(&nginx, &token);
    idp.wait_for_introspections(1);
    std::thread::sleep(Duration::from_secs(1));
    let follower = send(&nginx, &token);
    wait_for_in_progress(&nginx, 2);
    assert_own_time(leader);
    assert_eq!(idp.introspection_count(), 1, "the follower joined");
    assert_own_time(follower);
    nginx.finish();
}

#[test]
fn a_late_answer_reaches_the_follower_that_still_waits() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api);
    let gate = Gate::closed();
    idp.answer_all(Answer::normal().gated(&gate));
    let token = idp.issue();
    let leader = send(&nginx, &token);
    idp.wait_for_introspections(1);
    std::thread::sleep(Duration::from_secs(1));
    let (mut follower, _) = send(&nginx, &token);
    wait_for_in_progress(&nginx, 2);
    assert_own_time(leader);
    gate.open();
    assert_eq!(Echo::of(&follower.read_response()).bearer(), Some(token.jwt.as_str()));
    assert_eq!(idp.introspection_count(), 1);
    nginx.finish();
}

#[test]
fn a_hung_exchange_is_not_joined_after_the_deadline() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api);
    idp.answer_next(Answer::hang());
    let token = idp.issue();
    let leader = send(&nginx, &token);
    idp.wait_for_introspections(1);
    std::thread::sleep(Duration::from_secs(1));
    let follower = send(&nginx, &token);
    wait_for_in_progress(&nginx, 2);
    assert_own_time(leader);
    // the endpoint has recovered, and a follower keeps the hung exchange alive
    let (mut next, begun) = send(&nginx, &token);
    assert_eq!(Echo::of(&next.read_response()).bearer(), Some(token.jwt.as_str()));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(idp.introspection_count(), 2);
    drop(follower);
    nginx.finish();
}

#[test]
fn a_hung_exchange_does_not_hold_its_slot() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api);
    // more than may be in flight at once
    idp.answer_all(Answer::hang());
    let hung: Vec<_> = (0..80).map(|_| send(&nginx, &idp.issue())).collect();
    wait_for_in_progress(&nginx, 80);
    for (mut client, _) in hung {
        assert_eq!(client.read_response().status, 504);
    }
    idp.answer_normally();
    let token = idp.issue();
    let (mut next, _) = send(&nginx, &token);
    assert_eq!(Echo::of(&next.read_response()).bearer(), Some(token.jwt.as_str()));
    nginx.finish();
}

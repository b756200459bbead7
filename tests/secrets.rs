//! What a worker's memory still has of what it has handled. It is searched as a core dump would be.

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::KeyPair;
use support::gateway::{PROTECT, PROTECT_BY_LOCATION, asked_by_location, bare, wait_for_in_progress};
use support::http::{Client, request_bytes};
use support::idp::{ClientAuth, random};
use support::memory::{Found, Memory};
use support::tls::{Pki, TlsServer};
use support::{Answer, Api, Gate, Idp, Nginx, wait};

/// Further than any shorter request reaches into a buffer of NGINX's that it uses again.
const PADDING: usize = 400;

/// A request with `credential` at its end.
fn request(path: &str, credential: (&str, &str)) -> Vec<u8> {
    let padding = "p".repeat(PADDING);
    request_bytes("GET", path, &[("Connection", "close"), ("X-Padding", &padding), credential], b"")
}

/// Copies of a token but for those in NGINX's own buffers, where it is as the client sent it.
fn copies(memory: &Memory, token: &str) -> Vec<Found> {
    let is_nginx = |found: &Found| found.before.ends_with("Bearer ") || found.before.ends_with("session=");
    memory.find(token).into_iter().filter(|found| !is_nginx(found)).collect()
}

/// Waits until there are no copies: what has been given up ends a little later than its request.
#[track_caller]
fn wait_for_none(nginx: &Nginx, what: &str, tokens: &[String]) {
    let worker = nginx.workers()[0];
    let mut last = Vec::new();
    let gone = wait::try_for(wait::DEADLINE, || {
        let memory = Memory::of(worker);
        last = tokens.iter().flat_map(|token| copies(&memory, token)).collect();
        last.is_empty().then_some(())
    });
    assert!(gone.is_some(), "{what}: {last:x?}");
}

/// However an exchange ends, the token that it was about is in none of the module's memory afterwards.
#[test]
fn tokens_of_finished_requests() {
    let (idp, api) = (Idp::start(), Api::start());
    let cookie = format!("{PROTECT} phantom_token_source cookie=session;");
    let nginx = asked_by_location(bare(&idp, &api), &idp)
        .workers(1)
        .server("phantom_token_timeout 500ms;")
        .server(&format!("location /url {{ {PROTECT} proxy_pass @api@; }}"))
        .server(&format!("location /uri {{ {PROTECT_BY_LOCATION} proxy_pass @api@; }}"))
        .server(&format!("location /cookie {{ {cookie} proxy_pass @api@; }}"))
        .allow_log("introspection of token")
        .allow_log("upstream")
        .start();
    let credential = |path: &str, token: &str| match path {
        "/cookie" => ("Cookie", format!("a=b; session={token}; c=d")),
        _ => ("Authorization", format!("Bearer {token}")),
    };
    for path in ["/url", "/uri", "/cookie"] {
        let ask = |token: &str| {
            let (name, value) = credential(path, token);
            let mut client = Client::connect(nginx.addr());
            client.send(&request(path, (name, &value)));
            client
        };
        // The search finds what is there.
        let gate = Gate::closed();
        idp.answer_all(Answer::normal().gated(&gate));
        let token = idp.issue().opaque;
        let mut client = ask(&token);
        idp.wait_for_introspections(1);
        assert!(!copies(&Memory::of(nginx.workers()[0]), &token).is_empty(), "{path}: none while it is asked about");
        gate.open();
        assert_eq!(client.read_response().status, 200, "{path}");
        wait_for_none(&nginx, path, &[token]);

        for (answer, status) in [
            (Answer::normal(), 200),
            (Answer::status(204), 401),
            (Answer::status(401), 502),
            (Answer::status(500), 502),
            (Answer::ok("text/html", "<html>"), 502),
            (Answer::close(), 502),
            (Answer::reset(), 502),
            (Answer::hang(), 504),
        ] {
            idp.answer_all(answer.clone());
            let tokens: Vec<_> = (0..5).map(|_| idp.issue().opaque).collect();
            // the second time perhaps from the cache
            for _ in 0..2 {
                for mut client in tokens.iter().map(|token| ask(token)).collect::<Vec<_>>() {
                    assert_eq!(client.read_response().status, status, "{path} {answer:?}");
                }
            }
            wait_for_in_progress(&nginx, 0);
            wait_for_none(&nginx, &format!("{path} {answer:?}"), &tokens);
        }

        // Clients that leave, while half of them still wait in the queue.
        idp.answer_all(Answer::hang());
        let tokens: Vec<_> = (0..100).map(|_| idp.issue().opaque).collect();
        let clients: Vec<_> = tokens.iter().map(|token| ask(token)).collect();
        wait_for_in_progress(&nginx, tokens.len());
        clients.into_iter().for_each(Client::reset);
        wait_for_in_progress(&nginx, 0);
        wait_for_none(&nginx, &format!("{path}, left"), &tokens);
        idp.forget_introspections();
    }
    nginx.finish();
}

/// A library's buffer of an HTTP/2 connection keeps what was sent last; not longer than the connection is there.
#[test]
fn tokens_over_http_2() {
    let (api, pki) = (Api::start(), Pki::of("127.0.0.1"));
    let server = TlsServer::start(&pki, &["h2"]);
    let nginx = Nginx::builder()
        .workers(1)
        .var("api", api.url())
        .file("ca.pem", pki.ca.clone())
        .server(&format!(
            "location / {{ phantom_token on; phantom_token_client_auth none; phantom_token_ssl_trusted_certificate @dir@/ca.pem; \
             phantom_token_introspection_endpoint {}; proxy_pass @api@; }}",
            server.url("127.0.0.1")
        ))
        .start();
    let tokens: Vec<_> = (0..30).map(|_| random(24)).collect();
    for token in &tokens {
        let mut client = Client::connect(nginx.addr());
        client.send(&request("/", ("Authorization", &format!("Bearer {token}"))));
        assert_eq!(client.read_response().status, 200);
    }
    assert_eq!(server.requests()[0].version, "HTTP/2.0");
    wait_for_none(&nginx, "all but the last", &tokens[..tokens.len() - 1]);
    drop(server);
    wait_for_none(&nginx, "the connection is closed", &tokens);
    nginx.finish();
}

/// What must be in a worker's memory once only: as it was configured, and as it is used.
struct Credential {
    configured: Vec<u8>,
    used: Vec<u8>,
}

/// Looks for it in a worker that has asked over ten connections at once, before and after a reload; the connections are closed,
/// for each has what was sent over it last.
#[track_caller]
fn assert_kept_once(what: &str, idp: &Idp, nginx: Nginx, credential: Credential) {
    for reloaded in [false, true] {
        let gate = Gate::closed();
        idp.answer_all(Answer::normal().gated(&gate));
        idp.forget_introspections();
        let ask = |_| {
            let mut client = Client::connect(nginx.addr());
            client.send(&request("/", ("Authorization", &idp.issue().bearer())));
            client
        };
        let clients: Vec<_> = (0..10).map(ask).collect();
        idp.wait_for_introspections(10);
        gate.open();
        for mut client in clients {
            assert_eq!(client.read_response().status, 200, "{what}");
        }
        idp.drop_connections();
        idp.wait_for_open_connections(0);
        let counts = || {
            let memory = Memory::of(nginx.workers()[0]);
            (memory.find(&credential.configured).len(), memory.find(&credential.used).len())
        };
        let mut last = (0, 0);
        let once = wait::try_for(wait::DEADLINE, || {
            last = counts();
            (last == (1, 1)).then_some(())
        });
        assert!(once.is_some(), "{what}, reloaded: {reloaded}: {last:?} copies as configured, as used");
        assert_eq!(Memory::of(nginx.pid()).find(&credential.configured).len(), 1, "{what}: in the master");
        if !reloaded {
            let old = nginx.workers();
            nginx.reload();
            nginx.wait_for_exit_of(&old);
        }
    }
    nginx.finish();
}

/// NGINX that authenticates with what is in the file `@dir@/secret`.
fn authenticating(idp: &Idp, api: &Api, directives: &str, file: &str) -> Nginx {
    bare(idp, api)
        .workers(1)
        .file("secret", file)
        .server(&format!(
            "location / {{ phantom_token on; phantom_token_introspection_endpoint @introspect@; {directives} proxy_pass @api@; }}"
        ))
        .start()
}

#[test]
fn credentials() {
    let api = Api::start();
    for (method, wanted) in [
        ("client_secret_basic", ClientAuth::Basic),
        ("client_secret_basic_raw", ClientAuth::BasicRaw),
        ("client_secret_post", ClientAuth::Post),
    ] {
        // encoded, the secret is another text
        let idp = Idp::builder().client("gateway", &format!("{}+{}", random(9), random(9))).client_auth(wanted).start();
        let directives = format!(
            "phantom_token_client_auth {method}; phantom_token_client_id @id@; phantom_token_client_secret_file @dir@/secret;"
        );
        let nginx = authenticating(&idp, &api, &directives, &format!("{}\n", idp.client_secret()));
        let basic = idp.client_authorization().trim_start_matches("Basic ").to_owned();
        let used = match method {
            "client_secret_basic" => basic,
            "client_secret_basic_raw" => STANDARD.encode(format!("gateway:{}", idp.client_secret())),
            _ => idp.client_secret().replace('+', "%2B"),
        };
        let credential = Credential { configured: idp.client_secret().into(), used: used.into() };
        assert_kept_once(method, &idp, nginx, credential);
    }
}

#[test]
fn the_key_of_private_key_jwt() {
    let (idp, api) = (Idp::builder().client_auth(ClientAuth::None).start(), Api::start());
    let key = KeyPair::generate().expect("generate a key");
    let pem = key.serialize_pem();
    let directives = "phantom_token_client_auth private_key_jwt; phantom_token_client_id @id@; phantom_token_client_key @dir@/secret;";
    let nginx = authenticating(&idp, &api, directives, &pem);
    // a line with nothing but the key in it
    let line = pem.lines().nth(2).expect("a line of the key");
    assert_kept_once("the key", &idp, nginx, Credential { configured: line.into(), used: key.serialize_der() });
}

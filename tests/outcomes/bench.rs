//! NGINX with one protected location between an authorization server and an API, and what a refusal looks like.

use std::cell::Cell;
use std::net::SocketAddr;

use serde_json::Value;

use crate::support::http::{self, Response};
use crate::support::idp::{ClientAuth, random};
use crate::support::wire::Headers;
use crate::support::{Answer, Api, Echo, Idp, Nginx, Token, nginx, wait};

/// The three, with one worker, so that a second request meets the cache of the first.
pub struct Bench {
    pub idp: Idp,
    pub api: Api,
    pub nginx: Nginx,
    /// How many lines of the error log have been looked at.
    read: Cell<usize>,
}

/// What a refused client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub challenge: Option<&'static str>,
    pub code: &'static str,
    /// `$phantom_token_status`
    pub word: &'static str,
}

const fn unauthorized(challenge: &'static str, word: &'static str) -> Refusal {
    Refusal { status: 401, challenge: Some(challenge), code: "unauthorized_request", word }
}

const fn server_error(status: u16, word: &'static str) -> Refusal {
    Refusal { status, challenge: None, code: "server_error", word }
}

pub const ABSENT: Refusal = unauthorized("Bearer realm=\"api\"", "ABSENT");
pub const MALFORMED: Refusal = unauthorized("Bearer realm=\"api\", error=\"invalid_token\"", "MALFORMED");
pub const INACTIVE: Refusal = unauthorized("Bearer realm=\"api\", error=\"invalid_token\"", "INACTIVE");
pub const INVALID: Refusal = server_error(502, "INVALID_RESPONSE");
pub const REFUSED: Refusal = server_error(502, "REFUSED");
pub const UNREACHABLE: Refusal = server_error(502, "UNREACHABLE");
pub const OVERLOADED: Refusal = server_error(503, "OVERLOADED");
pub const TIMEOUT: Refusal = server_error(504, "TIMEOUT");

/// Where the configuration of the location goes.
const SERVER: &str = "
    add_header X-Status $phantom_token_status always;
    add_header X-Cache-Status $phantom_token_cache_status always;
    large_client_header_buffers 4 32k;
    location / {
        phantom_token on;
        phantom_token_introspection_endpoint @introspect@;
        @directives@
        proxy_pass @api@;
    }";

/// The client credentials of the authorization server.
pub const CREDENTIALS: &str = "phantom_token_client_id @id@; phantom_token_client_secret @secret@;";

impl Bench {
    /// Everything by default.
    pub fn start() -> Bench {
        Bench::with("")
    }

    /// With these directives in the location.
    pub fn with(directives: &str) -> Bench {
        Bench::of(Idp::start(), directives)
    }

    /// With this authorization server.
    pub fn of(idp: Idp, directives: &str) -> Bench {
        let directives = format!("{CREDENTIALS} {directives}");
        Bench::launch(idp, |builder, idp| builder.var("directives", &directives).idp(idp))
    }

    /// With this URL as the endpoint, which no authorization server need be behind.
    pub fn asking(url: &str, directives: &str) -> Bench {
        let idp = Idp::builder().client_auth(ClientAuth::None).start();
        Bench::launch(idp, |builder, idp| {
            builder.var("directives", directives).var("introspect", url).watch_secrets(idp)
        })
    }

    /// One that asks such a server itself, and one that has a location ask it.
    pub fn of_both_kinds(idp: impl Fn() -> Idp, directives: &str) -> [(&'static str, Bench); 2] {
        let by_location = Bench::launch(idp(), |builder, idp| {
            let url = idp.introspection_url();
            Bench::by_location(builder, &url, directives).var("basic", idp.client_authorization()).watch_secrets(idp)
        });
        [("URL", Bench::of(idp(), directives)), ("location", by_location)]
    }

    /// The same for a URL that no authorization server need be behind.
    pub fn asking_in_both_ways(url: &str) -> [(&'static str, Bench); 2] {
        let idp = Idp::builder().client_auth(ClientAuth::None).start();
        let by_location = Bench::launch(idp, |builder, idp| {
            Bench::by_location(builder, url, "").var("basic", "Basic eA==").watch_secrets(idp)
        });
        [("URL", Bench::asking(url, "")), ("location", by_location)]
    }

    fn by_location(builder: nginx::Builder, url: &str, directives: &str) -> nginx::Builder {
        builder
            .server("location = /-/ask { internal; proxy_set_header Authorization \"@basic@\"; proxy_pass @url@; }")
            .var("introspect", "/-/ask")
            .var("url", url)
            .var("directives", directives)
    }

    /// With anything else in the configuration; `@directives@` and `@introspect@` are the caller's.
    pub fn launch(idp: Idp, configure: impl FnOnce(nginx::Builder, &Idp) -> nginx::Builder) -> Bench {
        let api = Api::start();
        let nginx = configure(Nginx::builder().workers(1).server(SERVER), &idp).var("api", api.url()).start();
        let bench = Bench { idp, api, nginx, read: Cell::new(0) };
        // what was said of the configuration
        bench.new_log_lines(&[]);
        bench
    }

    pub fn addr(&self) -> SocketAddr {
        self.nginx.addr()
    }

    /// A token that introspection has this answer for, and that must not be logged.
    pub fn token_answered(&self, answer: Answer) -> String {
        let token = random(32);
        self.idp.add_secret(&token);
        self.idp.answer_for(&token, answer);
        token
    }

    /// GET with this token.
    pub fn get(&self, opaque: &str) -> Response {
        http::get(self.addr(), "/", &[("Authorization", &format!("Bearer {opaque}"))])
    }

    /// Asserts that this token reaches the API as this JWT.
    #[track_caller]
    pub fn assert_forwarded(&self, what: &str, opaque: &str, jwt: &str) {
        let response = self.get(opaque);
        assert_eq!(response.status, 200, "{what}: {response:?}\n{}", self.nginx.error_log());
        let echo = Echo::of(&response);
        assert_eq!(echo.all("authorization"), [format!("Bearer {jwt}")], "{what}");
        assert_eq!(response.header("x-status"), Some("ACTIVE"), "{what}");
    }

    /// Asserts that a good token still passes: the one before has broken nothing.
    #[track_caller]
    pub fn assert_healthy(&self) {
        let token = self.idp.issue();
        self.assert_forwarded("a good token", &token.opaque, &token.jwt);
    }

    /// Asserts that GET and HEAD with these fields are refused alike, and that nothing reaches the API.
    #[track_caller]
    pub fn assert_refused(&self, what: &str, headers: &[(&str, &str)], refusal: Refusal) -> Response {
        let before = self.api.request_count();
        let get = http::get(self.addr(), "/some/path?x=1", headers);
        refusal.check(what, &get);
        let head = http::request(self.addr(), "HEAD", "/some/path?x=1", headers, b"");
        assert_eq!(comparable(&head.headers), comparable(&get.headers), "{what}: HEAD");
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{what}: HEAD");
        assert_eq!(self.api.request_count(), before, "{what}: reached the API");
        get
    }

    /// The same for a token; `asked` times in all the endpoint is asked about it.
    #[track_caller]
    pub fn assert_token_refused(&self, what: &str, opaque: &str, refusal: Refusal, asked: usize) -> Response {
        let authorization = format!("Bearer {opaque}");
        let response = self.assert_refused(what, &[("Authorization", &authorization)], refusal);
        assert_eq!(self.idp.introspections_of(opaque), asked, "{what}: introspections of two requests");
        response
    }

    /// Lines of the error log since the last look, of these levels.
    pub fn new_log_lines(&self, levels: &[&str]) -> Vec<String> {
        let log = self.nginx.error_log();
        let lines: Vec<&str> = log.split_inclusive('\n').filter(|line| line.ends_with('\n')).collect();
        let new = lines[self.read.replace(lines.len())..].iter();
        let of_levels = new.filter(|line| levels.iter().any(|level| line.contains(level)));
        of_levels.map(|line| (*line).to_owned()).collect()
    }

    /// Asserts that since the last look `n` lines of this level, and none of a higher one, have been logged, each with
    /// our prefix and `text`.
    #[track_caller]
    pub fn assert_logged(&self, what: &str, n: usize, level: &str, text: &str) {
        let mut lines = Vec::new();
        let seen = wait::try_for(wait::DEADLINE, || {
            lines.extend(self.new_log_lines(&[level, "[warn]", "[error]", "[crit]", "[alert]", "[emerg]"]));
            (lines.len() >= n).then_some(())
        });
        let fits = |line: &String| line.contains(level) && line.contains("phantom token: ") && line.contains(text);
        let all = lines.len() == n && lines.iter().all(fits);
        assert!(seen.is_some() && all, "{what}: expected {n} {level} with {text:?}, got {lines:#?}");
    }

    /// Asserts that since the last look nothing of level warn or higher has been logged.
    #[track_caller]
    pub fn assert_not_logged(&self, what: &str) {
        let lines = self.new_log_lines(&["[warn]", "[error]", "[crit]", "[alert]", "[emerg]"]);
        assert!(lines.is_empty(), "{what}: {lines:#?}");
    }

    /// Stops NGINX and checks its logs.
    #[track_caller]
    pub fn finish(self) {
        self.nginx.finish();
    }
}

impl Refusal {
    /// Asserts that this response says so.
    #[track_caller]
    pub fn check(&self, what: &str, response: &Response) {
        assert_eq!(response.status, self.status, "{what}: {response:?}");
        let challenges: Vec<&str> = self.challenge.into_iter().collect();
        assert_eq!(response.all("www-authenticate"), challenges, "{what}");
        assert_eq!(response.all("content-type"), ["application/json"], "{what}");
        assert_eq!(response.all("content-length"), [response.body.len().to_string()], "{what}");
        let body = response.json();
        let members: Vec<&String> = body.as_object().expect("a JSON object").keys().collect();
        assert_eq!(members, ["code", "message"], "{what}: {body}");
        assert_eq!(body["code"], self.code, "{what}");
        assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{what}: {body}");
        assert_eq!(response.header("x-status"), Some(self.word), "{what}");
        assert_eq!(response.header("retry-after").is_some(), self.status == 503, "{what}: Retry-After");
    }
}

/// What GET and HEAD have in common.
fn comparable(headers: &Headers) -> Headers {
    let varying = ["date", "x-cache-status"];
    headers.iter().filter(|(name, _)| !varying.contains(&name.to_ascii_lowercase().as_str())).cloned().collect()
}

/// Names of fields, sorted, in lower case.
pub fn names(headers: &Headers) -> Vec<String> {
    let mut names: Vec<String> = headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort_unstable();
    names
}

/// A good token's JSON answer with other members; null removes one.
pub fn answer_with(token: &Token, changes: Value) -> Value {
    let mut members = serde_json::json!({"active": true, "token_type": "Bearer", "jwt": token.jwt});
    let changes = changes.as_object().expect("an object of changes");
    let members_map = members.as_object_mut().expect("an object of members");
    members_map.extend(changes.clone());
    members_map.retain(|_, value| !value.is_null());
    members
}

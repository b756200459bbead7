//! An authorization server: RFC 6749 token endpoint, RFC 7662 introspection in the shapes real
//! servers have, scripted answers and faults, and a record of everything it was asked.
//!
//! It runs in a thread of its own, HTTP/1.1 and HTTP/2
//! (prior knowledge) on one port. Every token, JWT and secret it knows is in [`Idp::secrets`], for the check
//! that none of them is in a log.

mod answer;
mod content;
mod record;
mod respond;
mod server;
mod token;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use super::jwt::Signer;
use super::ports::{self, Port};
pub use answer::{Answer, Gate};
pub use record::Introspection;
use record::Record;
use server::Server;
pub use token::{Token, TokenSpec, now, random};

/// How an introspection answer looks when it is not scripted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Curity, JWT approach: `Accept: application/jwt` → the JWT itself, with `max-age`; 204.
    CurityRaw,
    /// Curity, token procedure: JSON with `phantom_token`.
    CurityProcedure,
    /// Keycloak: JSON, with `jwt` if `Accept` is exactly `application/jwt`; `no-store`.
    Keycloak,
    /// RFC 7662 and no JWT, as Ory Hydra.
    Plain,
    /// RFC 9701: a JWT addressed to the gateway, claims inside `token_introspection`.
    Rfc9701,
}

/// How clients of the introspection endpoint must authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// Basic, id and secret form-urlencoded (RFC 6749 §2.3.1).
    Basic,
    /// Basic without that encoding.
    BasicRaw,
    /// In the form.
    Post,
    /// Not at all.
    None,
}

/// Sets an authorization server up.
pub struct Builder {
    port: Option<Port>,
    client: (String, String),
    shape: Shape,
    client_auth: ClientAuth,
}

/// The running server.
pub struct Idp {
    port: Port,
    shared: Arc<Shared>,
    server: Mutex<Option<Server>>,
}

/// What the connections share.
struct Shared {
    url: String,
    client_id: String,
    client_secret: String,
    client_auth: ClientAuth,
    signer: Signer,
    record: Record,
    settings: Mutex<Settings>,
}

struct Settings {
    shape: Shape,
    tokens: HashMap<String, Token>,
    next: VecDeque<Answer>,
    of_token: HashMap<String, Answer>,
    of_all: Option<Answer>,
    lifetime: i64,
    secrets: Vec<String>,
}

impl Builder {
    /// This port instead of a free one.
    pub fn port(mut self, port: Port) -> Builder {
        self.port = Some(port);
        self
    }

    /// Id and secret of the one client.
    pub fn client(mut self, id: &str, secret: &str) -> Builder {
        self.client = (id.to_owned(), secret.to_owned());
        self
    }

    /// The shape of answers.
    pub fn shape(mut self, shape: Shape) -> Builder {
        self.shape = shape;
        self
    }

    /// What the introspection endpoint accepts.
    pub fn client_auth(mut self, client_auth: ClientAuth) -> Builder {
        self.client_auth = client_auth;
        self
    }

    /// Starts it; it answers from here on.
    pub fn start(self) -> Idp {
        let port = self.port.unwrap_or_else(ports::reserve);
        let (client_id, client_secret) = self.client;
        let settings = Settings {
            shape: self.shape,
            tokens: HashMap::new(),
            next: VecDeque::new(),
            of_token: HashMap::new(),
            of_all: None,
            lifetime: 300,
            secrets: vec![client_secret.clone()],
        };
        let shared = Arc::new(Shared {
            url: format!("http://{}", port.addr()),
            client_id,
            client_secret,
            client_auth: self.client_auth,
            signer: Signer::generate(),
            record: Record::default(),
            settings: Mutex::new(settings),
        });
        let server = Server::start(port.addr(), shared.clone());
        Idp { port, shared, server: Mutex::new(Some(server)) }
    }
}

impl Idp {
    /// The default: Curity's JWT approach, Basic authentication, client `gateway`.
    pub fn start() -> Idp {
        Idp::builder().start()
    }

    /// Everything but the default.
    pub fn builder() -> Builder {
        Builder {
            port: None,
            client: ("gateway".to_owned(), random(18)),
            shape: Shape::CurityRaw,
            client_auth: ClientAuth::Basic,
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// The issuer: scheme, address and port.
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// The introspection endpoint, whose shape `set_shape` decides.
    pub fn introspection_url(&self) -> String {
        format!("{}/oauth/introspect", self.url())
    }

    /// An introspection endpoint that always has this shape.
    pub fn introspection_url_of(&self, shape: Shape) -> String {
        format!("{}/oauth/introspect/{shape:?}", self.url())
    }

    /// The token endpoint.
    pub fn token_url(&self) -> String {
        format!("{}/oauth/token", self.url())
    }

    /// The client's id.
    pub fn client_id(&self) -> &str {
        &self.shared.client_id
    }

    /// The client's secret.
    pub fn client_secret(&self) -> &str {
        &self.shared.client_secret
    }

    /// `Authorization` of the client: Basic, encoded as RFC 6749 §2.3.1 wants it.
    pub fn client_authorization(&self) -> String {
        respond::basic(self.client_id(), self.client_secret())
    }

    /// The key its JWTs are signed with.
    pub fn signer(&self) -> &Signer {
        &self.shared.signer
    }

    /// Changes the shape of answers.
    pub fn set_shape(&self, shape: Shape) {
        self.shared.settings().shape = shape;
    }

    /// Lifetime in seconds of tokens from the token endpoint.
    pub fn set_token_lifetime(&self, seconds: i64) {
        self.shared.settings().lifetime = seconds;
    }

    /// Issues a token without the token endpoint.
    pub fn issue_token(&self, spec: TokenSpec) -> Token {
        self.shared.issue(spec)
    }

    /// Issues a default token.
    pub fn issue(&self) -> Token {
        self.issue_token(TokenSpec::new())
    }

    /// The token of this opaque string, as issued.
    pub fn token(&self, opaque: &str) -> Option<Token> {
        self.shared.settings().tokens.get(opaque).cloned()
    }

    /// Makes a token inactive.
    #[track_caller]
    pub fn revoke(&self, opaque: &str) {
        let mut settings = self.shared.settings();
        let token = settings.tokens.get_mut(opaque);
        token.expect("revoke a token that was issued").revoked = true;
    }

    /// Scripts the next introspection not yet scripted; several calls queue up.
    pub fn answer_next(&self, answer: Answer) {
        self.shared.settings().next.push_back(answer);
    }

    /// Scripts all introspections of a token, issued or not.
    pub fn answer_for(&self, opaque: &str, answer: Answer) {
        let mut settings = self.shared.settings();
        settings.of_token.insert(opaque.to_owned(), answer);
    }

    /// Scripts all introspections not scripted more closely.
    pub fn answer_all(&self, answer: Answer) {
        self.shared.settings().of_all = Some(answer);
    }

    /// Forgets all scripts.
    pub fn answer_normally(&self) {
        let mut settings = self.shared.settings();
        settings.next.clear();
        settings.of_token.clear();
        settings.of_all = None;
    }

    /// All introspection requests so far, in order of arrival.
    pub fn introspections(&self) -> Vec<Introspection> {
        self.shared.record.look().introspections.clone()
    }

    /// How many there were.
    pub fn introspection_count(&self) -> usize {
        self.shared.record.look().introspections.len()
    }

    /// How many there were for a token.
    pub fn introspections_of(&self, opaque: &str) -> usize {
        let counts = self.shared.record.look();
        let all = counts.introspections.iter();
        all.filter(|request| request.token() == Some(opaque)).count()
    }

    /// Requests at the token endpoint so far.
    pub fn token_requests(&self) -> usize {
        self.shared.record.look().token_requests
    }

    /// Connections accepted so far.
    pub fn connections_opened(&self) -> usize {
        self.shared.record.look().opened
    }

    /// Connections open now.
    pub fn connections_open(&self) -> usize {
        let counts = self.shared.record.look();
        counts.opened - counts.closed
    }

    /// Waits until `n` introspections have arrived in all; held ones count.
    #[track_caller]
    pub fn wait_for_introspections(&self, n: usize) {
        let what = format!("{n} introspections");
        self.shared.record.wait_until(&what, |counts| counts.introspections.len() >= n);
    }

    /// Waits until `n` answers have been handed to their connections.
    #[track_caller]
    pub fn wait_for_answers(&self, n: usize) {
        let what = format!("{n} answers");
        self.shared.record.wait_until(&what, |counts| counts.answered >= n);
    }

    /// Waits until exactly `n` connections are open.
    #[track_caller]
    pub fn wait_for_open_connections(&self, n: usize) {
        let what = format!("{n} open connections");
        self.shared.record.wait_until(&what, |counts| counts.opened - counts.closed == n);
    }

    /// Forgets the introspections recorded so far.
    pub fn forget_introspections(&self) {
        self.shared.record.change(|counts| {
            counts.introspections.clear();
            counts.answered = 0;
        });
    }

    /// Closes every open connection; new ones are welcome.
    pub fn drop_connections(&self) {
        let server = self.server.lock().expect("server of the idp");
        server.as_ref().expect("a server that is up").drop_connections();
    }

    /// Goes down: connections are closed, new ones refused. Tokens and scripts stay.
    pub fn go_down(&self) {
        self.server.lock().expect("server of the idp").take();
    }

    /// Comes up again on the same port.
    pub fn come_up(&self) {
        let mut server = self.server.lock().expect("server of the idp");
        if server.is_none() {
            *server = Some(Server::start(self.addr(), self.shared.clone()));
        }
    }

    /// Everything that must not be in a log, as of now: tokens, JWTs, the client secret.
    pub fn secrets(&self) -> Secrets {
        Secrets(self.shared.clone())
    }

    /// Adds one.
    pub fn add_secret(&self, secret: &str) {
        self.shared.settings().secrets.push(secret.to_owned());
    }
}

/// The growing list of a server's secrets; outlives the server.
#[derive(Clone)]
pub struct Secrets(Arc<Shared>);

impl Secrets {
    /// The list.
    pub fn list(&self) -> Vec<String> {
        self.0.settings().secrets.clone()
    }
}

impl Shared {
    fn settings(&self) -> std::sync::MutexGuard<'_, Settings> {
        self.settings.lock().expect("settings of the idp")
    }

    fn issue(&self, spec: TokenSpec) -> Token {
        let token = spec.issue(&self.url, &self.client_id, &self.signer);
        let mut settings = self.settings();
        settings.secrets.push(token.opaque.clone());
        settings.secrets.push(token.jwt.clone());
        settings.tokens.insert(token.opaque.clone(), token.clone());
        token
    }
}

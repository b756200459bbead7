//! What the client and worker tests have in common: settings, a worker that is waited for by its eventfd, and an
//! endpoint whose every byte the test decides.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use ngx_http_phantom_token_module::freshness::Stated;
use ngx_http_phantom_token_module::introspection::{Answer, Failure};
use ngx_http_phantom_token_module::settings::{
    ClientAuth, ClientPassword, ClientSettings, Endpoint, EndpointUrl, IntrospectionJwt, Profile, Secret, Tls,
    TrustedCertificate,
};
use ngx_http_phantom_token_module::worker::{Completion, Job, JobControl, Outcome, Worker};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use zeroize::Zeroizing;

/// Longer than anything here takes: only a failing test waits so long.
pub const LONG_MS: u64 = 20_000;

pub const INACTIVE: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"active\":false}";

pub fn settings(url: &str) -> ClientSettings {
    ClientSettings {
        endpoint: EndpointUrl::parse(url).unwrap(),
        tls: Tls::new(),
        connect_timeout: Duration::from_secs(10),
        keepalive: 32,
    }
}

pub fn trusted(pem: &str) -> Option<TrustedCertificate> {
    Some(TrustedCertificate::new("/etc/ca.pem".to_owned(), pem.as_bytes().to_vec()))
}

pub fn profile(settings: &ClientSettings) -> Profile {
    Profile {
        endpoint: Endpoint::Url(settings.endpoint.clone()),
        client_auth: ClientAuth::ClientSecretBasic(ClientPassword {
            client_id: "gateway".to_owned(),
            client_secret: Secret::new("secret".to_owned()),
        }),
        accept: "application/jwt".to_owned(),
        jwt_members: vec!["jwt".to_owned()],
        introspection_jwt: IntrospectionJwt::Reject,
        tls: settings.tls.clone(),
        ignore_cache_control: false,
        max_ttl: Duration::from_secs(60),
        inactive_ttl: Duration::from_secs(5),
    }
}

/// A worker and the settings of its jobs.
pub struct Bench {
    pub worker: Worker,
    pub settings: Arc<ClientSettings>,
    pub profile: Arc<Profile>,
    taken: VecDeque<Completion>,
}

impl Bench {
    pub fn new(settings: ClientSettings) -> Self {
        let profile = Arc::new(profile(&settings));
        let worker = Worker::spawn(Arc::default()).unwrap();
        Self { worker, settings: Arc::new(settings), profile, taken: VecDeque::new() }
    }

    pub fn submit(&self, id: u64, limit_ms: u64) -> Arc<JobControl> {
        let control = Arc::new(JobControl::new(limit_ms));
        let job = Job {
            id,
            profile: Arc::clone(&self.profile),
            client: Arc::clone(&self.settings),
            token: Zeroizing::new(format!("token-{id}").into_bytes()),
            control: Arc::clone(&control),
        };
        self.worker.submit(job).unwrap();
        control
    }

    /// The next completion, waited for as NGINX does.
    pub fn next(&mut self) -> Completion {
        while self.taken.is_empty() {
            assert!(readable(&self.worker, LONG_MS as u16), "no completion");
            self.worker.take(&mut self.taken);
        }
        self.taken.pop_front().unwrap()
    }

    /// Asks one token and waits for what becomes of it.
    pub fn ask(&mut self, id: u64) -> Result<(Answer, Stated), Failure> {
        self.ask_within(id, LONG_MS)
    }

    pub fn ask_within(&mut self, id: u64, limit_ms: u64) -> Result<(Answer, Stated), Failure> {
        self.submit(id, limit_ms);
        let completion = self.next();
        assert_eq!(completion.id, id);
        match completion.outcome {
            Outcome::Done(result) => result,
            Outcome::Abandoned => panic!("abandoned"),
        }
    }
}

/// Whether the worker's descriptor becomes readable.
pub fn readable(worker: &Worker, timeout_ms: u16) -> bool {
    let mut fds = [PollFd::new(worker.wake_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::from(timeout_ms)).unwrap() == 1
}

/// An endpoint on plain TCP, driven by the test.
pub struct Server {
    pub listener: TcpListener,
}

impl Server {
    pub fn bind() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    pub fn url(&self) -> String {
        format!("http://{}/introspect", self.listener.local_addr().unwrap())
    }

    pub fn accept(&self) -> Peer {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(LONG_MS))).unwrap();
        Peer(BufReader::new(stream))
    }

    /// Whether nobody else has connected.
    pub fn is_quiet(&self) -> bool {
        self.listener.set_nonblocking(true).unwrap();
        let quiet = self.listener.accept().is_err();
        self.listener.set_nonblocking(false).unwrap();
        quiet
    }
}

/// One accepted connection.
pub struct Peer(pub BufReader<TcpStream>);

impl Peer {
    /// Reads one request: head and content.
    pub fn request(&mut self) -> (String, String) {
        let mut head = String::new();
        let mut length = 0;
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "closed in the head");
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            head.push_str(&line);
        }
        let mut content = vec![0; length];
        self.0.read_exact(&mut content).unwrap();
        (head, String::from_utf8(content).unwrap())
    }

    pub fn answer(&mut self, bytes: &str) {
        self.0.get_mut().write_all(bytes.as_bytes()).unwrap();
    }

    /// Waits until the client closes its side.
    pub fn closed(&mut self) {
        let mut rest = Vec::new();
        // A reset is as good.
        let _ = self.0.read_to_end(&mut rest);
    }
}

/// A listener that lets nobody connect any more: its queue is full, and further SYNs are ignored.
pub struct FullListener {
    pub address: SocketAddr,
    _listener: tokio::net::TcpListener,
    _queued: Vec<TcpStream>,
    _runtime: tokio::runtime::Runtime,
}

impl FullListener {
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let listener = {
            let _entered = runtime.enter();
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
            socket.listen(1).unwrap()
        };
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            queued.push(stream);
        }
        Self { address, _listener: listener, _queued: queued, _runtime: runtime }
    }
}

//! Writes a complete nginx.conf and runs NGINX with it, or only its `-t`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::idp::{Idp, Secrets};
use super::super::ports::{self, Port};
use super::Nginx;

/// The parts of an nginx.conf. In all of them `@name@` stands for a variable of [`Builder::var`]
/// or the number of a port.
pub struct Builder {
    pub(super) workers: usize,
    pub(super) single_process: bool,
    pub(super) ports: Vec<(String, Port)>,
    pub(super) allowed: Vec<String>,
    pub(super) secrets: Vec<Secrets>,
    pub(super) resolver: bool,
    vars: Vec<(String, String)>,
    files: Vec<(String, Vec<u8>)>,
    module: bool,
    level: String,
    mode: u32,
    whole: Option<String>,
    main: String,
    events: String,
    http: String,
    listen: String,
    server: String,
}

/// A file of [`Builder::resolv_conf`].
const RESOLV_CONF: &str = "resolv.conf";

/// What `nginx -t` said.
#[derive(Debug, Clone)]
pub struct ConfigTest {
    /// Whether it accepted the configuration.
    pub ok: bool,
    /// Its messages.
    pub stderr: String,
    /// The nginx.conf it read.
    pub config: String,
}

/// `nginx -t` of a default configuration with this in its server block.
pub fn config_test(server: &str) -> ConfigTest {
    Builder::new().server(server).test()
}

impl ConfigTest {
    /// Asserts that it was refused by one `[emerg]` with all of these in it.
    #[track_caller]
    pub fn assert_emerg(&self, parts: &[&str]) {
        let emergs: Vec<_> = self.stderr.lines().filter(|l| l.contains("[emerg]")).collect();
        let found = |line: &&str| parts.iter().all(|part| line.contains(part));
        assert!(
            !self.ok && emergs.len() == 1 && emergs.iter().any(found),
            "expected one [emerg] with {parts:?}, got:\n{}\nfor:\n{}",
            self.stderr,
            self.config
        );
    }

    /// Asserts that it was accepted with one `[warn]` with all of these in it.
    #[track_caller]
    pub fn assert_warn(&self, parts: &[&str]) {
        let mut lines = self.stderr.lines().filter(|l| l.contains("[warn]"));
        let found = lines.any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(self.ok && found, "expected [warn] with {parts:?}:\n{}", self.stderr);
    }

    /// Asserts that it was accepted without a warning.
    #[track_caller]
    pub fn assert_ok(&self) {
        let quiet = !self.stderr.contains("[warn]");
        assert!(self.ok && quiet, "refused:\n{}\n{}", self.stderr, self.config);
    }

    /// `nginx.conf:LINE` of the first line that contains `text`, as messages name it.
    #[track_caller]
    pub fn line_of(&self, text: &str) -> String {
        let line = self.config.lines().position(|line| line.contains(text));
        let line = line.unwrap_or_else(|| panic!("no {text} in:\n{}", self.config));
        format!("nginx.conf:{}", line + 1)
    }
}

impl Builder {
    pub(super) fn new() -> Builder {
        let port = ports::reserve();
        Builder {
            workers: 2,
            single_process: false,
            listen: format!("        listen 127.0.0.1:{};\n", port.number()),
            ports: vec![("port".to_owned(), port)],
            allowed: Vec::new(),
            secrets: Vec::new(),
            resolver: false,
            vars: Vec::new(),
            files: Vec::new(),
            module: true,
            level: "info".to_owned(),
            mode: 0o600,
            whole: None,
            main: String::new(),
            events: String::new(),
            http: String::new(),
            server: String::new(),
        }
    }

    /// Loads no module.
    pub fn without_module(mut self) -> Builder {
        self.module = false;
        self
    }

    /// How many workers; 2 unless said.
    pub fn workers(mut self, workers: usize) -> Builder {
        self.workers = workers;
        self
    }

    /// `master_process off`.
    pub fn single_process(mut self) -> Builder {
        self.single_process = true;
        self.workers = 1;
        self
    }

    /// Level of the error log; `info` unless said. Tokens may be in one of level `debug`.
    pub fn log_level(mut self, level: &str) -> Builder {
        self.level = level.to_owned();
        self
    }

    /// Adds to the main context.
    pub fn main(mut self, text: &str) -> Builder {
        self.main += &format!("{text}\n");
        self
    }

    /// Adds to the `events` block.
    pub fn events(mut self, text: &str) -> Builder {
        self.events += &format!("{text}\n");
        self
    }

    /// Adds to the `http` block, before the server.
    pub fn http(mut self, text: &str) -> Builder {
        self.http += &format!("{text}\n");
        self
    }

    /// Adds to the server block.
    pub fn server(mut self, text: &str) -> Builder {
        self.server += &format!("{text}\n");
        self
    }

    /// Makes `@name@` stand for this value.
    pub fn var(mut self, name: &str, value: impl ToString) -> Builder {
        self.vars.push((name.to_owned(), value.to_string()));
        self
    }

    /// `@introspect@`, `@id@`, `@secret@` of this server; its secrets are watched.
    pub fn idp(self, idp: &Idp) -> Builder {
        self.var("introspect", idp.introspection_url())
            .var("id", idp.client_id())
            .var("secret", idp.client_secret())
            .watch_secrets(idp)
    }

    /// Reserves a port, `@name@` in the configuration and `addr_of(name)` afterwards.
    pub fn port(mut self, name: &str) -> Builder {
        self.ports.push((name.to_owned(), ports::reserve()));
        self
    }

    /// Uses this port for the HTTP/1.1 listener.
    pub fn on(mut self, port: Port) -> Builder {
        self.listen = format!("        listen 127.0.0.1:{};\n", port.number());
        self.ports[0].1 = port;
        self
    }

    /// Adds an HTTP/2 listener (prior knowledge) to the server: `addr_of("h2")`.
    pub fn listen_h2(mut self) -> Builder {
        let port = ports::reserve();
        let number = port.number();
        self.listen += &if nginx_version() >= (1, 25, 1) {
            format!("        listen 127.0.0.1:{number};\n        http2 on;\n")
        } else {
            format!("        listen 127.0.0.1:{number} http2;\n")
        };
        self.ports.push(("h2".to_owned(), port));
        self
    }

    /// Adds a TLS listener to the server: `addr_of("tls")`.
    pub fn listen_tls(mut self, certificate: &Path, key: &Path) -> Builder {
        let port = ports::reserve();
        self.listen += &format!(
            "        listen 127.0.0.1:{} ssl;\n        ssl_certificate {};\n        \
             ssl_certificate_key {};\n",
            port.number(),
            certificate.display(),
            key.display()
        );
        self.ports.push(("tls".to_owned(), port));
        self
    }

    /// A file in the directory (`@dir@/name`), readable by its owner only.
    pub fn file(mut self, name: &str, content: impl Into<Vec<u8>>) -> Builder {
        self.files.push((name.to_owned(), content.into()));
        self
    }

    /// One of the files in `nginx-conf/` instead of all other parts; its places are those of the directory.
    pub fn example(mut self, name: &str) -> Builder {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("nginx-conf").join(name);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let text = text
            .replace(
                "load_module modules/ngx_http_phantom_token_module.so;",
                &format!("{}\ndaemon off;", load_module()),
            )
            .replace("worker_processes auto;", "worker_processes 1;")
            .replace("error.log warn;", "error.log info;")
            .replace("listen 8080;", "listen 127.0.0.1:@port@;")
            .replace("/etc/nginx/phantom-token", "@dir@")
            .replace("/var/log/nginx", "@dir@")
            .replace("/run/nginx.pid", "@dir@/nginx.pid")
            .replace("http://127.0.0.1:8082", "@api@");
        self.whole = Some(text);
        self.workers = 1;
        self
    }

    /// Replaces text of the example.
    #[track_caller]
    pub fn adapt(mut self, from: &str, to: &str) -> Builder {
        let text = self.whole.take().expect("an example");
        assert!(text.contains(from), "nothing to adapt: {from}\n{text}");
        self.whole = Some(text.replace(from, to));
        self
    }

    /// Has NGINX's processes see this text in place of `/etc/resolv.conf`. Needs root: they get a mount namespace of their own.
    pub fn resolv_conf(mut self, text: &str) -> Builder {
        self.resolver = true;
        self.file(RESOLV_CONF, text)
    }

    /// Mode of nginx.conf; 0600 unless said.
    pub fn mode(mut self, mode: u32) -> Builder {
        self.mode = mode;
        self
    }

    /// Lines of the error log with this in them are no failure.
    pub fn allow_log(mut self, text: &str) -> Builder {
        self.allowed.push(text.to_owned());
        self
    }

    /// None of this server's secrets, also future ones, may be in a log.
    pub fn watch_secrets(mut self, idp: &Idp) -> Builder {
        self.secrets.push(idp.secrets());
        self
    }

    /// Starts NGINX; it answers from here on.
    #[track_caller]
    pub fn start(self) -> Nginx {
        let dir = new_directory();
        self.write(&dir);
        Nginx::launch(self, dir)
    }

    /// Only tests the configuration.
    pub fn test(self) -> ConfigTest {
        let dir = new_directory();
        let config = self.write(&dir);
        let output = command(&dir, self.resolver).arg("-t").output();
        let output = output.unwrap_or_else(|e| panic!("run {}: {e}", nginx_binary()));
        let _ = fs::remove_dir_all(&dir);
        ConfigTest { ok: output.status.success(), stderr: String::from_utf8_lossy(&output.stderr).into_owned(), config }
    }

    fn write(&self, dir: &Path) -> String {
        for (name, content) in &self.files {
            let path = dir.join(name);
            fs::write(&path, content).expect("write a file of the test");
            // workers read that one themselves
            let mode = fs::Permissions::from_mode(if name == RESOLV_CONF { 0o644 } else { 0o600 });
            fs::set_permissions(&path, mode).expect("set its mode");
        }
        let mut config = self.whole.clone().unwrap_or_else(|| self.text(dir));
        for (name, port) in &self.ports {
            config = config.replace(&format!("@{name}@"), &port.number().to_string());
        }
        for (name, value) in &self.vars {
            config = config.replace(&format!("@{name}@"), value);
        }
        config = config.replace("@dir@", &dir.display().to_string());
        let path = dir.join("nginx.conf");
        fs::write(&path, &config).expect("write nginx.conf");
        // there may be a secret in it
        let mode = fs::Permissions::from_mode(self.mode);
        fs::set_permissions(&path, mode).expect("set its mode");
        config
    }

    fn text(&self, dir: &Path) -> String {
        let dir = dir.display();
        let load = if self.module { load_module() } else { String::new() };
        let master = if self.single_process { "off" } else { "on" };
        let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("    {kind}_temp_path {dir}/{kind};\n"))
            .concat();
        let given = self.events.contains("worker_connections");
        let connections = if given { "" } else { "    worker_connections 2048;\n" };
        let (level, workers, user) = (&self.level, self.workers, user());
        let (main, events, http) = (&self.main, &self.events, &self.http);
        let (listen, server) = (&self.listen, &self.server);
        format!(
            "{load}\n{user}\ndaemon off;\nmaster_process {master};\nworker_processes {workers};\n\
             pid {dir}/nginx.pid;\nerror_log {dir}/error.log {level};\n{main}\
             events {{\n{connections}{events}}}\n\
             http {{\n    access_log {dir}/access.log;\n{temp}{http}    server {{\n{listen}        \
             server_name localhost;\n{server}    }}\n}}\n"
        )
    }
}

pub(super) fn command(dir: &Path, resolver: bool) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = if resolver {
        // every step is an exec: the process is NGINX's in the end
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"",
        ]);
        command.arg(dir.join(RESOLV_CONF)).arg(nginx_binary());
        command
    } else {
        Command::new(nginx_binary())
    };
    command.arg("-p").arg(dir).arg("-c").arg(dir.join("nginx.conf"));
    command.arg("-e").arg(dir.join("error.log"));
    // a Ctrl-C at the terminal is for us, who then stop NGINX
    command.process_group(0);
    command
}

/// `$NGINX_BINARY`, or that of the distribution, or the one in the path.
pub fn nginx_binary() -> String {
    std::env::var("NGINX_BINARY").unwrap_or_else(|_| {
        let distribution = "/usr/sbin/nginx";
        let found = Path::new(distribution).exists();
        if found { distribution } else { "nginx" }.to_owned()
    })
}

/// Version of that binary.
pub fn nginx_version() -> (u32, u32, u32) {
    let output = Command::new(nginx_binary()).arg("-v").output();
    let output = output.unwrap_or_else(|e| panic!("run {} -v: {e}", nginx_binary()));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let version = text.split("nginx/").nth(1).unwrap_or_default();
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next())
}

/// Loads `$PHANTOM_TOKEN_MODULE`, or what `scripts/build.sh` has built; nothing if that is `static`: NGINX has it in its binary.
fn load_module() -> String {
    match std::env::var("PHANTOM_TOKEN_MODULE") {
        Ok(given) if given == "static" => String::new(),
        Ok(given) => format!("load_module {given};"),
        Err(_) => {
            let root = env!("CARGO_MANIFEST_DIR");
            format!("load_module {root}/target/release/libngx_http_phantom_token_module.so;")
        }
    }
}

/// Workers of a root master run as the distribution's own user where there is one.
fn user() -> &'static str {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let known = users.lines().any(|line| line.starts_with("www-data:"));
    let root = nix::unistd::geteuid().is_root();
    if root && known { "user www-data;" } else { "" }
}

/// A new directory that workers of another user can enter.
fn new_directory() -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("phantom-token-{}-{count}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    // left by a process of the same id that failed long ago
    let _ = fs::remove_dir_all(&dir);
    // an NGINX built with upstream's defaults writes to `logs/` before it has read its configuration
    fs::create_dir_all(dir.join("logs")).expect("create the directory of an nginx");
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&dir, mode).expect("set its mode");
    dir
}

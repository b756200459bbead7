//! NGINX with the module, in a directory of its own, and the checks at its end.
//!
//! [`Nginx::finish`], or the drop of one that is not part of a panic, stops NGINX and asserts
//! that its logs have nothing alarming and no secret. A directory with a failure in it is kept.

mod config;
mod inspect;
mod verdict;

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::idp::Secrets;
use super::ports::Port;
use super::wait;
pub use config::{Builder, ConfigTest, config_test, nginx_binary, nginx_version};
pub use inspect::{assert_settles, is_running, keeps_freed_memory, workers_of};

/// A running NGINX.
pub struct Nginx {
    dir: PathBuf,
    child: Child,
    ports: Vec<(String, Port)>,
    workers: usize,
    single_process: bool,
    allowed: Vec<String>,
    secrets: Vec<Secrets>,
    finished: bool,
}

impl Nginx {
    /// A builder: two workers, the module loaded, one HTTP/1.1 listener.
    pub fn builder() -> Builder {
        Builder::new()
    }

    fn launch(builder: Builder, dir: PathBuf) -> Nginx {
        let stderr = fs::File::create(dir.join("stderr.log")).expect("create stderr.log");
        let child = config::command(&dir, builder.resolver)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap_or_else(|error| panic!("start {}: {error}", nginx_binary()));
        let mut nginx = Nginx {
            dir,
            child,
            ports: builder.ports,
            workers: builder.workers,
            single_process: builder.single_process,
            allowed: builder.allowed,
            secrets: builder.secrets,
            finished: false,
        };
        nginx.wait_until_up();
        nginx
    }

    fn wait_until_up(&mut self) {
        let addr = self.addr();
        let up = wait::try_for(wait::DEADLINE, || {
            let exited = self.child.try_wait().expect("wait for nginx");
            if let Some(status) = exited {
                panic!("nginx did not start: {status}\n{}", self.all_logs());
            }
            TcpStream::connect(addr).ok()?;
            // listening starts before the workers do
            (self.workers().len() >= self.workers).then_some(())
        });
        if up.is_none() {
            panic!("nginx is not up after {:?}\n{}", wait::DEADLINE, self.all_logs());
        }
    }

    /// The HTTP/1.1 listener.
    pub fn addr(&self) -> SocketAddr {
        self.addr_of("port")
    }

    /// A listener by the name of its port: `h2`, `tls`, or one of `Builder::port`.
    #[track_caller]
    pub fn addr_of(&self, name: &str) -> SocketAddr {
        let found = self.ports.iter().find(|(known, _)| known == name);
        found.unwrap_or_else(|| panic!("no port named {name}")).1.addr()
    }

    /// `http://…` without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// Where configuration and logs are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Process id of the master (or of the single process).
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Process ids of the workers that are not shutting down.
    pub fn workers(&self) -> Vec<u32> {
        if self.single_process {
            return vec![self.pid()];
        }
        inspect::workers_of(self.pid())
    }

    /// Sends a signal to the master.
    pub fn signal(&self, signal: Signal) {
        self.signal_to(self.pid(), signal);
    }

    /// Sends a signal to one of the processes, as `kill -9` to a worker.
    #[track_caller]
    pub fn signal_to(&self, pid: u32, signal: Signal) {
        kill(Pid::from_raw(pid as i32), signal).expect("signal nginx");
    }

    /// Reloads and returns when all workers are new ones; old ones may still be busy.
    #[track_caller]
    pub fn reload(&self) {
        let old = self.workers();
        self.signal(Signal::SIGHUP);
        wait::until("new workers after the reload", || {
            let now = self.workers();
            now.len() >= self.workers && now.iter().all(|pid| !old.contains(pid))
        });
    }

    /// Replaces text of nginx.conf, for the next reload.
    #[track_caller]
    pub fn edit_config(&self, from: &str, to: &str) {
        let path = self.dir.join("nginx.conf");
        let config = fs::read_to_string(&path).expect("read nginx.conf");
        assert!(config.contains(from), "nothing to replace: {from}\n{config}");
        fs::write(&path, config.replace(from, to)).expect("write nginx.conf");
    }

    /// Waits until these processes are gone, as old workers after a reload.
    #[track_caller]
    pub fn wait_for_exit_of(&self, pids: &[u32]) {
        wait::until("the exit of old workers", || pids.iter().all(|pid| !inspect::is_running(*pid)));
    }

    /// Begins a graceful quit; `wait_for_exit` waits for its end.
    pub fn begin_quit(&self) {
        self.signal(Signal::SIGQUIT);
    }

    /// Quits gracefully; returns how long that took.
    #[track_caller]
    pub fn quit(&mut self) -> Duration {
        let begun = Instant::now();
        self.begin_quit();
        self.wait_for_exit();
        begun.elapsed()
    }

    /// Terminates fast; returns how long that took.
    #[track_caller]
    pub fn terminate(&mut self) -> Duration {
        let begun = Instant::now();
        self.signal(Signal::SIGTERM);
        self.wait_for_exit();
        begun.elapsed()
    }

    /// Waits until the master has exited.
    #[track_caller]
    pub fn wait_for_exit(&mut self) {
        let child = &mut self.child;
        wait::until("the exit of nginx", || child.try_wait().expect("wait for nginx").is_some());
    }

    /// Whether the master runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("wait for nginx").is_none()
    }

    /// Stops NGINX, checks its logs, removes the directory.
    #[track_caller]
    pub fn finish(mut self) {
        self.end();
    }

    #[track_caller]
    fn end(&mut self) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        self.stop();
        let complaints = self.complaints();
        assert!(
            complaints.is_empty(),
            "nginx in {} left:\n{}\n{}",
            self.dir.display(),
            complaints.join("\n"),
            self.all_logs()
        );
        let _ = fs::remove_dir_all(&self.dir);
    }

    /// Gracefully if it can, so that a leak checker has its say; by force after the deadline.
    fn stop(&mut self) {
        for signal in [Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGKILL] {
            if !self.is_running() {
                return;
            }
            let workers = self.workers();
            self.signal(signal);
            let patience = Duration::from_secs(if signal == Signal::SIGQUIT { 10 } else { 5 });
            let _ = wait::try_for(patience, || (!self.is_running()).then_some(()));
            if signal == Signal::SIGKILL {
                for pid in workers {
                    let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
                }
            }
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = kill(Pid::from_raw(self.pid() as i32), Signal::SIGTERM);
            self.stop();
            if !std::mem::replace(&mut self.finished, true) {
                eprintln!("nginx in {}:\n{}", self.dir.display(), self.all_logs());
            }
        } else {
            self.end();
        }
    }
}

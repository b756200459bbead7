//! What NGINX's processes and logs look like from outside.

use std::fs;

use super::super::wait;
use super::Nginx;

impl Nginx {
    /// The error log so far.
    pub fn error_log(&self) -> String {
        self.log("error.log")
    }

    /// The access log so far.
    pub fn access_log(&self) -> String {
        self.log("access.log")
    }

    /// Any file of the directory, as text; empty if there is none.
    pub fn log(&self, name: &str) -> String {
        let bytes = fs::read(self.dir().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// How many lines of the error log contain `text`.
    pub fn log_count(&self, text: &str) -> usize {
        let log = self.error_log();
        log.lines().filter(|line| line.contains(text)).count()
    }

    /// Waits until a line of the error log contains `text`; gives that line.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) -> String {
        wait::for_value(&format!("\"{text}\" in the error log"), || {
            let log = self.error_log();
            log.lines().find(|line| line.contains(text)).map(str::to_owned)
        })
    }

    /// Waits until the access log has `n` lines; gives them.
    #[track_caller]
    pub fn wait_for_access_log(&self, n: usize) -> Vec<String> {
        wait::for_value(&format!("{n} lines in the access log"), || {
            let log = self.access_log();
            let lines: Vec<_> = log.lines().map(str::to_owned).collect();
            (lines.len() >= n && log.ends_with('\n')).then_some(lines)
        })
    }

    /// Process ids of the master's children whose title contains `text`, as `cache manager`.
    pub fn children(&self, text: &str) -> Vec<u32> {
        children_of(self.pid(), |title| title.contains(text))
    }

    /// Open file descriptors of a process.
    pub fn open_files(&self, pid: u32) -> usize {
        let files = fs::read_dir(format!("/proc/{pid}/fd"));
        files.expect("list descriptors of an nginx process").count()
    }

    /// Resident memory of a process in KiB.
    pub fn resident_kib(&self, pid: u32) -> usize {
        status_number(pid, "VmRSS:")
    }

    /// Does `round` until one leaves a process with no more resident memory than the one before: [`assert_settles`].
    #[track_caller]
    pub fn assert_memory_settles(&self, pid: u32, mut round: impl FnMut()) {
        let resident = assert_settles(|| {
            round();
            if keeps_freed_memory() { 0 } else { self.resident_kib(pid) }
        });
        println!("resident memory after each round, KiB: {resident:?}");
    }

    /// Threads of a process.
    pub fn threads(&self, pid: u32) -> usize {
        status_number(pid, "Threads:")
    }
}

/// Whether memory that is freed stays resident, as with AddressSanitizer (`scripts/sanitize.sh`): it says nothing then.
pub fn keeps_freed_memory() -> bool {
    std::env::var_os("ASAN_OPTIONS").is_some()
}

/// Measures memory, in KiB, until it is not more than the time before. What every round keeps grows with every round; what was only
/// higher once, because more happened to be under way, does not.
#[track_caller]
pub fn assert_settles(mut measure: impl FnMut() -> usize) -> Vec<usize> {
    const ROUNDS: usize = 8;
    const SAME: usize = 256;
    let mut measured = vec![measure()];
    while measured.len() < ROUNDS {
        let (before, now) = (measured[measured.len() - 1], measure());
        measured.push(now);
        if now <= before + SAME {
            return measured;
        }
    }
    panic!("memory grows with every round, KiB: {measured:?}");
}

/// Workers of a master, without those that are shutting down.
pub fn workers_of(master: u32) -> Vec<u32> {
    children_of(master, |title| title.starts_with("nginx: worker process") && !title.contains("shutting down"))
}

fn children_of(master: u32, wanted: impl Fn(&str) -> bool) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("list /proc").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let title_of = |pid: u32| fs::read_to_string(format!("/proc/{pid}/cmdline"));
    let mut children: Vec<u32> = pids
        .filter(|pid| parent_of(*pid) == Some(master) && title_of(*pid).is_ok_and(|title| wanted(&title)))
        .collect();
    children.sort_unstable();
    children
}

/// Whether a process is there and no zombie.
pub fn is_running(pid: u32) -> bool {
    stat_fields(pid).is_some_and(|fields| fields[0] != "Z")
}

fn parent_of(pid: u32) -> Option<u32> {
    stat_fields(pid)?.get(1)?.parse().ok()
}

/// State, parent and so on: what follows the name in parentheses (proc(5)).
fn stat_fields(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    Some(rest.split(' ').map(str::to_owned).collect())
}

fn status_number(pid: u32, name: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status"));
    let status = status.expect("read the status of an nginx process");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or_else(|| panic!("no {name} in {status}"))
}

//! The checks at the end of an NGINX: nothing alarming in its error log, no secret in any log.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;

use super::Nginx;

/// What is never normal.
const ALARMING: [&str; 7] =
    ["[alert]", "[emerg]", "[crit]", "exited on signal", "Sanitizer", "runtime error:", "panicked"];

/// Secrets shorter than this are too likely to be ordinary words.
const SHORTEST: usize = 8;

/// Log lines are cut at 2 KiB: a start this long is as bad as the whole.
const START: usize = 24;

impl Nginx {
    /// From now on, lines of the error log with this in them are no failure.
    pub fn allow_log(&mut self, text: &str) {
        self.allowed.push(text.to_owned());
    }

    /// None of this server's secrets may be in a log.
    pub fn watch_secrets(&mut self, idp: &super::super::idp::Idp) {
        self.secrets.push(idp.secrets());
    }

    /// All that is wrong with the logs, a line each.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        for name in ["error.log", "stderr.log"] {
            for line in self.log(name).lines() {
                let alarming = ALARMING.iter().any(|word| line.contains(word));
                let allowed = self.allowed.iter().any(|text| line.contains(text));
                // before it has read its configuration NGINX also says so on stderr
                if alarming && !allowed {
                    complaints.push(format!("{name}: {line}"));
                }
            }
        }
        let secrets: Vec<String> = self.secrets.iter().flat_map(|s| s.list()).collect();
        // JWTs of the same claims begin alike: one needle for all of them
        let needles: BTreeSet<&str> = secrets.iter().flat_map(|s| needles(s)).collect();
        // once through a log for each length: a long run has tens of thousands of tokens, and much to say of them
        let mut by_length: BTreeMap<usize, HashSet<&[u8]>> = BTreeMap::new();
        for needle in needles {
            by_length.entry(needle.len()).or_default().insert(needle.as_bytes());
        }
        for (name, text) in self.logs() {
            for (length, needles) in &by_length {
                let found: BTreeSet<_> =
                    text.as_bytes().windows(*length).filter(|part| needles.contains(part)).collect();
                complaints.extend(
                    found
                        .into_iter()
                        .map(|needle| format!("{name}: contains the secret {}", String::from_utf8_lossy(needle))),
                );
            }
        }
        complaints
    }

    /// All logs, for a failure's message.
    pub fn all_logs(&self) -> String {
        let logs = self.logs();
        let shown = logs.iter().map(|(name, text)| format!("--- {name}\n{text}"));
        shown.collect()
    }

    fn logs(&self) -> Vec<(String, String)> {
        let entries = fs::read_dir(self.dir()).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.ends_with(".log"))
            .map(|name| (name.clone(), self.log(&name)))
            .collect()
    }
}

/// What to look for: the start of a token; payload and signature of a JWT, whose header is no
/// secret.
fn needles(secret: &str) -> Vec<&str> {
    let parts: Vec<&str> = secret.split('.').collect();
    let parts = match parts.as_slice() {
        [header, payload, signature] if header.starts_with("eyJ") => vec![*payload, *signature],
        _ => vec![secret],
    };
    let long = parts.into_iter().filter(|part| part.len() >= SHORTEST);
    long.map(|part| part.get(..START).unwrap_or(part)).collect()
}

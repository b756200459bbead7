//! What the introspection endpoint is told to answer, and the gates that hold answers back.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

/// One answer of the introspection endpoint: verbatim, or the server's own with changes.
///
/// ```ignore
/// Answer::status(503).header("Retry-After", "7")
/// Answer::normal().header("Cache-Control", "max-age=30").delayed(Duration::from_secs(1))
/// Answer::normal().gated(&gate)
/// Answer::hang()
/// ```
#[derive(Debug, Clone)]
pub struct Answer {
    pub(super) act: Act,
    /// Replace the fields of the same names.
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) removed: Vec<String>,
    pub(super) delay: Duration,
    pub(super) gate: Option<Gate>,
    pub(super) chunked: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Act {
    /// What the server answers of itself.
    Normal,
    Verbatim {
        status: u16,
        body: Vec<u8>,
    },
    /// Never.
    Hang,
    /// Close the connection without an answer.
    Close,
    /// The same, with RST.
    Reset,
}

impl Answer {
    fn new(act: Act) -> Answer {
        Answer { act, headers: Vec::new(), removed: Vec::new(), delay: Duration::ZERO, gate: None, chunked: false }
    }

    /// The server's own answer, to be delayed, held or given other headers.
    pub fn normal() -> Answer {
        Answer::new(Act::Normal)
    }

    /// This status, no body, no fields but what HTTP needs.
    pub fn status(status: u16) -> Answer {
        let body = Vec::new();
        Answer::new(Act::Verbatim { status, body })
    }

    /// 200 with this type and body.
    pub fn ok(content_type: &str, body: impl Into<Vec<u8>>) -> Answer {
        Answer::status(200).header("Content-Type", content_type).body(body)
    }

    /// 200 `application/jwt`.
    pub fn jwt(jwt: &str) -> Answer {
        Answer::ok("application/jwt", jwt)
    }

    /// 200 `application/json`.
    pub fn json(value: &Value) -> Answer {
        Answer::ok("application/json", value.to_string())
    }

    /// Receives the request and never answers; the connection stays open.
    pub fn hang() -> Answer {
        Answer::new(Act::Hang)
    }

    /// Closes the connection instead of answering.
    pub fn close() -> Answer {
        Answer::new(Act::Close)
    }

    /// Resets the connection instead of answering.
    pub fn reset() -> Answer {
        Answer::new(Act::Reset)
    }

    /// Adds a field; of a normal answer it replaces the server's own of that name.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Answer {
        let value = value.as_ref().to_vec();
        self.headers.push((name.to_owned(), value));
        self
    }

    /// Removes the server's own field of that name.
    pub fn without_header(mut self, name: &str) -> Answer {
        self.removed.push(name.to_owned());
        self
    }

    /// Sets the body of a verbatim answer.
    #[track_caller]
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Answer {
        match &mut self.act {
            Act::Verbatim { body, .. } => *body = bytes.into(),
            other => panic!("{other:?} has no body to set"),
        }
        self
    }

    /// Answers only after this time.
    pub fn delayed(mut self, delay: Duration) -> Answer {
        self.delay = delay;
        self
    }

    /// Answers only when `gate` is open.
    pub fn gated(mut self, gate: &Gate) -> Answer {
        self.gate = Some(gate.clone());
        self
    }

    /// Sends the body without announcing its length (chunked in HTTP/1.1).
    pub fn chunked(mut self) -> Answer {
        self.chunked = true;
        self
    }
}

/// Holds whoever passes it until it is opened. Clones are the same gate.
#[derive(Debug, Clone)]
pub struct Gate {
    open: watch::Sender<bool>,
}

impl Gate {
    /// A closed gate.
    pub fn closed() -> Gate {
        Gate { open: watch::Sender::new(false) }
    }

    /// Lets everybody pass, those who wait and those who come.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Holds those who come from now on.
    pub fn close(&self) {
        self.open.send_replace(false);
    }

    /// Waits until it is open.
    pub async fn pass(&self) {
        let mut open = self.open.subscribe();
        // it cannot fail: `self` keeps the sender
        let _ = open.wait_for(|open| *open).await;
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        *self.open.borrow()
    }
}

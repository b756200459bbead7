//! Bodies of answers, with or without a length announced.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};

/// A body that may keep its length to itself.
pub(super) struct Content {
    parts: VecDeque<Bytes>,
    /// Whether to keep the length to itself.
    pub length_unknown: bool,
}

impl Content {
    pub fn new(body: Vec<u8>) -> Content {
        // two parts, so that an answer of unknown length is several chunks
        let mut rest = Bytes::from(body);
        let first = rest.split_to(rest.len() / 2);
        let parts = [first, rest].into_iter().filter(|part| !part.is_empty());
        Content { parts: parts.collect(), length_unknown: false }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.parts.pop_front().map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_empty() && !self.length_unknown
    }

    fn size_hint(&self) -> SizeHint {
        if self.length_unknown {
            return SizeHint::default();
        }
        SizeHint::with_exact(self.parts.iter().map(|part| part.len() as u64).sum())
    }
}

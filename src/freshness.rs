//! How long may an active answer be kept?
//!
//! RFC 9111 (HTTP caching), read by a shared cache: what cannot be read counts as a wish not to be kept. Answers about
//! inactive tokens have a lifetime of their own, whatever their headers say.

#![forbid(unsafe_code)]

use std::time::Duration;

use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, HeaderName, VARY};
use http::{HeaderMap, HeaderValue};

/// What the header fields of an answer say about keeping it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stated {
    /// It must not be kept, or has no lifetime left.
    Forbidden,
    /// It may be kept this long; never zero.
    For(Duration),
    /// They do not say.
    Nothing,
}

/// Reads the caching header fields of an answer; `ignore_cache_control` makes it one without any.
pub fn stated(headers: &HeaderMap, ignore_cache_control: bool) -> Stated {
    if ignore_cache_control {
        return Stated::Nothing;
    }
    let Some(cache_control) = CacheControl::read(headers) else {
        return Stated::Forbidden;
    };
    if vary_any(headers) {
        return Stated::Forbidden;
    }
    // RFC 9111 §4.2.1: the first of s-maxage, max-age and Expires.
    let lifetime = match cache_control.s_maxage.or(cache_control.max_age) {
        Some(seconds) => seconds,
        None if headers.contains_key(EXPIRES) => match expires_after(headers) {
            Some(seconds) => seconds,
            None => return Stated::Forbidden,
        },
        None => return Stated::Nothing,
    };
    match lifetime.saturating_sub(age(headers)) {
        0 => Stated::Forbidden,
        seconds => Stated::For(Duration::from_secs(seconds)),
    }
}

/// How long an active answer is kept from `now` on (seconds since the epoch), if at all.
///
/// At most `max_ttl`, and never into the last second before `exp`: what is handed out is still valid on arrival.
pub fn lifetime(now: i64, stated: Stated, exp: Option<i64>, max_ttl: Duration) -> Option<Duration> {
    let stated = match stated {
        Stated::Forbidden => return None,
        Stated::For(lifetime) => lifetime.min(max_ttl),
        Stated::Nothing => max_ttl,
    };
    let lifetime = match exp {
        Some(exp) => {
            let seconds = u64::try_from(exp.saturating_sub(now).saturating_sub(1)).ok()?;
            stated.min(Duration::from_secs(seconds))
        }
        None => stated,
    };
    (!lifetime.is_zero()).then_some(lifetime)
}

/// The directives that matter, of an answer that may be kept (RFC 9111 §5.2.2).
#[derive(Default)]
struct CacheControl {
    s_maxage: Option<u64>,
    max_age: Option<u64>,
}

impl CacheControl {
    /// `None` where it may not.
    fn read(headers: &HeaderMap) -> Option<Self> {
        let mut read = Self::default();
        // RFC 9110 §5.3: several lines are one list.
        for line in headers.get_all(CACHE_CONTROL) {
            for directive in list(line.as_bytes())? {
                read.take(directive)?;
            }
        }
        // Not kept even beside an s-maxage: whoever says so does not want it kept.
        (read.max_age != Some(0)).then_some(read)
    }

    fn take(&mut self, directive: &[u8]) -> Option<()> {
        let (name, value) = match directive.iter().position(|b| *b == b'=') {
            Some(at) => (&directive[..at], directive.get(at + 1..)),
            None => (directive, None),
        };
        let place = match name.trim_ascii().to_ascii_lowercase().as_slice() {
            // With field names too: a cache may read them as without (RFC 9111 §5.2.2.4, §5.2.2.7).
            b"no-store" | b"no-cache" | b"private" => return None,
            b"s-maxage" => &mut self.s_maxage,
            b"max-age" => &mut self.max_age,
            _ => return Some(()),
        };
        let seconds = delta_seconds(unquoted(value?))?;
        // RFC 9111 §4.2.1: conflicting values are stale at once.
        if place.is_some_and(|earlier| earlier != seconds) {
            return None;
        }
        *place = Some(seconds);
        Some(())
    }
}

/// The elements of a comma-separated list, commas in quoted strings apart; `None` where a quoted string does not end.
fn list(line: &[u8]) -> Option<Vec<&[u8]>> {
    let mut elements = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, byte) in line.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                elements.push(&line[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    elements.push(&line[start..]);
    (!quoted).then(|| elements.into_iter().map(<[u8]>::trim_ascii).collect())
}

/// RFC 9111 §5.2: a recipient accepts both forms of an argument.
fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

/// RFC 9111 §1.2.2: `delta-seconds = 1*DIGIT`, as many as one likes.
fn delta_seconds(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |seconds, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(seconds.saturating_mul(10).saturating_add(digit))
    })
}

/// RFC 9110 §12.5.5: the answer depends on more than the request shows.
fn vary_any(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(VARY).iter();
    lines.flat_map(|line| line.as_bytes().split(|b| *b == b',')).any(|name| name.trim_ascii() == b"*")
}

/// RFC 9111 §5.1: an invalid Age says nothing; of several, the largest.
fn age(headers: &HeaderMap) -> u64 {
    let lines = headers.get_all(AGE).iter();
    let values = lines.flat_map(|line| line.as_bytes().split(|b| *b == b','));
    values.filter_map(|value| delta_seconds(value.trim_ascii())).max().unwrap_or(0)
}

/// `Expires` − `Date` in seconds (RFC 9111 §4.2.1); `None` where either is missing or no date, as in `Expires: 0`,
/// which means the past (RFC 9111 §5.3).
fn expires_after(headers: &HeaderMap) -> Option<u64> {
    let date = |name: HeaderName| {
        let mut lines = headers.get_all(name).iter();
        let line: Option<&HeaderValue> = lines.next();
        let text = line.filter(|_| lines.next().is_none())?.to_str().ok()?;
        httpdate::parse_http_date(text.trim()).ok()
    };
    let lifetime = date(EXPIRES)?.duration_since(date(DATE)?).ok()?;
    Some(lifetime.as_secs())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Stated::{Forbidden, Nothing};
    use super::*;

    const THEN: &str = "Tue, 24 Nov 2026 00:00:00 GMT";
    const A_MINUTE_LATER: &str = "Tue, 24 Nov 2026 00:01:00 GMT";

    fn secs(seconds: u64) -> Stated {
        Stated::For(Duration::from_secs(seconds))
    }

    fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn cache_control() {
        let table: &[(&[&str], Stated)] = &[
            (&[], Nothing),
            (&[""], Nothing),
            (&["public, must-revalidate, x=\"no-store\""], Nothing),
            (&["no-store"], Forbidden),
            (&["No-Store"], Forbidden),
            (&["no-cache"], Forbidden),
            (&["private"], Forbidden),
            (&["private=\"set-cookie, x\", max-age=60"], Forbidden),
            (&["no-cache=x"], Forbidden),
            (&["max-age=0"], Forbidden),
            (&["max-age=60"], secs(60)),
            (&["MAX-AGE=60"], secs(60)),
            (&["max-age=\"60\""], secs(60)),
            (&["max-age=060"], secs(60)),
            (&["max-age=99999999999999999999999"], secs(u64::MAX)),
            // several lines are one list
            (&["max-age=60", "no-store"], Forbidden),
            (&["public", "max-age=60"], secs(60)),
            (&["max-age=60,no-store"], Forbidden),
            (&[" ,, max-age=60 ,"], secs(60)),
            // s-maxage before max-age
            (&["max-age=60, s-maxage=10"], secs(10)),
            (&["s-maxage=90, max-age=60"], secs(90)),
            (&["s-maxage=0, max-age=60"], Forbidden),
            (&["s-maxage=60, max-age=0"], Forbidden),
            // invalid, or several that differ
            (&["max-age"], Forbidden),
            (&["max-age="], Forbidden),
            (&["max-age=-1"], Forbidden),
            (&["max-age=+1"], Forbidden),
            (&["max-age=1.5"], Forbidden),
            (&["max-age=60s"], Forbidden),
            (&["max-age = 60"], Forbidden),
            (&["max-age=\"60"], Forbidden),
            (&["s-maxage=x, max-age=60"], Forbidden),
            (&["max-age=x, s-maxage=60"], Forbidden),
            (&["max-age=60, max-age=60"], secs(60)),
            (&["max-age=60, max-age=10"], Forbidden),
            (&["max-age=10", "max-age=60"], Forbidden),
            // a comma or a directive's name in a quoted string is neither
            (&["x=\"a, no-store, \\\", b\", max-age=5"], secs(5)),
            (&["x=\"unterminated, max-age=5"], Forbidden),
        ];
        for (lines, expected) in table {
            let headers: Vec<_> = lines.iter().map(|line| ("cache-control", *line)).collect();
            assert_eq!(stated(&fields(&headers), false), *expected, "{lines:?}");
            assert_eq!(stated(&fields(&headers), true), Nothing, "{lines:?}");
        }
    }

    #[test]
    fn other_fields() {
        let sixty = ("cache-control", "max-age=60");
        let table: &[(&[(&'static str, &str)], Stated)] = &[
            (&[sixty, ("age", "20")], secs(40)),
            (&[sixty, ("age", "60")], Forbidden),
            (&[sixty, ("age", "61")], Forbidden),
            (&[sixty, ("age", "99999999999999999999999")], Forbidden),
            (&[sixty, ("age", "x")], secs(60)),
            (&[sixty, ("age", "10"), ("age", "20")], secs(40)),
            (&[sixty, ("age", "30, 20")], secs(30)),
            (&[sixty, ("age", "-1")], secs(60)),
            (&[sixty, ("age", "18446744073709551616")], Forbidden),
            (&[("cache-control", "max-age=18446744073709551616"), ("age", "1")], secs(u64::MAX - 1)),
            (&[("age", "20")], Nothing),
            (&[sixty, ("vary", "Accept")], secs(60)),
            (&[sixty, ("vary", "*")], Forbidden),
            (&[sixty, ("vary", "Accept"), ("vary", "Origin, *")], Forbidden),
            (&[("vary", "*")], Forbidden),
            (&[("expires", A_MINUTE_LATER), ("date", THEN)], secs(60)),
            (&[("expires", A_MINUTE_LATER), ("date", THEN), ("age", "20")], secs(40)),
            // RFC 9110 §5.6.7: both obsolete forms
            (&[("expires", "Tuesday, 24-Nov-26 00:01:00 GMT"), ("date", "Tue Nov 24 00:00:00 2026")], secs(60)),
            (&[("expires", "Tue Nov 24 00:01:00 2026"), ("date", "Tuesday, 24-Nov-26 00:00:00 GMT")], secs(60)),
            (&[("expires", "Tue, 24 Nov 2026 00:01:00 CET"), ("date", THEN)], Forbidden),
            (&[("expires", "2026-11-24T00:01:00Z"), ("date", THEN)], Forbidden),
            (&[("expires", THEN), ("date", THEN)], Forbidden),
            (&[("expires", THEN), ("date", A_MINUTE_LATER)], Forbidden),
            (&[("expires", "0"), ("date", THEN)], Forbidden),
            (&[("expires", "-1"), ("date", THEN)], Forbidden),
            (&[("expires", "")], Forbidden),
            (&[("expires", A_MINUTE_LATER)], Forbidden),
            (&[("expires", A_MINUTE_LATER), ("date", "today")], Forbidden),
            (&[("expires", A_MINUTE_LATER), ("expires", THEN), ("date", THEN)], Forbidden),
            (&[("date", THEN)], Nothing),
            // Cache-Control comes first
            (&[sixty, ("expires", "0")], secs(60)),
            (&[("cache-control", "public"), ("expires", "0")], Forbidden),
            (&[("cache-control", "no-store"), ("expires", A_MINUTE_LATER), ("date", THEN)], Forbidden),
        ];
        for (lines, expected) in table {
            assert_eq!(stated(&fields(lines), false), *expected, "{lines:?}");
            assert_eq!(stated(&fields(lines), true), Nothing, "{lines:?}");
        }
    }

    #[test]
    fn lifetimes() {
        let now = 1_000_000;
        // stated, exp, max_ttl, expected
        let table = [
            (Forbidden, None, 60, None),
            (Forbidden, Some(now + 100), 60, None),
            (Nothing, None, 60, Some(60)),
            (Nothing, None, 0, None),
            (secs(10), None, 60, Some(10)),
            (secs(100), None, 60, Some(60)),
            (secs(u64::MAX), None, 60, Some(60)),
            (secs(10), None, 0, None),
            (Nothing, Some(now + 31), 60, Some(30)),
            (Nothing, Some(now + 1000), 60, Some(60)),
            (secs(10), Some(now + 6), 60, Some(5)),
            (secs(10), Some(now + 2), 60, Some(1)),
            (secs(10), Some(now + 1), 60, None),
            (secs(10), Some(now), 60, None),
            (secs(10), Some(now - 1), 60, None),
            (secs(10), Some(i64::MIN), 60, None),
            (secs(10), Some(i64::MAX), 60, Some(10)),
        ];
        for (stated, exp, max_ttl, expected) in table {
            let kept = lifetime(now, stated, exp, Duration::from_secs(max_ttl));
            assert_eq!(kept, expected.map(Duration::from_secs), "{stated:?} {exp:?} {max_ttl}");
        }
        let half = Duration::from_millis(500);
        assert_eq!(lifetime(now, secs(10), None, half), Some(half));
        assert_eq!(lifetime(i64::MIN, Nothing, Some(i64::MAX), half), Some(half));
    }
}

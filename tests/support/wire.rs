//! HTTP/1.1 messages as they are on the wire, for peers that must see and say every byte: the
//! test client, the API, the raw server. Blocking, no cleverness, names and order kept.

use std::io::{self, BufRead, Read};

/// Header fields as received: order, case and repetitions kept.
pub type Headers = Vec<(String, String)>;

/// A message without its body.
#[derive(Debug, Clone)]
pub struct Head {
    /// Request line or status line, without CR LF.
    pub start: String,
    /// The fields.
    pub headers: Headers,
    /// Every byte up to and including the empty line.
    pub raw: Vec<u8>,
}

/// Reads up to the empty line. `None`: the peer closed before the first byte.
pub fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Head>> {
    let mut raw = Vec::new();
    let start = loop {
        match read_line(reader, &mut raw)? {
            None => return Ok(None),
            // RFC 9112 §2.2: an empty line before the request line is skipped
            Some(line) if line.is_empty() => continue,
            Some(line) => break line,
        }
    };
    let mut headers = Headers::new();
    loop {
        let line = read_line(reader, &mut raw)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    Ok(Some(Head { start, headers, raw }))
}

/// Reads the body that `headers` announce. `to_end`: what has no framing lasts until the close,
/// as a response may; a request has no body then.
pub fn read_body(reader: &mut impl BufRead, headers: &Headers, to_end: bool) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if values(headers, "transfer-encoding").any(|v| v.eq_ignore_ascii_case("chunked")) {
        read_chunks(reader, &mut body)?;
    } else if let Some(length) = values(headers, "content-length").next() {
        let length = length.parse().map_err(|_| invalid("content-length"))?;
        let read = reader.take(length).read_to_end(&mut body)?;
        if (read as u64) < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    } else if to_end {
        reader.read_to_end(&mut body)?;
    }
    Ok(body)
}

/// All values of a field, in order; the name without case.
pub fn values<'a, 'n>(headers: &'a Headers, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
    headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// Text as it came: UTF-8, or else one character per byte, so that nothing is lost.
pub fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

fn read_chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let line = read_line(reader, &mut Vec::new())?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let size = line.split(';').next().unwrap_or("").trim();
        let size = u64::from_str_radix(size, 16).map_err(|_| invalid("chunk size"))?;
        let read = reader.take(size).read_to_end(body)?;
        if (read as u64) < size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // the CR LF after the chunk, or the empty trailer section after the last
        while let Some(line) = read_line(reader, &mut Vec::new())? {
            if line.is_empty() {
                break;
            }
        }
        if size == 0 {
            return Ok(());
        }
    }
}

/// One line without CR LF; its bytes are added to `raw`. `None`: closed before the first byte.
fn read_line(reader: &mut impl BufRead, raw: &mut Vec<u8>) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    raw.extend_from_slice(&line);
    match line.strip_suffix(b"\n") {
        None if line.is_empty() => Ok(None),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
        Some(line) => Ok(Some(text(line.strip_suffix(b"\r").unwrap_or(line)))),
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("invalid {what}"))
}

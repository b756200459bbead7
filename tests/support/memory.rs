//! What is in the memory of a process: `/proc/PID/mem`, which root may read, and who started it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// A place where something was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where.
    pub address: u64,
    /// What the mapping is of, as `[heap]`; empty for anonymous memory.
    pub mapping: String,
    /// The bytes before it.
    pub before: String,
}

/// The writable memory of a process as it was at one time.
pub struct Memory(Vec<Region>);

struct Region {
    start: u64,
    name: String,
    /// Without the highest bit of each byte: text can be searched fast in a build that is not optimized.
    text: String,
}

/// Bytes shown before what was found.
const BEFORE: usize = 24;

impl Memory {
    /// Reads it all.
    #[track_caller]
    pub fn of(pid: u32) -> Memory {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("read the mappings of an nginx process");
        let file = File::open(format!("/proc/{pid}/mem")).expect("open the memory of an nginx process");
        Memory(maps.lines().filter_map(|line| Region::read(&file, line)).collect())
    }

    /// Every place of these bytes.
    pub fn find(&self, bytes: impl AsRef<[u8]>) -> Vec<Found> {
        let text = ascii(bytes.as_ref().to_vec());
        assert!(text.len() >= 8, "too short to be looked for");
        self.0.iter().flat_map(|region| region.find(&text)).collect()
    }
}

impl Region {
    /// Of a line of `/proc/PID/maps` (proc(5)).
    fn read(memory: &File, line: &str) -> Option<Region> {
        let mut fields = line.split_whitespace();
        let (range, mode) = (fields.next()?, fields.next()?);
        let name = fields.nth(3).unwrap_or_default().to_owned();
        if !mode.starts_with("rw") {
            return None;
        }
        let (start, end) = range.split_once('-')?;
        let address = |text| u64::from_str_radix(text, 16).expect("an address");
        let (start, end) = (address(start), address(end));
        let mut bytes = vec![0; (end - start) as usize];
        // what has been unmapped meanwhile is no memory any more
        memory.read_exact_at(&mut bytes, start).ok()?;
        Some(Region { start, name, text: ascii(bytes) })
    }

    fn find(&self, text: &str) -> Vec<Found> {
        let found = |place: usize| Found {
            address: self.start + place as u64,
            mapping: self.name.clone(),
            before: self.text[place.saturating_sub(BEFORE)..place].to_owned(),
        };
        self.text.match_indices(text).map(|(place, _)| found(place)).collect()
    }
}

fn ascii(mut bytes: Vec<u8>) -> String {
    for byte in &mut bytes {
        *byte &= 0x7f;
    }
    String::from_utf8(bytes).expect("ASCII")
}

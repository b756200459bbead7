//! Which files may a directive name?
//!
//! Read by the master while it reads the configuration: root may read what workers may not.

use std::path::PathBuf;

use ::ngx::ffi as ngx;
use ngx::ngx_conf_t;

/// Reads a file that a directive names, relative to the configuration's directory.
///
/// # Safety
///
/// `cf` must be the context of the running callback.
pub unsafe fn read_file(cf: *mut ngx_conf_t, name: &str, limit: u64) -> Result<Vec<u8>, String> {
    let path = if name.starts_with('/') {
        PathBuf::from(name)
    } else {
        // SAFETY: `cf` is valid by the caller's promise, and the cycle has a prefix.
        let prefix = unsafe { (*(*cf).cycle).conf_prefix };
        PathBuf::from(String::from_utf8_lossy(prefix.as_bytes()).into_owned()).join(name)
    };
    let describe = |error: std::io::Error| format!("cannot be read: {}: {error}", path.display());
    // before it is opened: a FIFO would hold NGINX up for ever
    if !std::fs::metadata(&path).map_err(describe)?.is_file() {
        return Err(format!("is not a file: {}", path.display()));
    }
    let file = std::fs::File::open(&path).map_err(describe)?;
    let mut content = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(file, limit + 1), &mut content).map_err(describe)?;
    if content.len() as u64 > limit {
        return Err(format!("is larger than {limit} bytes: {}", path.display()));
    }
    Ok(content)
}

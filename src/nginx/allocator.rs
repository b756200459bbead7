//! What is left of memory that the module gives back?
//!
//! Nothing: it is wiped. Tokens and credentials pass through buffers of libraries (HTTP, TLS, base64) that do not wipe them, and
//! a core dump must not show what is over. This is the memory of the module's own code; NGINX's pools are NGINX's.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::c_void;

unsafe extern "C" {
    /// A `memset` that no compiler leaves out because the memory is freed next; in glibc, musl and the BSDs.
    fn explicit_bzero(memory: *mut c_void, length: usize);
}

struct Wiping;

#[global_allocator]
static ALLOCATOR: Wiping = Wiping;

// `realloc` is the one provided, which allocates, copies and deallocates: the system's own would leave unwiped what it moves.
// SAFETY: memory and layouts are handed to and from the system's allocator unchanged, and nothing here panics.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the one that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: by the caller's promise `memory` was allocated with this layout, and nobody uses it any more.
        unsafe { explicit_bzero(memory.cast(), layout.size()) };
        // SAFETY: as in `alloc`.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// Wipes memory that is not the module's to free: of a pool.
///
/// # Safety
///
/// `length` bytes at `memory` must be allocated, and of no use to anybody any more.
pub unsafe fn wipe(memory: *mut u8, length: usize) {
    // SAFETY: by the caller's promise.
    unsafe { explicit_bzero(memory.cast(), length) }
}

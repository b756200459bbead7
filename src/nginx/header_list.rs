//! How are NGINX's lists of headers walked, and taken from?

use std::ptr;

use ::ngx::ffi as ngx;
use ngx::ngx_table_elt_t;

use super::request::OutOfMemory;

/// The elements of a list of headers.
///
/// # Safety
///
/// `list` must hold `ngx_table_elt_t` and stay as it is while the iterator is used.
pub unsafe fn list_elements(list: *const ngx::ngx_list_t) -> impl Iterator<Item = *mut ngx_table_elt_t> {
    // SAFETY: the list is valid by the caller's promise.
    let mut part: *const ngx::ngx_list_part_t = unsafe { &raw const (*list).part };
    let mut i = 0;
    std::iter::from_fn(move || {
        while !part.is_null() {
            // SAFETY: parts are linked until null.
            let current = unsafe { &*part };
            if i < current.nelts {
                // SAFETY: a part has `nelts` elements.
                let element = unsafe { current.elts.cast::<ngx_table_elt_t>().add(i) };
                i += 1;
                return Some(element);
            }
            part = current.next;
            i = 0;
        }
        None
    })
}

/// How many headers an emptied list that has no room left gets room for.
const ROOM: usize = 4;

/// Takes an element out of a list without moving another, for others are pointed to: its part ends before it, and what
/// comes after it becomes a part of its own. Nor is its place used again, for it may be pointed to, too. No part but an only
/// one is left empty, which NGINX's own loops rely on; nor is the list ever without room, for a new part gets as much.
///
/// # Safety
///
/// `list` must be a valid list whose memory is in `pool`, and nothing must be walking it.
pub unsafe fn remove_element(
    list: *mut ngx::ngx_list_t,
    element: *mut ngx_table_elt_t,
    pool: *mut ngx::ngx_pool_t,
) -> Result<(), OutOfMemory> {
    // SAFETY: the list is valid by the caller's promise; so is each part reached from it below.
    let list = unsafe { &mut *list };
    let first: *mut ngx::ngx_list_part_t = &raw mut list.part;
    let mut before: *mut ngx::ngx_list_part_t = ptr::null_mut();
    let mut place = first;
    while !place.is_null() {
        // SAFETY: parts are linked until null.
        let part = unsafe { &mut *place };
        let start = part.elts.cast::<ngx_table_elt_t>();
        let Some(i) = (0..part.nelts).find(|i| start.wrapping_add(*i) == element) else {
            before = place;
            place = part.next;
            continue;
        };
        if i + 1 == part.nelts && i > 0 {
            part.nelts -= 1;
            if list.last == place {
                list.nalloc = part.nelts;
            }
        } else if i == 0 && list.last == place && list.nalloc == 1 && before.is_null() {
            // SAFETY: the pool is the list's.
            let elts = unsafe { ngx::ngx_palloc(pool, ROOM * size_of::<ngx_table_elt_t>()) };
            if elts.is_null() {
                return Err(OutOfMemory);
            }
            part.elts = elts;
            part.nelts = 0;
            list.nalloc = ROOM;
        } else if i == 0 {
            part.elts = start.wrapping_add(1).cast();
            part.nelts -= 1;
            if list.last == place {
                list.nalloc -= 1;
            }
        } else {
            // SAFETY: the pool is the list's.
            let rest = unsafe { ngx::ngx_palloc(pool, size_of::<ngx::ngx_list_part_t>()) };
            let rest = rest.cast::<ngx::ngx_list_part_t>();
            if rest.is_null() {
                return Err(OutOfMemory);
            }
            let elts = start.wrapping_add(i + 1).cast();
            // SAFETY: there is room for a part.
            unsafe { rest.write(ngx::ngx_list_part_t { elts, nelts: part.nelts - i - 1, next: part.next }) };
            part.nelts = i;
            part.next = rest;
            if list.last == place {
                list.last = rest;
                list.nalloc -= i + 1;
            }
        }
        if part.nelts == 0 {
            if !before.is_null() {
                // SAFETY: a part reached before.
                unsafe { (*before).next = part.next };
                if list.last == place {
                    // Its room is not known any longer: as if there were none.
                    list.last = before;
                    // SAFETY: as above.
                    list.nalloc = unsafe { (*before).nelts };
                }
            } else if !part.next.is_null() {
                let next = part.next;
                // SAFETY: parts are linked until null.
                *part = unsafe { *next };
                if list.last == next {
                    list.last = first;
                }
            }
        }
        return Ok(());
    }
    Ok(())
}

//! Loopback ports without races between parallel tests and test processes.
//!
//! Ports come from below the kernel's ephemeral range, so no outgoing connection takes one. Each
//! is locked by binding an abstract Unix socket of that name: the lock is process-wide, shared
//! by all test processes of the machine, and gone when its holder is, however it died.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};
use std::sync::atomic::{AtomicU16, Ordering};

use socket2::{Domain, Socket, Type};

const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

/// A port that is ours until this is dropped; nothing listens on it yet.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: UnixListener,
}

impl Port {
    /// The number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// 127.0.0.1 and the number.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}

/// Reserves a free port. Kept without a listener, it is one where connections are refused.
pub fn reserve() -> Port {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // processes start at different places, so that they seldom meet
    let start = (std::process::id() % 313) as u16 * 31;
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let number = FIRST + (start.wrapping_add(step)) % COUNT;
        if let Some(port) = try_reserve(number) {
            return port;
        }
    }
    panic!("no free loopback port in {FIRST}..{}", FIRST + COUNT);
}

/// Reserves this very port, or gives `None` if it is taken.
pub fn try_reserve(number: u16) -> Option<Port> {
    let name = format!("phantom-token-port-{number}");
    let name = UnixAddr::from_abstract_name(name).expect("the name of a port lock is short");
    let lock = UnixListener::bind_addr(&name).ok()?;
    // Somebody who does not know our locks? Bound but not listening: a child that another test is just forking holds
    // this socket until its exec, which is in nobody's way only as long as it does not listen.
    let probe = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    probe.set_reuse_address(true).expect("set SO_REUSEADDR");
    probe.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, number)).into()).ok()?;
    Some(Port { number, _lock: lock })
}

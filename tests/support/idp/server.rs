//! Connections of the authorization server: hyper on a thread of its own, each connection with a
//! line by which it can be cut.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use super::{Shared, respond};

/// How a connection ends before its time.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cut {
    Close,
    Reset,
}

/// The line to a connection.
pub(super) type Line = mpsc::UnboundedSender<Cut>;

type Lines = Arc<Mutex<HashMap<usize, Line>>>;

/// A listener and its connections; all end when this is dropped.
pub(super) struct Server {
    listener: std::net::TcpListener,
    stop: Option<oneshot::Sender<()>>,
    lines: Lines,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(addr: SocketAddr, shared: Arc<Shared>) -> Server {
        // bound here: who returns from `start` can be connected to
        let listener = std::net::TcpListener::bind(addr).expect("bind the authorization server");
        listener.set_nonblocking(true).expect("non-blocking listener");
        let accepted = listener.try_clone().expect("a second descriptor of the listener");
        let (stop, stopped) = oneshot::channel();
        let lines = Lines::default();
        let accepting = accept(accepted, shared, lines.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("runtime of the authorization server");
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accepting => {}
                    _ = stopped => {}
                }
            });
        });
        Server { listener, stop: Some(stop), lines, thread: Some(thread) }
    }

    /// Closes all connections that are open.
    pub fn drop_connections(&self) {
        for line in self.lines.lock().expect("lines").values() {
            let _ = line.send(Cut::Close);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        // A close alone would not do: a child that another test is just forking holds the socket until its exec.
        let _ = SockRef::from(&self.listener).shutdown(Shutdown::Both);
    }
}

async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>, lines: Lines) {
    let listener = TcpListener::from_std(listener).expect("register the listener");
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // out of descriptors: give the others time to close
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let id = shared.record.change(|counts| {
            counts.opened += 1;
            counts.opened - 1
        });
        let open = Open { id, shared: shared.clone(), lines: lines.clone() };
        tokio::spawn(serve(stream, open));
    }
}

/// Counts a connection as closed, however it ends.
struct Open {
    id: usize,
    shared: Arc<Shared>,
    lines: Lines,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.lines.lock().expect("lines").remove(&self.id);
        self.shared.record.change(|counts| counts.closed += 1);
    }
}

async fn serve(stream: TcpStream, open: Open) {
    let _ = stream.set_nodelay(true);
    // a second descriptor: hyper keeps the first
    let Ok(socket) = stream.as_fd().try_clone_to_owned() else {
        return;
    };
    let (line, mut cuts) = mpsc::unbounded_channel();
    open.lines.lock().expect("lines").insert(open.id, line.clone());
    let service = service_fn(|request| {
        let (shared, line) = (open.shared.clone(), line.clone());
        async move { Ok::<_, Infallible>(respond::respond(shared, open.id, line, request).await) }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = connection => {}
        cut = cuts.recv() => if let Some(Cut::Reset) = cut {
            let _ = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
        },
    }
}

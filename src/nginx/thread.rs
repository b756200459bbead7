//! Where may the module keep state of its own?

/// A cell for what belongs to the thread that runs NGINX's event loop.
pub struct EventLoop<T>(T);

// SAFETY: NGINX calls modules on one thread of a process: the one that reads the configuration and later runs the event
// loop. The introspection thread has no access to statics of `nginx/`.
unsafe impl<T> Sync for EventLoop<T> {}

impl<T> EventLoop<T> {
    /// A new cell.
    pub const fn new(value: T) -> Self {
        Self(value)
    }
}

impl<T> std::ops::Deref for EventLoop<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

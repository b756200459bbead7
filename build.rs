//! Tells the crate what NGINX it is built against.

fn main() {}

//! The real parts the integration tests and the demo are made of: an authorization server, an
//! API, NGINX of the distribution, and clients that say exactly what they send.
//!
//! A test file says `mod support;` and then reads top to bottom:
//!
//! ```ignore
//! let idp = Idp::start();
//! let api = Api::start();
//! let token = idp.issue();
//! let nginx = Nginx::builder().idp(&idp).var("api", api.url())
//!     .server("location / { phantom_token on; phantom_token_introspection_endpoint @introspect@; … proxy_pass @api@; }")
//!     .start();
//! let echo = Echo::of(&http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]));
//! assert_eq!(echo.bearer(), Some(token.jwt.as_str()));
//! nginx.finish();
//! ```
//!
//! Everything binds to 127.0.0.1, on ports nobody else gets (`ports`). Nothing sleeps and hopes:
//! every wait has a condition and a deadline, and a missed deadline says what was waited for.
#![allow(dead_code, unused_imports, unused_macros)]

pub mod api;
pub mod gateway;
pub mod http;
pub mod http2;
pub mod idp;
pub mod jwt;
pub mod memory;
pub mod neighbour;
pub mod nginx;
pub mod ports;
pub mod raw;
pub mod tls;
pub mod wait;
pub mod wire;

pub use api::{Api, Echo};
pub use idp::{Answer, Gate, Idp, Shape, Token, TokenSpec};
pub use nginx::Nginx;

pub use raw::RawServer;

//! The files of the client's secrets: what is read of them, and when.

use std::fs;

use crate::support::idp::{ClientAuth, Idp, random};
use crate::support::{Api, Nginx, http, jwt, wait};

const SERVER: &str = "location / { phantom_token on; phantom_token_introspection_endpoint @introspect@;
    phantom_token_client_id @id@; phantom_token_client_secret_file @dir@/secret; phantom_token_cache off;
    proxy_pass @api@; }";

fn start(idp: &Idp, api: &Api, content: &str) -> Nginx {
    Nginx::builder().idp(idp).var("api", api.url()).file("secret", content).server(SERVER).start()
}

fn status(idp: &Idp, nginx: &Nginx) -> u16 {
    http::get(nginx.addr(), "/", &[("Authorization", &idp.issue().bearer())]).status
}

#[test]
fn one_trailing_newline_is_dropped() {
    let secret = random(18);
    for (expected, content) in [
        (secret.clone(), secret.clone()),
        (secret.clone(), format!("{secret}\n")),
        (format!("{secret}\n"), format!("{secret}\n\n")),
        (format!("{secret} "), format!("{secret} \n")),
        (format!(" {secret}\tx"), format!(" {secret}\tx")),
        (format!("\n{secret}"), format!("\n{secret}\n")),
    ] {
        let (idp, api) = (Idp::builder().client("gateway", &expected).start(), Api::start());
        let nginx = start(&idp, &api, &content);
        assert_eq!(status(&idp, &nginx), 200, "{content:?}");
        nginx.finish();
    }
}

#[test]
fn a_reload_reads_it_again() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = start(&idp, &api, "outdated-secret");
    assert_eq!(status(&idp, &nginx), 502);
    fs::write(nginx.dir().join("secret"), format!("{}\n", idp.client_secret())).unwrap();
    assert_eq!(status(&idp, &nginx), 502, "not before the reload");
    nginx.reload();
    assert_eq!(status(&idp, &nginx), 200);
    nginx.finish();
}

#[test]
fn a_file_gone_at_a_reload_keeps_the_old_workers() {
    let (idp, api) = (Idp::start(), Api::start());
    let mut nginx = start(&idp, &api, idp.client_secret());
    assert_eq!(status(&idp, &nginx), 200);
    let before = nginx.workers();
    fs::remove_file(nginx.dir().join("secret")).unwrap();
    nginx.allow_log("[emerg]");
    nginx.signal(nix::sys::signal::Signal::SIGHUP);
    let line = nginx.wait_for_log("[emerg]");
    for part in ["phantom_token_client_secret_file", "/secret", "nginx.conf:"] {
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(nginx.workers(), before);
    assert_eq!(status(&idp, &nginx), 200);
    // and the next reload finds the master in good health
    fs::write(nginx.dir().join("secret"), idp.client_secret()).unwrap();
    nginx.reload();
    wait::until("new workers", || nginx.workers().iter().all(|pid| !before.contains(pid)));
    assert_eq!(status(&idp, &nginx), 200);
    assert_eq!(nginx.log_count("[emerg]"), 1);
    nginx.finish();
}

/// The gateway's token and key, too: workers may not read them, and a reload takes up new ones, or keeps the old.
#[test]
fn token_and_key() {
    let (idp, api) = (Idp::builder().client_auth(ClientAuth::None).start(), Api::start());
    let mut nginx = Nginx::builder()
        .workers(1)
        .idp(&idp)
        .var("api", api.url())
        .file("token", "first-token\n")
        .file("key.pem", include_str!("../../src/client_assertion/ed25519.pem"))
        .server("phantom_token_introspection_endpoint @introspect@; phantom_token_client_id gateway;")
        .server(
            "location /token { phantom_token on; phantom_token_client_auth bearer; \
             phantom_token_client_bearer_file @dir@/token; proxy_pass @api@; }",
        )
        .server(
            "location /key { phantom_token on; phantom_token_client_auth private_key_jwt; \
             phantom_token_client_key @dir@/key.pem; proxy_pass @api@; }",
        )
        .start();
    let asked = |nginx: &Nginx, path| {
        idp.forget_introspections();
        assert_eq!(http::get(nginx.addr(), path, &[("Authorization", &idp.issue().bearer())]).status, 200, "{path}");
        idp.introspections()[0].clone()
    };
    let seen = |nginx: &Nginx| {
        let (header, _) = jwt::decode(&asked(nginx, "/key").form[3].1).unwrap();
        let token = asked(nginx, "/token").header("authorization").unwrap().to_owned();
        (token, header["alg"].as_str().unwrap().to_owned())
    };
    let (first, second) =
        (("Bearer first-token".into(), "EdDSA".into()), ("Bearer second-token".into(), "ES256".into()));
    assert_eq!(seen(&nginx), first);
    fs::write(nginx.dir().join("token"), "second-token").unwrap();
    fs::write(nginx.dir().join("key.pem"), include_str!("../../src/client_assertion/p256.pem")).unwrap();
    assert_eq!(seen(&nginx), first, "not before the reload");
    nginx.reload();
    assert_eq!(seen(&nginx), second);
    nginx.allow_log("[emerg]");
    for (name, content) in [("token", "no token"), ("key.pem", "no key")] {
        let good = fs::read(nginx.dir().join(name)).unwrap();
        fs::write(nginx.dir().join(name), content).unwrap();
        nginx.signal(nix::sys::signal::Signal::SIGHUP);
        let line = nginx.wait_for_log(&format!("/{name}\""));
        assert!(line.contains("[emerg]") && !line.contains(content), "{line}");
        assert_eq!(seen(&nginx), second);
        fs::write(nginx.dir().join(name), good).unwrap();
    }
    nginx.finish();
}

#[test]
fn a_file_that_would_block_is_refused() {
    let pipe = std::env::temp_dir().join(format!("phantom-token-fifo-{}", std::process::id()));
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let test = crate::support::nginx::config_test(&format!("phantom_token_client_secret_file {};", pipe.display()));
    fs::remove_file(&pipe).unwrap();
    test.assert_emerg(&["phantom_token_client_secret_file", "is not a file"]);
}

//! Answers from every kind of location, read whole whatever their size, framing and buffers.

use super::support::gateway::{bare, publish, wait_for_in_progress};
use super::support::nginx::Builder;
use super::support::{Answer, Api, Echo, Idp, Nginx, RawServer, TokenSpec, http};

const ON: &str = "phantom_token on; phantom_token_introspection_endpoint /ask;";

fn gateway(idp: &Idp, api: &Api) -> Builder {
    bare(idp, api)
        .var("basic", idp.client_authorization())
        .server(&format!("location / {{ {ON} proxy_pass @api@; }}"))
        .server("add_header X-Cache $phantom_token_cache_status always;")
}

#[track_caller]
fn assert_forwarded(nginx: &Nginx, bearer: &str, jwt: &str) {
    let response = http::get(nginx.addr(), "/", &[("Authorization", bearer)]);
    assert_eq!(Echo::of(&response).bearer(), Some(jwt));
}

/// `return` of the rewrite phase.
#[test]
fn a_return() {
    let (idp, api) = (Idp::start(), Api::start());
    let jwt = idp.issue().jwt;
    for (answer, status) in [
        (format!("default_type application/jwt; return 200 \"{jwt}\";"), 200),
        (format!("default_type application/json; return 200 '{{\"active\":true,\"jwt\":\"{jwt}\"}}';"), 200),
        ("default_type application/json; return 200 '{\"active\":false}';".to_owned(), 401),
        ("return 204;".to_owned(), 401),
        ("return 200 x;".to_owned(), 502),
        ("return 401;".to_owned(), 502),
        ("return 404;".to_owned(), 502),
        ("return 302 http://127.0.0.1/;".to_owned(), 502),
        ("return 500;".to_owned(), 502),
        ("return 503;".to_owned(), 503),
        ("return 504;".to_owned(), 504),
        ("return 444;".to_owned(), 502),
        ("return 499;".to_owned(), 502),
        ("return 408;".to_owned(), 502),
        ("return 201;".to_owned(), 502),
    ] {
        let nginx = gateway(&idp, &api)
            .server(&format!("location = /ask {{ internal; {answer} }}"))
            .allow_log("introspection of token")
            .start();
        let response = http::get(nginx.addr(), "/", &[("Authorization", "Bearer any")]);
        assert_eq!(response.status, status, "{answer}: {response:?}");
        if status == 200 {
            assert_eq!(Echo::of(&response).bearer(), Some(jwt.as_str()));
        }
        nginx.finish();
    }
}

/// A file, of more than one buffer, with and without `sendfile`; and one that takes the place of an error page.
#[test]
fn a_file() {
    let (idp, api) = (Idp::start(), Api::start());
    let jwt = idp.issue_token(TokenSpec::new().jwt_at_least(50_000)).jwt;
    for (location, extra) in [
        ("root @dir@; try_files /answer =404;", "sendfile on;"),
        ("root @dir@; try_files /answer =404;", "sendfile off; output_buffers 2 4k;"),
        ("root @dir@; try_files /answer =404;", "directio 1;"),
        ("root @dir@; try_files /answer =404;", "sendfile off; aio threads;"),
        ("root @dir@; try_files /answer =404;", "directio 1; aio threads; output_buffers 2 4k;"),
        ("alias @dir@/answer;", "sendfile on;"),
        ("error_page 418 =200 /answer; return 418;", "sendfile on;"),
    ] {
        let nginx = gateway(&idp, &api)
            .server(extra)
            .server(&format!("location = /ask {{ internal; default_type application/jwt; {location} }}"))
            .server("location = /answer { internal; root @dir@; default_type application/jwt; }")
            .start();
        publish(&nginx, "answer", &jwt);
        std::fs::set_permissions(nginx.dir(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
        assert_forwarded(&nginx, "Bearer any", &jwt);
        nginx.finish();
    }
}

/// Every size around those of buffers, in every framing, through buffers as small as NGINX takes.
#[test]
fn sizes_and_framings() {
    let (idp, api) = (Idp::start(), Api::start());
    let sizes = [600, 4_000, 4_096, 4_097, 9_000, 33_000, 65_000];
    let location = |name: &str, extra: &str| {
        format!(
            "location /{name} {{ phantom_token on; phantom_token_introspection_endpoint /ask-{name}; proxy_pass @api@; }}
             location = /ask-{name} {{ internal; proxy_set_header Authorization \"@basic@\"; {extra} proxy_pass @introspect@; }}"
        )
    };
    let small = "proxy_buffer_size 1k; proxy_buffers 2 1k; proxy_busy_buffers_size 1k;";
    let cached =
        "proxy_cache c; proxy_cache_methods POST; proxy_cache_key \"$uri $request_body\"; proxy_cache_valid 200 1m;";
    let ways = [
        ("default", String::new()),
        ("http11", "proxy_http_version 1.1; proxy_set_header Connection \"\";".to_owned()),
        ("small", small.to_owned()),
        ("unbuffered", format!("{small} proxy_buffering off;")),
        ("memory", format!("{small} proxy_max_temp_file_size 0;")),
        ("cached", format!("{small} {cached}")),
        ("cached-memory", format!("{small} {cached} proxy_max_temp_file_size 0;")),
        ("not-cached-memory", format!("{small} {cached} proxy_no_cache 1; proxy_max_temp_file_size 0;")),
        ("not-cached", format!("{small} {cached} proxy_no_cache 1;")),
        ("sendfile", format!("{small} {cached} sendfile on;")),
        ("threads", format!("{small} {cached} sendfile off; aio threads; aio_write on;")),
        ("limited", "proxy_limit_rate 1m;".to_owned()),
    ];
    let mut builder =
        gateway(&idp, &api).http("proxy_cache_path @dir@/cache keys_zone=c:1m;").server("proxy_buffering on;");
    for (name, extra) in &ways {
        builder = builder.server(&location(name, extra));
    }
    let nginx = builder.start();
    for (name, _) in &ways {
        for size in sizes {
            for chunked in [false, true] {
                let token = idp.issue_token(TokenSpec::new().jwt_at_least(size));
                let answer = Answer::normal().header("Cache-Control", "max-age=60");
                idp.answer_for(&token.opaque, if chunked { answer.chunked() } else { answer });
                let response = http::get(nginx.addr(), &format!("/{name}"), &[("Authorization", &token.bearer())]);
                assert_eq!(response.status, 200, "{name} {size} {chunked}: {response:?}");
                assert_eq!(Echo::of(&response).bearer(), Some(token.jwt.as_str()), "{name} {size} {chunked}");
            }
        }
    }
    nginx.finish();
}

/// More than is forwarded, and more without end.
#[test]
fn too_long() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api)
        .server("location = /ask { internal; proxy_set_header Authorization \"@basic@\"; proxy_pass @introspect@; }")
        .allow_log("it is longer than 65536 bytes")
        .start();
    let token = idp.issue_token(TokenSpec::new().jwt_at_least(65_537));
    let response = http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]);
    assert_eq!(response.status, 502);
    nginx.finish();

    let endless = RawServer::start(|connection| {
        connection.read_request();
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/jwt\r\n\r\n");
        while connection.send(&[b'a'; 8192]) {}
    });
    let nginx = gateway(&idp, &api)
        .server(&format!("location = /ask {{ internal; proxy_pass {}; }}", endless.url()))
        .allow_log("it is longer than 65536 bytes")
        .start();
    for _ in 0..3 {
        let response = http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]);
        assert_eq!(response.status, 502);
    }
    nginx.finish();
}

/// `error_page` inside the location, with a fallback server.
#[test]
fn an_error_page_of_its_own() {
    let (idp, down, api) = (Idp::start(), Idp::start(), Api::start());
    down.go_down();
    let token = idp.issue();
    let nginx = gateway(&idp, &api)
        .var("down", down.introspection_url())
        .server("location = /ask { internal; error_page 502 = @spare; proxy_pass @down@; }")
        .server("location @spare { proxy_set_header Authorization \"@basic@\"; rewrite ^ /oauth/introspect break; proxy_pass @as@; }")
        .var("as", idp.url())
        .allow_log("connect() failed (111: Connection refused) while connecting to upstream")
        .start();
    assert_forwarded(&nginx, &token.bearer(), &token.jwt);
    nginx.finish();
}

/// Our cache and its rules: `no-store` of the location's answer, and `Expires` without a `Date` to the client.
#[test]
fn caching_headers_count() {
    let (idp, api) = (Idp::start(), Api::start());
    let later = httpdate::fmt_http_date(std::time::SystemTime::now() + std::time::Duration::from_secs(60));
    let nginx = gateway(&idp, &api)
        .workers(1)
        .server("location = /ask { internal; proxy_set_header Authorization \"@basic@\"; proxy_pass @introspect@; }")
        .start();
    let normal = || Answer::normal().without_header("Cache-Control");
    for (answer, second) in [
        (normal(), "HIT"),
        (normal().header("Cache-Control", "no-store"), "MISS"),
        (normal().header("Cache-Control", "max-age=60"), "HIT"),
        (normal().header("Cache-Control", "max-age=60").header("Age", "60"), "MISS"),
        (normal().header("Expires", &later), "HIT"),
        (normal().header("Expires", "0"), "MISS"),
        (normal().header("Vary", "*"), "MISS"),
    ] {
        let token = idp.issue();
        idp.answer_for(&token.opaque, answer.clone());
        let get = || http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]);
        assert_eq!(get().header("X-Cache"), Some("MISS"));
        assert_eq!(get().header("X-Cache"), Some(second), "{answer:?}");
    }
    nginx.finish();
}

/// njs, at once and after a while: Debian has it as a package.
#[test]
fn njs() {
    const MODULE: &str = "/usr/lib/nginx/modules/ngx_http_js_module.so";
    if std::env::var_os("NGINX_BINARY").is_some() {
        eprintln!("skipped: Debian's module goes with Debian's NGINX");
        return;
    }
    let (idp, api) = (Idp::start(), Api::start());
    let jwt = idp.issue().jwt;
    let script = format!(
        "const answer = r => {{
             const token = r.requestText.match(/^token=([a-z]+)&/)[1];
             r.headersOut['Content-Type'] = 'application/json';
             r.return(200, JSON.stringify({{ active: token.startsWith('good'), jwt: '{jwt}' }}));
         }};
         const later = r => setTimeout(answer, 20, r);
         const late = r => setTimeout(answer, 1500, r);
         export default {{ answer, later, late }};"
    );
    let nginx = bare(&idp, &api)
        .main(&format!("load_module {MODULE};"))
        .http("js_path @dir@; js_import main from main.js;")
        .file("main.js", script)
        .server("phantom_token_timeout 500ms; phantom_token_introspection_endpoint /answer;")
        .server("location / { phantom_token on; proxy_pass @api@; }")
        .server("location /a { phantom_token on; phantom_token_introspection_endpoint /later; proxy_pass @api@; }")
        .server("location /b { phantom_token on; phantom_token_introspection_endpoint /late; proxy_pass @api@; }")
        .server("location = /answer { internal; js_content main.answer; }")
        .server("location = /later { internal; js_content main.later; }")
        .server("location = /late { internal; js_content main.late; }")
        .allow_log("timed out while waiting for the introspection endpoint's answer")
        .start();
    for path in ["/", "/a"] {
        let response = http::get(nginx.addr(), path, &[("Authorization", "Bearer good")]);
        assert_eq!(Echo::of(&response).bearer(), Some(jwt.as_str()), "{path}");
        assert_eq!(http::get(nginx.addr(), path, &[("Authorization", "Bearer bad")]).status, 401, "{path}");
    }
    // what runs in NGINX itself cannot be cut short, and holds the client's connection until it ends; not its answer
    let begun = std::time::Instant::now();
    assert_eq!(http::get(nginx.addr(), "/b", &[("Authorization", "Bearer good")]).status, 504);
    assert!(begun.elapsed() < std::time::Duration::from_millis(1400));
    wait_for_in_progress(&nginx, 0);
    nginx.finish();
}

/// FastCGI: what `fastcgi_params` gives, and the answer in records.
#[test]
fn fastcgi() {
    let (idp, api) = (Idp::start(), Api::start());
    let jwt = idp.issue().jwt;
    let content = format!("Content-Type: application/jwt\r\n\r\n{jwt}");
    let record = |kind: u8, content: &[u8]| {
        let mut record = vec![1, kind, 0, 1];
        record.extend_from_slice(&(content.len() as u16).to_be_bytes());
        record.extend_from_slice(&[0, 0]);
        record.extend_from_slice(content);
        record
    };
    let answer = [record(6, content.as_bytes()), record(6, b""), record(3, &[0; 8])].concat();
    let (seen, server) = fastcgi_server(answer);
    let nginx = gateway(&idp, &api)
        .server(&format!(
            "location = /ask {{ internal; fastcgi_param REQUEST_METHOD POST; fastcgi_param CONTENT_LENGTH $content_length; \
             fastcgi_param CONTENT_TYPE $content_type; fastcgi_pass {server}; }}"
        ))
        .start();
    assert_forwarded(&nginx, "Bearer any", &jwt);
    let seen = String::from_utf8_lossy(&seen.recv().expect("a request")).into_owned();
    for expected in ["CONTENT_LENGTH38", "HTTP_ACCEPTapplication/jwt", "token=any&token_type_hint=access_token"] {
        assert!(seen.contains(expected), "{seen:?}");
    }
    assert!(!seen.contains("HTTP_AUTHORIZATION"), "{seen:?}");
    nginx.finish();
}

fn fastcgi_server(answer: Vec<u8>) -> (std::sync::mpsc::Receiver<Vec<u8>>, std::net::SocketAddr) {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("an address");
    let (sender, seen) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().expect("a connection");
        let mut read = Vec::new();
        // An empty record of FCGI_STDIN ends the request.
        while !read.windows(8).any(|header| header[..2] == [1, 5] && header[4..6] == [0, 0]) {
            let mut part = [0; 4096];
            let n = connection.read(&mut part).expect("a request");
            read.extend_from_slice(&part[..n]);
        }
        connection.write_all(&answer).expect("an answer");
        let _ = sender.send(read);
    });
    (seen, address)
}

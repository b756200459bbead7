//! Which block's word counts.

use crate::support::http::{self, Response};
use crate::support::{Api, Echo, Idp, Nginx};

const ENDPOINT: &str = "phantom_token_introspection_endpoint @introspect@;
    phantom_token_client_id @id@; phantom_token_client_secret @secret@;";

fn start(idp: &Idp, api: &Api, http: &str, server: &str) -> Nginx {
    Nginx::builder().workers(1).idp(idp).var("api", api.url()).http(http).server(server).start()
}

fn challenge(response: &Response) -> &str {
    assert_eq!(response.status, 401, "{response:?}");
    response.header("www-authenticate").unwrap()
}

#[test]
fn inner_blocks_override_outer_ones() {
    let (idp, api) = (Idp::start(), Api::start());
    let http = format!("{ENDPOINT} phantom_token on; phantom_token_realm http; phantom_token_scopes 'a b';");
    let server = "
        location / { proxy_pass @api@; }
        location /realm { phantom_token_realm location; proxy_pass @api@;
            location /realm/nested { proxy_pass @api@; }
            location /realm/own { phantom_token_realm own; phantom_token_scope c d; proxy_pass @api@; }
            location /realm/off { phantom_token off; proxy_pass @api@;
                location /realm/off/on { phantom_token on; proxy_pass @api@; }
            }
        }
        location /if { if ($arg_x) { proxy_pass @api@; } proxy_pass @api@; }
        location /named { try_files /.none @named; }
        location /named-off { phantom_token off; try_files /.none @named; }
        location @named { phantom_token_realm named; proxy_pass @api@; }
        location /internal-off { phantom_token off; try_files /.none @off; }
        location @off { phantom_token off; proxy_pass @api@; }
        location /limited { phantom_token off; proxy_pass @api@;
            limit_except GET { phantom_token on; phantom_token_realm limited; } }";
    let nginx = start(&idp, &api, &http, server);
    let token = idp.issue();
    let outer = "Bearer realm=\"http\", scope=\"a b\"";
    for (path, expected) in [
        ("/", Some(outer)),
        ("/realm", Some("Bearer realm=\"location\", scope=\"a b\"")),
        ("/realm/nested", Some("Bearer realm=\"location\", scope=\"a b\"")),
        ("/realm/own", Some("Bearer realm=\"own\", scope=\"c d\"")),
        ("/realm/off", None),
        ("/realm/off/on", Some("Bearer realm=\"location\", scope=\"a b\"")),
        ("/if", Some(outer)),
        ("/if?x=1", Some(outer)),
        ("/named", Some(outer)),
        ("/named-off", Some("Bearer realm=\"named\", scope=\"a b\"")),
        ("/internal-off", None),
        ("/limited", None),
    ] {
        let bare = http::get(nginx.addr(), path, &[]);
        let sent = Echo::of(&http::get(nginx.addr(), path, &[("Authorization", &token.bearer())]));
        match expected {
            Some(expected) => {
                assert_eq!(challenge(&bare), expected, "{path}");
                assert_eq!(sent.bearer(), Some(token.jwt.as_str()), "{path}");
            }
            None => {
                assert_eq!(bare.status, 200, "{path}");
                assert_eq!(sent.bearer(), Some(token.opaque.as_str()), "{path}: left as it is");
            }
        }
    }
    let post = http::request(nginx.addr(), "POST", "/limited", &[], b"x");
    assert_eq!(challenge(&post), "Bearer realm=\"limited\", scope=\"a b\"");
    let post = http::request(nginx.addr(), "POST", "/limited", &[("Authorization", &token.bearer())], b"x");
    assert_eq!(Echo::of(&post).bearer(), Some(token.jwt.as_str()));
    assert_eq!(idp.introspection_count(), 1, "one profile");
    nginx.finish();
}

#[test]
fn on_in_a_server_is_for_all_its_locations_only() {
    let (idp, api) = (Idp::start(), Api::start());
    let server = format!(
        "{ENDPOINT} phantom_token on; phantom_token_realm \"a \\\"b\\\\\\\" c\"; location / {{ proxy_pass @api@; }}"
    );
    let other = "server { listen 127.0.0.1:@other@; location / { proxy_pass @api@; } }";
    let builder = Nginx::builder().idp(&idp).var("api", api.url()).port("other").http(other).server(&server);
    let nginx = builder.start();
    assert_eq!(challenge(&http::get(nginx.addr(), "/x", &[])), "Bearer realm=\"a \\\"b\\\\\\\" c\"");
    assert_eq!(http::get(nginx.addr_of("other"), "/x", &[]).status, 200);
    nginx.finish();
}

#[test]
fn endpoint_and_credentials_are_inherited_apart() {
    let (idp, api) = (Idp::start(), Api::start());
    let http = "phantom_token_client_id wrong; phantom_token_client_secret wrong;";
    let server = "phantom_token_introspection_endpoint @introspect@;
        location /wrong { phantom_token on; proxy_pass @api@; }
        location /right { phantom_token on; phantom_token_client_id @id@; phantom_token_client_secret_file @dir@/secret;
            proxy_pass @api@; }";
    let builder = Nginx::builder().idp(&idp).var("api", api.url()).file("secret", idp.client_secret());
    let nginx = builder.http(http).server(server).start();
    let token = idp.issue();
    let get = |path| http::get(nginx.addr(), path, &[("Authorization", &token.bearer())]);
    assert_eq!(get("/wrong").status, 502);
    assert_eq!(Echo::of(&get("/right")).bearer(), Some(token.jwt.as_str()));
    nginx.finish();
}

"""The configurations that are compared: what stands in `http` and in `server` of the gateway.

Placeholders: @introspect@ and @introspect_header@, the URLs of the authorization server that answers with the JWT as content, or in
X-JWT; @introspect_path@ and @introspect_header_path@, the same without scheme and address, to go behind http://authorization_server,
an upstream with keepalive, as is http://api; @jwt@; @dir@, a directory for files; @port@, where to listen. A configuration that exchanges tokens has to send `Authorization: Bearer @jwt@` to http://api, and to keep
answers for an hour at least."""

import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from servers import Nginx

COMMON = """
    upstream api { server 127.0.0.1:@api_port@; keepalive 128; keepalive_requests 100000000; keepalive_timeout 1h; }
    upstream authorization_server {
        server @introspect_address@; keepalive 128; keepalive_requests 100000000; keepalive_timeout 1h; }
    proxy_http_version 1.1;
    proxy_set_header Connection "";
"""

SERVER = "server { listen 127.0.0.1:@port@ backlog=4096;"

PLAIN = SERVER + " location / { proxy_pass http://api; } }"

HEADER = SERVER + """
        location / {
            proxy_set_header Connection "";
            proxy_set_header Authorization "Bearer @jwt@";
            proxy_pass http://api; } }"""

MODULE = """
    phantom_token_introspection_endpoint @introspect@;
    phantom_token_client_id gateway;
    phantom_token_client_secret secret;
    phantom_token_cache_size @cache_size@;
    phantom_token_cache_max_ttl 1d;
    """ + SERVER + """
        location / {
            phantom_token on;
            proxy_pass http://api; } }"""

# The directives of an introspection by proxy_pass, with an answer that is cached by the whole Authorization header.
ASK = """
            internal;
            proxy_method POST;
            proxy_pass_request_headers off;
            proxy_set_header Connection "";
            proxy_set_header Authorization "Basic Z2F0ZXdheTpzZWNyZXQ=";
            proxy_set_header Content-Type application/x-www-form-urlencoded;
            proxy_set_header Accept application/jwt;
            proxy_set_body "token=$bearer&token_type_hint=access_token";
            proxy_buffer_size 16k; proxy_buffers 4 16k;
            proxy_cache answers;
            proxy_cache_key $http_authorization;
            proxy_cache_valid 200 1d;
            proxy_cache_lock on;"""

CACHED = """
    proxy_cache_path @dir@/answers levels=1:2 keys_zone=answers:256m inactive=1d max_size=16g use_temp_path=off;
    open_file_cache max=20000 inactive=1d;
    open_file_cache_valid 1d;
    map $http_authorization $bearer { "~*^bearer (?<opaque>.+)$" $opaque; }
"""

AUTH_REQUEST = CACHED + SERVER + """
        location / {
            auth_request /_introspect;
            auth_request_set $jwt $upstream_http_x_jwt;
            proxy_set_header Connection "";
            proxy_set_header Authorization "Bearer $jwt";
            proxy_pass http://api; }
        location = /_introspect {""" + ASK + """
            proxy_pass http://authorization_server@introspect_header_path@; } }"""

NJS = CACHED + """
    js_path @dir@;
    js_import gate from gate.js;
    js_var $jwt;
    subrequest_output_buffer_size 16k;
    """ + SERVER + """
        location / { js_content gate.exchange; }
        location @api {
            proxy_set_header Connection "";
            proxy_set_header Authorization "Bearer $jwt";
            proxy_pass http://api; }
        location = /_introspect {""" + ASK + """
            proxy_pass http://authorization_server@introspect_path@; } }"""

NJS_SCRIPT = """async function exchange(r) {
    const answer = await r.subrequest('/_introspect');
    if (answer.status == 200) {
        r.variables.jwt = answer.responseText;
        r.internalRedirect('@api');
    } else {
        r.return(401);
    }
}

export default { exchange };
"""


@dataclass
class Configuration:
    """A way to get from the opaque token to the JWT, or not to."""

    key: str
    label: str
    http: str
    modules: list = field(default_factory=list)
    files: dict = field(default_factory=dict)
    # whether the API gets the JWT
    exchanges: bool = True

    def start(self, bench, server, jwt, cache_size="512m", extra="", **options):
        """Starts a gateway with it and makes sure that it does what it is there for."""
        url = urlsplit(server.url)
        values = {
            "api_port": bench.api.port, "introspect_address": url.netloc, "introspect": server.url,
            "introspect_header": server.header_url, "introspect_path": url.path,
            "introspect_header_path": urlsplit(server.header_url).path, "jwt": jwt, "cache_size": cache_size,
        }
        http = COMMON + extra + self.http
        for name, value in values.items():
            http = http.replace(f"@{name}@", str(value))
        for name, text in self.files.items():
            path = os.path.join(bench.work, name)
            with open(path, "w") as file:
                file.write(text)
            os.chmod(path, 0o644)
            http = http.replace("js_path @dir@", f"js_path {bench.work}")
        check = options.pop("check", True)
        nginx = Nginx(bench, f"gateway-{self.key}", http, modules=self.modules, **options)
        if check:
            got = nginx.get("/echo", "t" + "0" * 63)
            expected = f"Bearer {jwt}" if self.exchanges else "Bearer t" + "0" * 63
            bench.require(got == expected, f"{self.label}: the API got {got[:100]!r}")
        return nginx


def known(bench):
    """What can be compared here, in the order of the tables."""
    found = [
        Configuration("plain", "plain `proxy_pass`", PLAIN, exchanges=False),
        Configuration("header", "`proxy_pass`, constant header of the JWT's size", HEADER),
        Configuration("module", "this module", MODULE, [bench.module]),
        Configuration("auth_request", "`auth_request` + `proxy_cache`", AUTH_REQUEST),
    ]
    if njs := bench.njs():
        found.append(Configuration("njs", "njs + `proxy_cache`", NJS, [njs], {"gate.js": NJS_SCRIPT}))
    for label, modules, path in bench.given:
        if path == "module":
            text = MODULE
        else:
            with open(path) as file:
                text = file.read()
        key = "given-" + "".join(c if c.isalnum() else "-" for c in label)
        found.append(Configuration(key, label, text, [os.path.abspath(part) for part in modules.split(",") if part]))
    return found

#!/usr/bin/perl

# The module over HTTP/3, with the client of nginx-tests: see scripts/nginx-tests.sh, which runs this beside NGINX's own tests
# where the build has HTTP/3. The authorization server and the API are two servers of the same NGINX.

use strict;
use warnings;

use MIME::Base64 qw(encode_base64url);
use Test::More;
use Test::Nginx;
use Test::Nginx::HTTP3;

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $jwt = join '.', map { encode_base64url($_) } '{"alg":"ES256"}', '{"sub":"jane","exp":4102444800}', 's' x 64;

my $t = Test::Nginx->new()->has(qw/http http_v3 proxy rewrite cryptx/)->has_daemon('openssl')->plan(16);
my $dir = $t->testdir();
$t->write_file_expand('nginx.conf', <<"EOF");

%%TEST_GLOBALS%%

daemon off;
worker_processes 1;
events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    ssl_certificate_key localhost.key;
    ssl_certificate localhost.crt;
    limit_req_zone \$server_name zone=slow:1m rate=2r/s;

    server {
        listen 127.0.0.1:%%PORT_8980_UDP%% quic;
        listen 127.0.0.1:8081;

        location /url/ {
            phantom_token on;
            phantom_token_introspection_endpoint http://127.0.0.1:%%PORT_8082%%/introspect;
            add_header X-Cache \$phantom_token_cache_status always;
            proxy_pass http://127.0.0.1:8083;
        }
        location /uri/ {
            phantom_token on;
            phantom_token_introspection_endpoint /introspect;
            add_header X-Cache \$phantom_token_cache_status always;
            proxy_pass http://127.0.0.1:8083;
        }
        location = /introspect {
            internal;
            proxy_pass http://127.0.0.1:8082;
        }
        location /slow-url/ {
            phantom_token on;
            phantom_token_introspection_endpoint http://127.0.0.1:%%PORT_8082%%/slow;
            phantom_token_cache off;
            proxy_pass http://127.0.0.1:8083;
        }
        location /slow-uri/ {
            phantom_token on;
            phantom_token_introspection_endpoint /introspect-slowly;
            phantom_token_cache off;
            proxy_pass http://127.0.0.1:8083;
        }
        location = /introspect-slowly {
            internal;
            proxy_pass http://127.0.0.1:8082/slow;
        }
    }

    server {
        listen 127.0.0.1:8082;
        default_type application/jwt;
        location = /introspect {
            return 200 "$jwt";
        }
        location = /slow {
            # runs after "return" would
            limit_req zone=slow burst=9;
            proxy_pass http://127.0.0.1:8082/introspect;
        }
    }

    server {
        listen 127.0.0.1:8083;
        return 200 "\$request_uri \$http_authorization";
    }
}
EOF

$t->write_file('openssl.conf', <<EOF);
[ req ]
default_bits = 2048
encrypt_key = no
distinguished_name = name
[ name ]
EOF
system("openssl req -x509 -new -config $dir/openssl.conf -subj /CN=localhost/ "
    . "-out $dir/localhost.crt -keyout $dir/localhost.key >>$dir/openssl.out 2>&1") == 0 or die "openssl: $!";

$t->run();

my $s = Test::Nginx::HTTP3->new();

for my $way ('url', 'uri') {
    my ($refused, $content) = get("/$way/");
    is($refused->{':status'}, 401, "$way: no token");
    like($content, qr/"code":"unauthorized_request"/, "$way: content of the refusal");
    is($refused->{'www-authenticate'}, 'Bearer realm="api"', "$way: challenge");
    for my $word ('MISS', 'HIT') {
        my ($headers, $echo) = get("/$way/", 'opaque');
        is("$headers->{'x-cache'} $echo", "$word /$way/ Bearer $jwt", "$way: $word");
    }
    # with content, which is announced by no field
    my ($posted, $echo) = response(request("/$way/", 'opaque', 'POST', 'c' x 5000));
    is("$posted->{':status'} $echo", "200 /$way/ Bearer $jwt", "$way: content");
    is((response(request("/$way/", undef, 'POST', 'c' x 5000)))[0]->{':status'}, 401, "$way: content refused");
}

# One stream is cancelled while it waits, another of the same token is answered all the same.
for my $way ('url', 'uri') {
    get("/slow-$way/", "first-$way");
    my $cancelled = request("/slow-$way/", "other-$way");
    my $kept = request("/slow-$way/", "other-$way");
    $s->reset_stream($cancelled, 0x010c);
    is((response($kept))[0]->{':status'}, 200, "$way: a stream beside one that was cancelled");
}

$t->stop();

sub request {
    my ($path, $token, $method, $content) = @_;
    my @headers = ([':method', $method // 'GET'], [':scheme', 'https'], [':path', $path], [':authority', 'localhost']);
    push @headers, ['authorization', "Bearer $token"] if defined $token;
    return $s->new_stream({ body => $content, headers => [map { { name => $_->[0], value => $_->[1] } } @headers] });
}

sub response {
    my ($sid) = @_;
    my $frames = $s->read(all => [{ sid => $sid, fin => 1 }]);
    my @mine = grep { ($_->{sid} // -1) == $sid } @$frames;
    my ($head) = grep { $_->{type} eq 'HEADERS' } @mine;
    return ($head->{headers}, join '', map { $_->{data} // '' } grep { $_->{type} eq 'DATA' } @mine);
}

sub get {
    return response(request(@_));
}

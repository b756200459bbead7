"""Every request with a new token, and a server that takes 20 ms: does the module keep it busy, and over how many connections?"""

from common import ratios, spread
from configurations import Configuration, MODULE, known
from load import burst, interleaved, wrk
from table import number, table

NAME = "slow"
TITLE = "every request a new token, server takes 20 ms, 64 connections"

TLS = MODULE.replace("@introspect@;", "@tls_url@; phantom_token_ssl_trusted_certificate @ca@;")
# What NGINX itself gets from that server.
TO_SERVER = "server { listen 127.0.0.1:@port@ backlog=4096; location / { proxy_pass http://authorization_server/introspect; } }"


def run(bench):
    found = [Configuration("server", "`proxy_pass` to that server and nothing else", TO_SERVER, exchanges=False),
             Configuration("module", "this module, HTTP/1.1", MODULE, [bench.module]),
             Configuration("module-tls", "this module, HTTP/2 over TLS", TLS, [bench.module])]
    found += [c for c in known(bench) if c.key not in ("plain", "header", "module")]
    # each has a server of its own, which counts its connections
    servers, gateways = {}, {}
    for c in found:
        servers[c.key], jwt = bench.slow(1024, name=f"slow-{c.key}")
        c.http = c.http.replace("@tls_url@", servers[c.key].tls_url).replace("@ca@", servers[c.key].ca)
        gateways[c.key] = c.start(bench, servers[c.key], jwt, check=c.key != "server")
    alone, _ = bench.slow(1024, name="slow-alone")
    direct = []

    def run_one(key, gateway, _):
        if key == "server":
            direct.append(wrk(alone.port, "new", seed=bench.next_seed(), path="/introspect", seconds=bench.seconds)["rps"])
        before = servers[key].counts()["introspections"]
        result = burst(gateway, "new", seed=bench.next_seed(), seconds=bench.seconds)
        result["introspections"] = servers[key].counts()["introspections"] - before
        return result

    at_64 = interleaved(bench, gateways, run_one)
    rows = []
    for c in found:
        values = lambda name: [result[name] for result in at_64[c.key]]
        bench.require(all(r["introspections"] > 0.9 * r["requests"] for r in at_64[c.key]), f"{c.label}: not each one missed")
        counts = servers[c.key].counts()
        rows.append({"key": c.key, "label": c.label, "rps": spread(values("rps")), "cpu": spread(values("cpu_us")),
                     "worker": spread(values("worker_us")), "thread": spread(values("thread_us")),
                     "share": ratios(values("rps"), direct), "p50": spread(values("p50")),
                     "opened": counts["opened"], "closed": counts["closed"], "introspections": counts["introspections"]})
    return {"delay": alone.delay_ms, "direct": spread(direct), "rows": rows}


def goals(data):
    rows = {row["key"]: row for row in data["rows"]}
    plain, tls = rows["module"], rows["module-tls"]
    return [
        ("miss, server at 20 ms, 64 connections: share of what the server itself delivers (HTTP/1.1; HTTP/2)",
         f"{number(plain['share'], 2)}; {number(tls['share'], 2)}", "the server's limit"),
        ("the same: connections opened, and closed again (HTTP/1.1; HTTP/2)",
         f"{plain['opened']}, {plain['closed']}; {tls['opened']}, {tls['closed']}", "≤ 64; ≤ 4; none closed"),
    ]


def details(data):
    rows = [(row["label"], number(row["share"], 2), number(row["rps"], 0), number(row["p50"], 0), number(row["cpu"], 1),
             str(row["introspections"]), str(row["opened"]), str(row["closed"])) for row in data["rows"]]
    return table(("", "share of the server's own throughput", "requests/s", "p50 µs", "CPU µs/request", "asked in all rounds",
                  "connections opened", "closed"), rows) + (
        f"\nThe server alone, asked by wrk over 64 connections: {number(data['direct'], 0)} requests/s. At the end of each "
        "measurement wrk leaves with 64 requests under way; for those that it only forwards, NGINX closes the connection.\n")

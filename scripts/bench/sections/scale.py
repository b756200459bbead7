"""Workers, and locations that are protected each in its own way."""

import os
import subprocess
import time

from common import EVERYWHERE, memory_of, ratios, spread
from configurations import HEADER, MODULE, SERVER, Configuration, known
from load import burst, fill, interleaved
from table import number, table

NAME = "scale"
TITLE = "workers, locations, time to read the configuration"
LOCATIONS = (1, 16, 256)
MANY = 10_000


def locations(count, protect, own):
    """So many locations beside `/` and /echo; `own`: each with settings of its own, or all with those of the level above."""
    text = ""
    for index in range(count):
        directives = "phantom_token on;" if protect else ""
        if protect and own:
            directives += f" phantom_token_realm r{index}; phantom_token_accept application/jwt;" \
                          f" phantom_token_client_id gateway{index}; phantom_token_client_secret secret{index};"
        text += f"    location /l{index}/ {{ {directives} proxy_pass http://api; }}\n"
    return text


def with_locations(bench, count, protect):
    text = (MODULE if protect else HEADER).removesuffix("}") + locations(count, protect, own=True) + "}"
    return Configuration(f"{'module' if protect else 'header'}-{count}", f"{count} location(s)", text,
                         [bench.module] if protect else [])


def workers(bench, server, jwt):
    """CPU of all workers per request, everything on all processors."""
    rows = []
    gateways = {}
    for c in known(bench)[:3]:
        for count in (1, 2):
            gateway = c.start(bench, server, jwt, workers=count, cpus=EVERYWHERE)
            # all tokens in each worker
            for _ in range(3 * count):
                fill(gateway, 100)
            gateways[f"{c.key} {count}"] = gateway
    results = interleaved(bench, gateways, lambda _, gateway, __: burst(
        gateway, "cycle", 100, seconds=bench.seconds, cpus=EVERYWHERE))
    for key, values in results.items():
        name, count = key.split()
        rows.append({"key": name, "workers": int(count), "rps": spread([value["rps"] for value in values]),
                     "cpu": spread([value["cpu_us"] for value in values]),
                     "to_one": ratios([value["rps"] for value in values], [value["rps"] for value in results[f"{name} 1"]])})
    bench.stop({bench.api, server})
    return rows


def many_locations(bench, server, jwt):
    rows = []
    for protect in (False, True):
        gateways = {count: with_locations(bench, count, protect).start(bench, server, jwt) for count in LOCATIONS}
        memory = {}
        for count, gateway in gateways.items():
            # the worker's, and the master's: it is what a reload has twice
            memory[count] = memory_of(gateway.worker(), "Rss"), memory_of(gateway.process.pid, "Rss")
            for index in range(count):
                gateway.get(f"/l{index}/", "t" + "0" * 63)
        results = interleaved(bench, gateways, lambda count, gateway, __: burst(
            gateway, "one", path=f"/l{count - 1}/", seconds=bench.seconds))
        for count, values in results.items():
            rows.append({"protect": protect, "locations": count, "cpu": spread([value["cpu_us"] for value in values]),
                         "worker": memory[count][0], "master": memory[count][1]})
        bench.stop({bench.api, server})
    return rows


def configuration_test(bench, server):
    """Seconds of `nginx -t`, and the most memory it took."""
    rows = []
    variants = {
        "no module": (False, False), "protected, settings inherited": (True, False), "protected, settings of their own": (True, True),
    }
    paths = {}
    for name, (protect, own) in variants.items():
        main = f"load_module {bench.module};\n" if protect else ""
        http = "upstream api { server 127.0.0.1:9; }\n"
        if protect:
            http += f"phantom_token_introspection_endpoint {server.url}; phantom_token_client_id gateway;" \
                    " phantom_token_client_secret secret;\n"
        http += SERVER.replace("@port@", "9") + "\n" + locations(MANY, protect, own) + "}"
        paths[name] = f"{bench.work}/many-{protect}-{own}.conf"
        with open(paths[name], "w") as file:
            # the secret in it: nginx -t warns of a file that all may read
            os.chmod(paths[name], 0o600)
            file.write(f"{main}pid {bench.work}/t.pid; error_log {bench.work}/t.log;\nevents {{}}\nhttp {{ {http} }}\n")
    times = {name: [] for name in variants}
    for _ in range(bench.rounds):
        for name, path in paths.items():
            began = time.perf_counter()
            done = subprocess.run([bench.nginx, "-t", "-c", path, "-p", bench.work], capture_output=True, text=True)
            times[name].append(time.perf_counter() - began)
            bench.require(done.returncode == 0, f"nginx -t: {done.stderr[-500:]}")
    for name in variants:
        rows.append({"label": name, "seconds": spread(times[name])})
    return rows


def run(bench):
    server, jwt = bench.immediate(1024)
    return {"workers": workers(bench, server, jwt), "locations": many_locations(bench, server, jwt),
            "test": configuration_test(bench, server)}


def goals(data):
    rows = {(row["key"], row["workers"]): row for row in data["workers"]}
    own = {row["label"]: row for row in data["test"]}
    few, many = [[row for row in data["locations"] if row["protect"] and row["locations"] == count][0]
                 for count in (LOCATIONS[0], LOCATIONS[-1])]
    return [
        ("CPU per hit, 1 and 2 workers", f"{number(rows[('module', 1)]['cpu'], 1, 'µs')}; "
         f"{number(rows[('module', 2)]['cpu'], 1, 'µs')}", "–"),
        (f"CPU per hit, 1 and {LOCATIONS[-1]} protected locations",
         f"{number(few['cpu'], 1, 'µs')}; {number(many['cpu'], 1, 'µs')}", "–"),
        (f"`nginx -t` with {MANY} protected locations beyond as many unprotected",
         f"{own['protected, settings of their own']['seconds']['median'] - own['no module']['seconds']['median']:.2f} s", "–"),
    ]


def details(data):
    names = {"plain": "plain `proxy_pass`", "header": "constant header", "module": "this module"}
    rows = [(names[row["key"]], str(row["workers"]), number(row["cpu"], 1), number(row["rps"], 0), number(row["to_one"], 2))
            for row in data["workers"]]
    text = table(("100 tokens in the cache", "workers", "CPU µs/request", "requests/s", "to one worker"), rows)
    text += "\nEverything, load and API too, on all processors of the machine.\n\n"
    first = {row["protect"]: row for row in reversed(data["locations"])}
    rows = []
    for row in data["locations"]:
        others = row["locations"] - first[row["protect"]]["locations"]
        each = lambda name: f"{(row[name] - first[row['protect']][name]) / others / 1024:.1f}" if others else "–"
        rows.append(("this module" if row["protect"] else "constant header", str(row["locations"]), number(row["cpu"], 1),
                     each("worker"), each("master")))
    text += table(("one token in the cache, the last location", "locations", "CPU µs/request", "KiB of a worker per location",
                   "KiB of the master per location"), rows)
    rows = [(row["label"], number(row["seconds"], 2)) for row in data["test"]]
    return text + "\n" + table((f"{MANY} locations", "`nginx -t`, s"), rows)

"""Every request with a token nobody has seen, and a server that answers at once: what an introspection itself costs."""

from common import differences, ratios, spread
from configurations import known
from load import burst, interleaved, wrk
from table import digits, number, table

NAME = "miss"
TITLE = "every request a new token, server answers at once"
JWT = 1024


def run(bench):
    server, jwt = bench.immediate(JWT)
    found = known(bench)
    gateways = {c.key: c.start(bench, server, jwt) for c in found}

    def busy(key, gateway, _):
        before = server.counts()
        result = burst(gateway, "new", seed=bench.next_seed(), seconds=bench.seconds)
        after = server.counts()
        result["introspections"] = (after["introspections"] - before["introspections"]) / result["requests"]
        result["connections"] = after["opened"] - before["opened"]
        return result

    for key, gateway in gateways.items():
        # connections are opened, memory has grown
        burst(gateway, "new", seed=bench.next_seed(), seconds=1)
    at_64 = interleaved(bench, gateways, busy)
    direct = []

    def alone(key, gateway, _):
        if key == "plain":
            direct.append(wrk(server.port, "new", seed=bench.next_seed(), path="/introspect", connections=1,
                              seconds=bench.seconds)["p50"])
        return burst(gateway, "new", seed=bench.next_seed(), connections=1, seconds=bench.seconds)

    at_1 = interleaved(bench, gateways, alone)
    for c in found:
        if c.key in ("plain", "header"):
            continue
        share = min(result["introspections"] for result in at_64[c.key])
        bench.require(share > 0.9, f"{c.label}: only {share:.2f} introspections per request, not each one missed")
    data = {"jwt": len(jwt), "server_p50": spread(direct), "rows": []}
    for c in found:
        rounds, single = at_64[c.key], at_1[c.key]
        values = lambda name, of=rounds: [result[name] for result in of]
        data["rows"].append({
            "key": c.key, "label": c.label,
            "rps": spread(values("rps")), "cpu": spread(values("cpu_us")), "worker": spread(values("worker_us")),
            "thread": spread(values("thread_us")), "to_plain": ratios(values("rps"), [r["rps"] for r in at_64["plain"]]),
            "p50": spread(values("p50", single)), "cpu_1": spread(values("cpu_us", single)),
            "p50_beyond": differences(values("p50", single), [r["p50"] for r in at_1["plain"]]),
            "p50_64": spread(values("p50")), "p99_64": spread(values("p99")),
            "connections": spread(values("connections")),
        })
    return data


def goals(data):
    module = next(row for row in data["rows"] if row["key"] == "module")
    beyond = module["p50_beyond"]["median"] - data["server_p50"]["median"]
    return [
        ("miss, server answers at once: CPU of worker and thread per request", number(module["cpu"], 0, "µs"), "≤ 100 µs"),
        ("miss, one connection: median latency beyond plain and the server's own", f"{digits(beyond, 0)} µs", "≤ 120 µs"),
    ]


def plots(data):
    def cost(figure):
        axes = figure.subplots()
        rows = [row for row in data["rows"] if row["key"] != "header"]
        names = [row["label"].replace("`", "") for row in rows]
        loop, others = ([row[name]["median"] for row in rows] for name in ("worker", "thread"))
        axes.barh(names, loop, label="event loop")
        axes.barh(names, others, left=loop, label="other threads")
        axes.invert_yaxis()
        axes.set_xlabel("CPU of the worker per request, µs")
        axes.set_title("Every request with a new token")
        axes.legend(loc="upper right")

    return {"miss": cost}


def details(data):
    rows = [(row["label"], number(row["to_plain"], 2), number(row["rps"], 0), number(row["cpu"], 1),
             number(row["worker"], 1), number(row["thread"], 1), number(row["p50"], 0), number(row["cpu_1"], 1),
             number(row["connections"], 0))
            for row in data["rows"]]
    text = table(("", "throughput to plain", "requests/s", "CPU µs/request", "event loop", "other threads",
                  "1 connection: p50 µs", "1 connection: CPU µs", "connections opened in a round"), rows)
    return text + (f"\nJWT of {data['jwt']} bytes, 64 connections, the gateway on one core. The server alone answers in "
                   f"{number(data['server_p50'], 0, 'µs')} (p50, one connection).\n")

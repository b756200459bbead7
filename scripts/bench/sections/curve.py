"""What a hit costs, the more tokens there are in the cache."""

from common import differences, spread
from configurations import known
from counting import instructions, per_request, starter
from load import burst, fill, interleaved
from table import digits, number, table

NAME = "curve"
TITLE = "cost of a hit against the number of cached tokens"
# Shorter than elsewhere, so that a million of them fit into the memory of a small machine.
JWT = 512
SIZES = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
# under callgrind filling a cache takes fifty times as long
COUNTED = 1_000


def run(bench):
    server, jwt = bench.immediate(JWT)
    found = {c.key: c for c in known(bench) if c.key in ("header", "module")}
    gateways = {key: c.start(bench, server, jwt, cache_size="4096m") for key, c in found.items()}
    rows = []
    for size in SIZES[:5] if bench.quick else SIZES:
        fill(gateways["module"], size)
        asked = server.counts()["introspections"]
        # drawn at random, so that no cache of the processor knows what comes next
        results = interleaved(
            bench, gateways, lambda _, gateway, round_: burst(gateway, "random", size, seed=round_, seconds=bench.seconds))
        asked = server.counts()["introspections"] - asked
        bench.require(asked < 100, f"{asked} introspections while all {size} tokens were to be in the cache")
        values = lambda key: [result["cpu_us"] for result in results[key]]
        rows.append({"tokens": size, "cpu": spread(values("module")), "beyond": differences(values("module"), values("header"))})
    bench.stop({bench.api, server})
    for row in rows:
        if row["tokens"] <= COUNTED:
            tokens = [f"t{index:063d}" for index in range(row["tokens"])]
            start = starter(bench, found["module"], server, jwt)
            row["instructions"], row["own"] = per_request(bench, instructions, start, tokens, 1000)
    return {"jwt": len(jwt), "rows": rows}


def goals(data):
    first, last = data["rows"][0], data["rows"][-1]
    return [(f"hit among {digits(last['tokens'], 0)} cached tokens instead of 1: CPU per request more",
             f"{last['beyond']['median'] - first['beyond']['median']:+.1f} µs".replace("-", "−"), "flat within cache misses")]


def details(data):
    rows = [(digits(row["tokens"], 0), number(row["beyond"], 2), number(row["cpu"], 1),
             number(row.get("instructions"), 0), number(row.get("own"), 0)) for row in data["rows"]]
    return table(("tokens in the cache", "CPU µs beyond the constant header", "CPU µs/request", "instructions",
                  "in the module's code"), rows) + f"\nJWT of {data['jwt']} bytes; tokens drawn at random.\n"


def plots(data):
    def curve(figure):
        axes = figure.subplots()
        sizes = [row["tokens"] for row in data["rows"]]
        for name, label in (("beyond", "module beyond the constant header"), ("cpu", "worker in all")):
            middle = [row[name]["median"] for row in data["rows"]]
            line, = axes.plot(sizes, middle, marker="o", label=label)
            axes.fill_between(sizes, [row[name]["low"] for row in data["rows"]], [row[name]["high"] for row in data["rows"]],
                              alpha=0.2, color=line.get_color())
        axes.set_xscale("log")
        axes.set_ylim(bottom=min(0, *(row["beyond"]["low"] for row in data["rows"])))
        axes.set_xlabel("tokens in the cache")
        axes.set_ylabel("CPU per request, µs")
        axes.set_title("Token in the cache")
        axes.legend()

    return {"curve": curve}

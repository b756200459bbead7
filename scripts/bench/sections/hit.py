"""Tokens that are in the cache: 1 and 10 000 of them, JWTs of about 1 and 4 KiB."""

from common import LARGE, differences, ratios, spread
from configurations import known
from load import burst, fill, interleaved
from table import digits, number, table

NAME = "hit"
TITLE = "token in the cache, 64 connections"


def scenario(bench, size, tokens):
    server, jwt = bench.immediate(size)
    found = known(bench)
    gateways = {c.key: c.start(bench, server, jwt) for c in found}
    for gateway in gateways.values():
        fill(gateway, tokens)
    asked = server.counts()["introspections"]
    mode = "one" if tokens == 1 else "cycle"
    results = interleaved(bench, gateways, lambda _, gateway, __: burst(gateway, mode, tokens, seconds=bench.seconds))
    asked = server.counts()["introspections"] - asked
    bench.require(asked < 100, f"{asked} introspections while all tokens were to be in the cache")
    bench.stop({bench.api})
    rows = []
    for c in found:
        values = lambda name, key=c.key: [result[name] for result in results[key]]
        rows.append({
            "key": c.key, "label": c.label, "rps": spread(values("rps")), "cpu": spread(values("cpu_us")),
            "to_header": ratios(values("rps"), values("rps", "header")),
            "beyond_plain": differences(values("cpu_us"), values("cpu_us", "plain")),
            "beyond_header": differences(values("cpu_us"), values("cpu_us", "header")),
            "p50": spread(values("p50")), "p99": spread(values("p99")),
        })
    return {"jwt": len(jwt), "tokens": tokens, "rows": rows}


def run(bench):
    counts = (1, 1_000) if bench.quick else (1, 10_000)
    return {"scenarios": [scenario(bench, size, tokens) for size in (1024, LARGE) for tokens in counts]}


def row_of(scenario, key):
    return next(row for row in scenario["rows"] if row["key"] == key)


def name_of(scenario):
    tokens = digits(scenario["tokens"], 0) + (" token" if scenario["tokens"] == 1 else " tokens")
    return f"{tokens}, JWT of {scenario['jwt']} bytes"


def goals(data):
    found = []
    for scenario in data["scenarios"]:
        row = row_of(scenario, "module")
        found.append((f"hit, {name_of(scenario)}: throughput to that of the constant header",
                      number(row["to_header"], 3), "≥ 0.98"))
    return found


def details(data):
    text = ""
    for scenario in data["scenarios"]:
        rows = [(row["label"], number(row["to_header"], 3), number(row["beyond_plain"], 1), number(row["beyond_header"], 1),
                 number(row["cpu"], 1), number(row["rps"], 0), number(row["p99"], 0)) for row in scenario["rows"]]
        text += f"{name_of(scenario)}:\n\n" + table(
            ("", "throughput to the constant header", "CPU µs beyond plain", "beyond the constant header", "CPU µs/request",
             "requests/s", "p99 µs"), rows) + "\n"
    return text


def plots(data):
    def beyond_plain(figure):
        axes = figure.subplots()
        names = [row["label"].replace("`", "") for row in data["scenarios"][0]["rows"] if row["key"] != "plain"]
        height = 0.8 / len(data["scenarios"])
        for index, scenario in enumerate(data["scenarios"]):
            rows = [row["beyond_plain"] for row in scenario["rows"] if row["key"] != "plain"]
            middle = [row["median"] for row in rows]
            error = [[row["median"] - row["low"] for row in rows], [row["high"] - row["median"] for row in rows]]
            axes.barh([place + index * height for place in range(len(names))], middle, height * 0.9, xerr=error,
                      label=name_of(scenario))
        axes.set_yticks([place + 0.4 - height / 2 for place in range(len(names))], names)
        axes.invert_yaxis()
        axes.set_xlabel("CPU of the worker per request beyond plain proxy_pass, µs")
        axes.set_title("Token in the cache")
        axes.legend(loc="upper right")

    return {"hit": beyond_plain}

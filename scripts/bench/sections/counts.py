"""Instructions and system calls per request, on one connection."""

from common import LARGE
from configurations import known
from counting import instructions, per_request, starter, system_calls
from table import digits, table

NAME = "counts"
TITLE = "instructions and system calls of a request with a cached token"


def run(bench):
    requests = 500 if bench.quick else 2000
    rows = []
    for size in (1024, LARGE):
        server, jwt = bench.immediate(size)
        for c in known(bench):
            if size != 1024 and c.key not in ("plain", "header", "module"):
                continue
            start, tokens = starter(bench, c, server, jwt), ["t" + "0" * 63]
            total, own = per_request(bench, instructions, start, tokens, requests)
            calls, _ = per_request(bench, system_calls, start, tokens, requests)
            rows.append({"key": c.key, "label": c.label, "jwt": len(jwt), "instructions": total, "own": own, "calls": calls})
    return {"requests": requests, "rows": rows}


def goals(data):
    rows = {row["key"]: row for row in data["rows"] if row["jwt"] == data["rows"][0]["jwt"]}
    module, header = rows["module"], rows["header"]
    return [
        (f"hit, JWT of {module['jwt']} bytes: instructions in the module's own code",
         digits(module["own"], 0), "≤ 900"),
        ("hit: instructions beyond the constant header, NGINX's and libc's included",
         digits(module["instructions"] - header["instructions"], 0), "≤ 900"),
        ("hit: system calls beyond plain", digits(module["calls"] - rows["plain"]["calls"], 1), "0"),
    ]


def details(data):
    rows = []
    for row in data["rows"]:
        header = next(other for other in data["rows"] if other["key"] == "header" and other["jwt"] == row["jwt"])
        rows.append((row["label"], str(row["jwt"]), digits(row["instructions"], 0),
                     digits(row["instructions"] - header["instructions"], 0),
                     digits(row["own"], 0) if row["own"] else "–", digits(row["calls"], 1)))
    return table(("per request", "JWT", "instructions", "beyond the constant header", "in the module's code", "system calls"),
                 rows) + f"\n{data['requests']} requests one after the other on one connection.\n"

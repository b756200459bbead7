"""Measures the module beside what it is to be compared with. scripts/bench.sh prepares everything and runs this."""

import argparse
import datetime
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile

import report
from common import BenchError, busy, jwt_of, say
from sections import SECTIONS
from servers import Api, Immediate, Slow

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RESULTS = os.path.join(ROOT, "target", "bench", "results.json")


class Bench:
    """What sections use: options, binaries, servers. Ends what it started."""

    def __init__(self, options):
        self.quick = options.quick
        self.rounds = options.rounds or (2 if self.quick else 5)
        self.seconds = options.seconds or (1 if self.quick else 3)
        self.given = options.given
        self.root = ROOT
        self.nginx = os.environ.get("NGINX_BINARY", "/usr/sbin/nginx")
        self.module = os.environ["PHANTOM_TOKEN_MODULE"]
        self.server = os.environ["BENCH_SERVER"]
        self.work = tempfile.mkdtemp(prefix="phantom-token-bench-")
        os.chmod(self.work, 0o755)
        self.running = []
        self._api = None
        self.seed = 0

    @property
    def api(self):
        self._api = self._api or Api(self)
        return self._api

    def immediate(self, size):
        """An authorization server that answers at once with a JWT of this size; the JWT."""
        jwt = jwt_of(size)
        return Immediate(self, f"authorization-server-{size}", jwt), jwt

    def slow(self, size, delay_ms=20, name="slow"):
        jwt = jwt_of(size)
        return Slow(self, name, jwt, delay_ms), jwt

    def njs(self):
        path = "/usr/lib/nginx/modules/ngx_http_js_module.so"
        return path if os.path.exists(path) else None

    def next_seed(self):
        """For tokens that nobody has used."""
        self.seed += 1
        return self.seed

    def require(self, condition, otherwise):
        if not condition:
            raise BenchError(otherwise)

    def stop(self, started=()):
        """Stops all that is running, but for what is in `started`."""
        for child in [child for child in reversed(self.running) if child not in started]:
            child.stop()

    def close(self):
        self.stop()
        shutil.rmtree(self.work, ignore_errors=True)


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench.sh", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION",
                        help="which to run (all): " + ", ".join(section.NAME for section in SECTIONS)
                        + "; report runs none and writes what there is")
    parser.add_argument("--quick", action="store_true", help="short rounds, small sizes: to see whether it works")
    parser.add_argument("--rounds", type=int, help="rounds of each comparison (5)")
    parser.add_argument("--seconds", type=int, help="length of one measurement (3)")
    parser.add_argument("--with", dest="given", nargs=3, action="append", default=[], metavar=("LABEL", "MODULES", "FILE"),
                        help="another configuration: label, module files with commas between (may be empty), and a file "
                        "for http { }, with the placeholders of scripts/bench/configurations.py, or the word module: another build "
                        "of this module, to be compared with")
    parser.add_argument("--publish", action="store_true",
                        help="write docs/benchmarks.md, its plots and the table of README.md from all results there are")
    options = parser.parse_args()
    names = [section.NAME for section in SECTIONS] + ["report"]
    for name in options.sections:
        if name not in names:
            parser.error(f"no section {name}; there are {', '.join(names)}")
    return options


def load():
    if os.path.exists(RESULTS):
        with open(RESULTS) as file:
            return json.load(file)
    return {}


def commit():
    done = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def main():
    options = arguments()
    results = load()
    # at the start: later commits are not what is measured, and a module named by PHANTOM_TOKEN_MODULE may be of any
    measured = commit()
    bench = Bench(options)
    with open(bench.module, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()[:12]
    failed = False
    try:
        for section in SECTIONS:
            if options.sections and section.NAME not in options.sections:
                continue
            say(f"# {section.NAME}: {section.TITLE}")
            # nothing of the bench's own does anything now
            others = busy()
            began = datetime.datetime.now(datetime.timezone.utc)
            try:
                data = section.run(bench)
            except BenchError as error:
                say(f"{section.NAME}: {error}")
                failed = True
                bench.stop()
                bench._api = None
                continue
            results[section.NAME] = {"date": began.strftime("%Y-%m-%d"), "commit": measured, "module": digest, "quick": options.quick,
                                     "rounds": bench.rounds, "seconds": bench.seconds, "busy": round(others, 2), "data": data}
            bench.stop({bench._api} if bench._api else ())
            os.makedirs(os.path.dirname(RESULTS), exist_ok=True)
            with open(RESULTS, "w") as file:
                json.dump(results, file, indent=1)
            print(report.section(section, results[section.NAME]), flush=True)
    finally:
        bench.close()
    report.write(os.path.dirname(RESULTS), results)
    if options.publish:
        report.publish(ROOT, results)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

"""What the rows share: servers that end with their row, a client, and figures."""

import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Another build may stand in for the release, for a try.
GATEWAY = pathlib.Path(os.environ.get("BENCHED_GATEWAY", ROOT / "target/release/tiergate"))
ROUNDS = 5
# How long anything may take to start, to end, or to come about.
PATIENCE_SECONDS = 30

# To be told to end is to end what was started.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


given = set()


def free_port():
    """A port of this machine on which nobody listened a moment ago, and that was not given away before."""
    while True:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        if port not in given:
            given.add(port)
            return port


def eventually(what, ask):
    """Asks until the answer is true."""
    begun = time.monotonic()
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if answer := ask():
                return answer
        if time.monotonic() - begun > PATIENCE_SECONDS:
            raise SystemExit(f"did not happen within {PATIENCE_SECONDS} s: {what}")
        time.sleep(0.005)


@contextlib.contextmanager
def folder():
    """A folder of the row's own, gone with it. Others may look into it: nginx gives its rights away."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="tiergate-bench-"))
    try:
        path.chmod(0o755)
        yield path
    finally:
        shutil.rmtree(path)


class Process:
    """A server with its workers, ended at the end of a `with`."""

    def __init__(self, *command, cwd, env=None):
        self.log = open(cwd / "log", "ab")
        self.child = subprocess.Popen(
            [str(word) for word in command], cwd=cwd, env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.log.close()

    def pids(self):
        """The process and its children."""
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.child.pid)], capture_output=True, text=True)
        return [self.child.pid, *map(int, children.stdout.split())]

    def cpu_seconds(self):
        """Time on a processor, in user and system, of all its threads and workers."""
        ticks = 0
        for pid in self.pids():
            # The name in the second field may hold anything but is the last to end with `)`.
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def rss_mib(self):
        """Resident memory."""
        status = pathlib.Path(f"/proc/{self.child.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024


class Gateway(Process):
    """The release build of the gateway in `cwd`, with the embedded disk tier unless `tiers` are named."""

    def __init__(self, cwd, *, tiers=(), data=None, demo=False, settings=None):
        self.port, self.admin = free_port(), free_port()
        self.data = data or cwd / "data"
        env = {
            "TIERGATE_HTTP__LISTEN": f"127.0.0.1:{self.port}",
            "TIERGATE_HTTP__ADMIN": f"127.0.0.1:{self.admin}",
            "TIERGATE_DATA_DIR": str(self.data),
            # Ready without a producer.
            "TIERGATE_MARKET__REQUIRED": "",
            **(settings or {}),
        }
        (cwd / "tiergate.toml").write_text(f"tiers = {json.dumps(list(tiers))}\n")
        super().__init__(GATEWAY, *["--demo"] * demo, cwd=cwd, env=env)

    def ready(self):
        eventually("the gateway is ready", lambda: fetch(self.port, "/readyz")[0] == 200)
        return self

    def metrics(self, name, *labels):
        """The sum of a metric's series that carry all of `labels`."""
        token = (self.data / "admin.token").read_text().strip()
        _, _, text = fetch(self.admin, "/metrics", headers={"authorization": f"Bearer {token}"})
        lines = (line for line in text.decode().splitlines() if line.startswith((name + "{", name + " ")))
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(label in line for label in labels))


def fetch(port, path, method="GET", body=None, headers=None):
    """One request over a connection of its own: status, headers, body."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)) as connection:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def wrk_said(text):
    """What a report of `wrk` says: requests, and how many of them failed."""
    of = lambda pattern: sum(int(number) for found in re.findall(pattern, text) for number in re.findall(r"\d+", found))
    return of(r"(\d+) requests in"), of(r"responses: (\d+)") + of(r"Socket errors: (.*)")


def oha_report(port, path, *, rate, connections, seconds, more=()):
    """What `oha` reports of requests at a fixed rate, counted from when each was due."""
    command = ["oha", "--no-tui", "--output-format", "json", "--latency-correction", "-q", str(rate), "-c", str(connections),
               "-z", f"{seconds}s", *more, f"http://127.0.0.1:{port}{path}"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def oha(port, path, **how):
    """Milliseconds within which 99 of 100 answers came at a fixed rate; and how many came."""
    said = oha_report(port, path, **how)
    answers = said["statusCodeDistribution"]
    if answers.keys() != {"200"}:
        raise SystemExit(f"answers other than 200: {answers}")
    return said["latencyPercentiles"]["p99"] * 1e3, answers["200"]


def percentile(values, share):
    """The least of `values` that is not below `share` of them."""
    return sorted(values)[max(0, -(-len(values) * share // 100) - 1)]


def figure(values, unit=""):
    """The median of the rounds and their spread."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{number(middle)}{unit} ({number(low)}..{number(high)})"


def ratio(ours, theirs):
    """Ours over theirs, round by round."""
    return figure([a / b for a, b in zip(ours, theirs)])


def number(value):
    """Three digits that count, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.{2 if value < 10 else 1}f}"


def row(name, what, ours, other, ratio, target):
    """Prints a row of the table, as it stands in the README."""
    print(f"| `{name}` | {what} | {ours} | {other} | {ratio} | {target} |", flush=True)

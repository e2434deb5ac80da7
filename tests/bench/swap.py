"""Row `swap`: every slot swapped while the dashboard is read at a fixed rate and signals come in, against the same without.

Runs with swaps and control runs take turns. In a run with swaps each slot goes back and forth between two versions, each from
a file of its own: loaded, used, put on probation. No request may fail and no signal may be lost or counted twice: an
aggregator that counts what it is given is swapped by itself under signals, for the built-in one would hide a repetition.
"""

import concurrent.futures
import json
import statistics
import subprocess
import time

from kit import ROOT, ROUNDS, Gateway, eventually, fetch, figure, folder, number, oha_report, row

VIEW = "/api/dashboard/mobile-data"
# The plugin of each slot that is swapped.
BUILT_IN = {"codecs": "codecs", "aggregator": "aggregator", "warmer": "warmer"}
COUNTING = {"aggregator": "counts-each-signal"}
SWAPS = 100
RATE = 1_000
CONNECTIONS = 16
# Swaps of all rounds together are SWAPS of each slot.
SWAPS_PER_ROUND = SWAPS // ROUNDS
POSTS_PER_SECOND = 50
# The counting aggregator tells 65,536 signals apart; each of those who post to it has a part of them.
POSTERS = 8
SIGNALS_PER_POSTER = 65_536 // POSTERS
# `oha` ends in the midst of requests, which have not failed.
ENDED = "aborted due to deadline"


def components(cwd):
    """Two versions of each plugin: the same code, told apart by a section that means nothing."""
    # Of the whole workspace, as the gateway under test: other features would build all of it anew.
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--workspace", "--example", "built_in", "--example", "hostile"]
    subprocess.run(command, cwd=ROOT, check=True)
    for example, plugins in ("built_in", BUILT_IN), ("hostile", COUNTING):
        for plugin in plugins.values():
            command = [ROOT / "target/release/examples" / example, plugin]
            whole = subprocess.run(command, check=True, capture_output=True).stdout
            for mark in b"ab":
                (cwd / f"{plugin}-{mark}.wasm").write_bytes(whole + bytes([0, 3, 2, ord("v"), mark]))


def step(gateway, path, body=b"", more=""):
    token = (gateway.data / "admin.token").read_text().strip()
    status, _, said = fetch(gateway.admin, f"/api/admin/plugins/{path}?by=bench{more}", "POST", body,
                            {"authorization": f"Bearer {token}"})
    if status != 200:
        raise SystemExit(f"{path}: {status}: {said.decode()[:1000]}")


def load(gateway, cwd, slot, plugin, at):
    step(gateway, f"{slot}/load", (cwd / f"{plugin}-{b'ab'[at % 2]}.wasm").read_bytes())


def swap_all(gateway, cwd, first, until, plugins=BUILT_IN, swaps=SWAPS_PER_ROUND):
    """So many swaps of each slot, spread over the time."""
    begun = time.monotonic()
    for at in range(swaps):
        for slot, plugin in plugins.items():
            load(gateway, cwd, slot, plugin, first + at)
            step(gateway, f"{slot}/use")
        due = begun + (until - begun) * (at + 1) / swaps
        time.sleep(max(0, due - time.monotonic()))


def of_a_symbol_of_its_own(n):
    return json.dumps({"symbol": f"S{n}USDT", "confluence_score": 60, "price": 10, "change_24h": 1.5})


def numbered(n):
    return f'{{"n":{100_000 + n}}}'


def post(gateway, first, until, signal=of_a_symbol_of_its_own, most=float("inf")):
    """Posts one signal at a time; how many were taken."""
    posted = 0
    while time.monotonic() < until and posted < most:
        status, _, said = fetch(gateway.port, "/api/signals", "POST", signal(first + posted))
        if status != 200 or json.loads(said)["accepted"] != 1:
            raise SystemExit(f"a signal was not taken: {status}: {said.decode()[:1000]}")
        posted += 1
        time.sleep(1 / POSTS_PER_SECOND)
    return posted


def round_of(gateway, cwd, swaps, done, posted, seconds):
    with concurrent.futures.ThreadPoolExecutor() as work:
        until = time.monotonic() + seconds
        swapping = work.submit(swap_all, gateway, cwd, done, until) if swaps else None
        posting = work.submit(post, gateway, posted, until)
        said = oha_report(gateway.port, VIEW, rate=RATE, connections=CONNECTIONS, seconds=seconds)
        if swapping:
            swapping.result()
        statuses, errors = said["statusCodeDistribution"], said["errorDistribution"]
        requests = sum(statuses.values()) + sum(count for error, count in errors.items() if error != ENDED)
        return said["latencyPercentiles"]["p99"] * 1e3, requests, requests - statuses.get("200", 0), posting.result()


def counted(cwd, seconds):
    """Swaps the counting aggregator under signals: how many were taken, how many of them it lacks, how many it has twice."""
    # It knows no other signals, so it would not pass the vectors of its kind.
    settings = {"TIERGATE_PLUGINS__CONFORMANCE": "false"}
    with Gateway(cwd, data=cwd / "counted", settings=settings) as gateway, concurrent.futures.ThreadPoolExecutor() as work:
        gateway.ready()
        load(gateway, cwd, "aggregator", COUNTING["aggregator"], 1)
        step(gateway, "aggregator/use", more="&fresh=true")
        until = time.monotonic() + seconds
        firsts = range(0, POSTERS * SIGNALS_PER_POSTER, SIGNALS_PER_POSTER)
        posting = [work.submit(post, gateway, first, until, numbered, SIGNALS_PER_POSTER) for first in firsts]
        swap_all(gateway, cwd, 0, until, COUNTING, SWAPS)
        # Who posts is answered when the count is published.
        posted = sum(one.result() for one in posting)
        told = json.loads(fetch(gateway.port, "/api/cache/app:count")[2])
    given, distinct = int(told["given"]), int(told["distinct"])
    return posted, posted - distinct, given - distinct


def main():
    seconds = 10
    with folder() as cwd:
        components(cwd)
        with Gateway(cwd) as gateway:
            gateway.ready()
            posted = post(gateway, 0, time.monotonic() + 1)
            # Both versions compiled, and both on the way: what comes is the ordinary course of swaps.
            swap_all(gateway, cwd, 0, time.monotonic() + 2)
            with_swaps, without, requests, failed = [], [], 0, 0
            for at in range(ROUNDS):
                for swaps in (False, True):
                    p99, made, lost, more = round_of(gateway, cwd, swaps, at * SWAPS_PER_ROUND, posted, seconds)
                    posted, requests, failed = posted + more, requests + made, failed + lost
                    (with_swaps if swaps else without).append(p99)
            shown = lambda: len(json.loads(fetch(gateway.port, "/api/dashboard/symbols?limit=10000")[2])["symbols"])
            eventually("every signal is shown", lambda: shown() == posted)
            # Each signal was of a new symbol, which takes room. From here on there are only swaps.
            before = gateway.rss_mib()
            for at in range(ROUNDS):
                swap_all(gateway, cwd, at * SWAPS_PER_ROUND, time.monotonic() + 2)
            after = gateway.rss_mib()
        signals, lost, doubled = counted(cwd, seconds)
    target = "at most 1.5"
    row("swap", f"p99 at {RATE:,} requests/s during {SWAPS} swaps of each slot", figure(with_swaps, " ms"),
        f"without swaps {figure(without, ' ms')}", number(statistics.median(with_swaps) / statistics.median(without)), target)
    row("swap", f"failed of {requests:,} requests; lost or doubled of {signals:,} signals", f"{failed:,}; {lost + doubled:,}", "",
        "", "0; 0")
    row("swap", f"resident memory after {SWAPS} swaps more of each slot", f"{after:.1f} MiB", f"before {before:.1f} MiB",
        number(after / before), "flat")


main()

"""Row `swap`: every slot swapped while the dashboard is read at a fixed rate and signals come in, against the same without.

Runs with swaps and control runs take turns. In a run with swaps each slot goes back and forth between two versions, each from
a file of its own: loaded, used, put on probation. No request may fail and no signal may be lost or counted twice: an
aggregator that counts what it is given is swapped by itself under signals, for the built-in one would hide a repetition. In a
control run nothing is on probation any more.

Besides, components that the gateway has never seen are loaded, and so compiled, while the dashboard is read; and every slot is
swapped as often in a row while `wrk` reads it as fast as it can.
"""

import concurrent.futures
import json
import signal
import statistics
import subprocess
import time

from kit import ROOT, ROUNDS, Gateway, eventually, fetch, figure, folder, number, oha_report, row, wrk_said

VIEW = "/api/dashboard/mobile-data"
# The plugin of each slot that is swapped.
BUILT_IN = {"codecs": "codecs", "binance": "binance", "aggregator": "aggregator", "warmer": "warmer"}
COUNTING = {"aggregator": "counts-each-signal"}
SWAPS = 100
RATE = 1_000
CONNECTIONS = 16
# Swaps of all rounds together are SWAPS of each slot.
SWAPS_PER_ROUND = SWAPS // ROUNDS
POSTS_PER_SECOND = 50
# Components that are compiled in a round.
NEW_PER_ROUND = 3
# Long enough that in a run with swaps something is always on probation, and short enough to be over before the next run.
PROBATION = "2s"
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
                (cwd / f"{plugin}-{mark}.wasm").write_bytes(marked(whole, mark))


def marked(whole, mark):
    return whole + bytes([0, 3, 2, ord("v"), mark])


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


def under_wrk(gateway, cwd, posted):
    """SWAPS of each slot in a row while `wrk` reads the dashboard as fast as it can and signals come in: requests, how many of
    them failed, seconds, and the signals posted so far."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", "-d1h", f"http://127.0.0.1:{gateway.port}{VIEW}"]
    begun = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor() as work, subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as wrk:
        swapping = work.submit(swap_all, gateway, cwd, 0, begun, swaps=SWAPS)
        while not swapping.done():
            posted += post(gateway, posted, time.monotonic() + 1)
        took = time.monotonic() - begun
        # It reports what it has done so far.
        wrk.send_signal(signal.SIGINT)
        said = wrk.stdout.read()
        swapping.result()
    return *wrk_said(said), took, posted


def compile_some(gateway, cwd, first, until):
    """Loads components that are new to the gateway, spread over the time; they are not used. Marks are ASCII."""
    begun = time.monotonic()
    whole = (cwd / f"aggregator-{ord('a')}.wasm").read_bytes()
    for at in range(NEW_PER_ROUND):
        step(gateway, "aggregator/load", marked(whole, first + at))
        due = begun + (until - begun) * (at + 1) / NEW_PER_ROUND
        time.sleep(max(0, due - time.monotonic()))


def is_on_probation(gateway):
    token = (gateway.data / "admin.token").read_text().strip()
    _, _, said = fetch(gateway.admin, "/api/admin/plugins", headers={"authorization": f"Bearer {token}"})
    return any(slot.get("beside") for slot in json.loads(said)["slots"])


def round_of(gateway, meanwhile, posted, seconds):
    """The dashboard's p99, requests made and failed, and signals posted, while something else goes on."""
    eventually("nothing is on probation", lambda: not is_on_probation(gateway))
    with concurrent.futures.ThreadPoolExecutor() as work:
        until = time.monotonic() + seconds
        doing = work.submit(meanwhile, until)
        posting = work.submit(post, gateway, posted, until)
        said = oha_report(gateway.port, VIEW, rate=RATE, connections=CONNECTIONS, seconds=seconds)
        doing.result()
        statuses, errors = said["statusCodeDistribution"], said["errorDistribution"]
        requests = sum(statuses.values()) + sum(count for error, count in errors.items() if error != ENDED)
        return said["latencyPercentiles"]["p99"] * 1e3, requests, requests - statuses.get("200", 0), posting.result()


def rounds_of(gateway, meanwhile, posted, seconds):
    """Rounds in which `meanwhile` goes on, and in turn as many in which nothing does: the p99 of each, requests of the first
    and how many of them failed, and the signals posted so far."""
    busy, quiet, requests, failed = [], [], 0, 0
    for at in range(ROUNDS):
        p99, _, _, more = round_of(gateway, lambda until: None, posted, seconds)
        quiet.append(p99)
        posted += more
        p99, made, lost, more = round_of(gateway, lambda until: meanwhile(at, until), posted, seconds)
        busy.append(p99)
        posted, requests, failed = posted + more, requests + made, failed + lost
    return busy, quiet, requests, failed, posted


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
        with Gateway(cwd, settings={"TIERGATE_PLUGINS__PROBATION__LASTS": PROBATION}) as gateway:
            gateway.ready()
            posted = post(gateway, 0, time.monotonic() + 1)
            swap = lambda at, until: swap_all(gateway, cwd, at * SWAPS_PER_ROUND, until)
            # Both versions compiled, and both on the way: what comes is the ordinary course of swaps.
            swap(0, time.monotonic() + 2)
            swapping, quiet, requests, failed, posted = rounds_of(gateway, swap, posted, seconds)
            new = lambda at, until: compile_some(gateway, cwd, at * NEW_PER_ROUND, until)
            compiling, as_quiet, _, _, posted = rounds_of(gateway, new, posted, seconds)
            read, unread, took, posted = under_wrk(gateway, cwd, posted)
            shown = lambda: len(json.loads(fetch(gateway.port, "/api/dashboard/symbols?limit=10000")[2])["symbols"])
            eventually("every signal is shown", lambda: shown() == posted)
            # Each signal was of a new symbol, which takes room. From here on there are only swaps.
            resident = [gateway.rss_mib()]
            for _ in range(ROUNDS):
                for at in range(ROUNDS):
                    swap(at, time.monotonic() + 2)
                resident.append(gateway.rss_mib())
        signals, lost, doubled = counted(cwd, seconds)
    median = statistics.median
    row("swap", f"p99 at {RATE:,} requests/s during {SWAPS} swaps of each slot", figure(swapping, " ms"),
        f"without swaps {figure(quiet, ' ms')}", number(median(swapping) / median(quiet)), "at most 1.5")
    row("swap", f"failed of {requests:,} requests; lost or doubled of {signals:,} signals", f"{failed:,}; {lost + doubled:,}", "",
        "", "0; 0")
    row("swap", f"failed of {read:,} requests of `wrk` during {SWAPS} swaps of each slot in a row ({took:.0f} s)", f"{unread:,}", "",
        "", "0")
    row("swap", f"p99 at {RATE:,} requests/s while new components are compiled", figure(compiling, " ms"),
        f"without {figure(as_quiet, ' ms')}", number(median(compiling) / median(as_quiet)), "")
    row("swap", f"resident memory after each {SWAPS} swaps more of each slot",
        " ".join(f"{mib:.0f}" for mib in resident[1:]) + " MiB", f"before {resident[0]:.0f} MiB",
        number(resident[-1] / resident[1]), "flat")


main()

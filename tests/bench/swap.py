"""Row `swap`: every slot swapped while the dashboard is read at a fixed rate and signals come in, against the same without.

Runs with swaps and control runs take turns. In a run with swaps each slot goes back and forth between two versions, each from
a file of its own: loaded, used, put on probation. No request may fail and no signal may be lost or counted twice.
"""

import concurrent.futures
import json
import statistics
import subprocess
import time

from kit import ROOT, ROUNDS, Gateway, eventually, fetch, figure, folder, number, oha, row

VIEW = "/api/dashboard/mobile-data"
SLOTS = ["codecs", "aggregator", "warmer"]
SWAPS = 100
RATE = 1_000
CONNECTIONS = 16
# Swaps of all rounds together are SWAPS of each slot.
SWAPS_PER_ROUND = SWAPS // ROUNDS
POSTS_PER_SECOND = 50


def components(cwd):
    """Two versions of each slot's built-in plugin: the same code, told apart by a section that means nothing."""
    # Of the whole workspace, as the gateway under test: other features would build all of it anew.
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--workspace", "--example", "built_in"]
    subprocess.run(command, cwd=ROOT, check=True)
    for slot in SLOTS:
        whole = subprocess.run([ROOT / "target/release/examples/built_in", slot], check=True, capture_output=True).stdout
        for mark in b"ab":
            (cwd / f"{slot}-{mark}.wasm").write_bytes(whole + bytes([0, 3, 2, ord("v"), mark]))


def step(gateway, path, body=b""):
    token = (gateway.data / "admin.token").read_text().strip()
    status, _, said = fetch(gateway.admin, f"/api/admin/plugins/{path}?by=bench", "POST", body,
                            {"authorization": f"Bearer {token}"})
    if status != 200:
        raise SystemExit(f"{path}: {status}: {said.decode()[:1000]}")


def swap_all(gateway, cwd, first, until):
    """SWAPS_PER_ROUND swaps of each slot, spread over the time."""
    begun = time.monotonic()
    for at in range(SWAPS_PER_ROUND):
        for slot in SLOTS:
            step(gateway, f"{slot}/load", (cwd / f"{slot}-{b'ab'[(first + at) % 2]}.wasm").read_bytes())
            step(gateway, f"{slot}/use")
        due = begun + (until - begun) * (at + 1) / SWAPS_PER_ROUND
        time.sleep(max(0, due - time.monotonic()))


def post(gateway, first, until):
    """Posts one signal of a symbol of its own at a time; how many were taken."""
    posted = 0
    while time.monotonic() < until:
        signal = {"symbol": f"S{first + posted}USDT", "confluence_score": 60, "price": 10, "change_24h": 1.5}
        status, _, said = fetch(gateway.port, "/api/signals", "POST", json.dumps(signal))
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
        p99, answers = oha(gateway.port, VIEW, rate=RATE, connections=CONNECTIONS, seconds=seconds)
        if swapping:
            swapping.result()
        return p99, answers, posting.result()


def main():
    seconds = 10
    with folder() as cwd:
        components(cwd)
        with Gateway(cwd) as gateway:
            gateway.ready()
            posted = post(gateway, 0, time.monotonic() + 1)
            # Both versions compiled, and both on the way: what comes is the ordinary course of swaps.
            swap_all(gateway, cwd, 0, time.monotonic() + 2)
            with_swaps, without, answers = [], [], 0
            for at in range(ROUNDS):
                for swaps in (False, True):
                    p99, seen, more = round_of(gateway, cwd, swaps, at * SWAPS_PER_ROUND, posted, seconds)
                    posted, answers = posted + more, answers + seen
                    (with_swaps if swaps else without).append(p99)
            shown = lambda: len(json.loads(fetch(gateway.port, "/api/dashboard/symbols?limit=10000")[2])["symbols"])
            eventually("every signal is shown once", lambda: shown() == posted)
            # Each signal was of a new symbol, which takes room. From here on there are only swaps.
            before = gateway.rss_mib()
            for at in range(ROUNDS):
                swap_all(gateway, cwd, at * SWAPS_PER_ROUND, time.monotonic() + 2)
            after = gateway.rss_mib()
    target = "at most 1.5"
    row("swap", f"p99 at {RATE:,} requests/s during {SWAPS} swaps of each slot", figure(with_swaps, " ms"),
        f"without swaps {figure(without, ' ms')}", number(statistics.median(with_swaps) / statistics.median(without)), target)
    row("swap", f"failed of {answers:,} requests; lost or doubled of {posted:,} signals", "0; 0", "", "", "0; 0")
    row("swap", f"resident memory after {SWAPS} swaps more of each slot", f"{after:.1f} MiB", f"before {before:.1f} MiB",
        number(after / before), "flat")


main()

"""Row `demo`: how soon `tiergate --demo` answers, and the memory that it holds after a minute."""

import time

from kit import ROUNDS, Gateway, eventually, fetch, figure, folder, row

VIEW = "/api/dashboard/mobile-data"
MINUTE = 60


def start(cwd):
    """Milliseconds from the start to the first answer."""
    begun = time.perf_counter()
    with Gateway(cwd, demo=True) as demo:
        eventually("the demo answers", lambda: fetch(demo.port, VIEW)[0] == 200)
        return (time.perf_counter() - begun) * 1e3


def main():
    with folder() as cwd:
        # The first start compiles the plugins.
        start(cwd)
        row("demo", "first answer after the start, plugins compiled before", figure([start(cwd) for _ in range(ROUNDS)], " ms"),
            "", "", "at most 300 ms")
        with Gateway(cwd, demo=True) as demo:
            demo.ready()
            time.sleep(MINUTE)
            row("demo", "resident memory after a minute", f"{demo.rss_mib():.1f} MiB", "", "", "at most 64 MiB")


main()

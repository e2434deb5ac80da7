"""Row `build`: the release build from nothing, and what takes longest in it."""

import json
import os
import re
import subprocess
import time

from kit import ROOT, folder, row

HEAVIEST = 5


def main():
    subprocess.run(["cargo", "fetch", "--locked"], cwd=ROOT, check=True)
    with folder() as cwd:
        env = {**os.environ, "CARGO_TARGET_DIR": str(cwd)}
        begun = time.monotonic()
        subprocess.run(["cargo", "build", "--release", "--locked", "--timings"], cwd=ROOT, env=env, check=True)
        took = time.monotonic() - begun
        report = (cwd / "cargo-timings/cargo-timing.html").read_text()
    units = json.loads(re.search(r"const UNIT_DATA = (\[.*?\]);\n", report, re.S)[1])
    row("build", f"`cargo build --release` from nothing, {os.cpu_count()} cores", f"{took:.0f} s", "", "", "")
    for unit in sorted(units, key=lambda unit: -unit["duration"])[:HEAVIEST]:
        row("build", f"of it `{unit['name']}{unit['target']}`", f"{unit['duration']:.0f} s", "", "", "")


main()

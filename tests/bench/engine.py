"""Row `engine`: the engine without the network, by `host/benches/engine.rs`."""

import json
import subprocess

from kit import ROOT, ROUNDS, figure, ratio, row

ROWS = ["get_memory", "decode/plugin", "decode/native", "decode/serde_json", "decode/syntax"]


def round_of():
    """Nanoseconds of each benchmark."""
    command = ["cargo", "bench", "--locked", "--workspace", "--bench", "engine", "--", "--noplot",
               "--warm-up-time", "1", "--measurement-time", "2"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    estimates = lambda name: json.loads((ROOT / f"target/criterion/{name}/new/estimates.json").read_text())
    return [estimates(name)["median"]["point_estimate"] for name in ROWS]


def main():
    get, plugin, native, serde, syntax = zip(*[round_of() for _ in range(ROUNDS)])
    micros = lambda nanos: figure([nano / 1e3 for nano in nanos], " µs")
    row("engine", "`Cache::get` from memory", figure(get, " ns"), "", "", "at most 150 ns")
    row("engine", "19 KB through the codec plugin", micros(plugin), f"serde_json {micros(serde)}", ratio(plugin, serde),
        "at most 2.5")
    row("engine", "the same", micros(plugin), f"the codec natively {micros(native)}", ratio(plugin, native), "")
    row("engine", "the same", micros(plugin), f"serde_json, syntax alone {micros(syntax)}", ratio(plugin, syntax), "")


main()

"""An aggregator that tells where the market's scores lie: their quartiles, over the latest signal of each symbol.

It publishes `scores:quartiles`, and answers every view with them.
"""

import json
import statistics

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.aggregator import Publication, Rejected
from wit_world.exports.lifecycle import Info
from wit_world.imports.types import Kind, PluginError_InvalidInput, PluginError_Unsupported

KEY = "scores:quartiles"
VIEWS = {"mobile-data", "overview", "symbols", "signals", "opportunities", "market-overview"}
SYMBOLS_MAX = 10_000
BYTES_MAX = 16 << 10
BRACKETS_MAX = 500

state = {"scores": {}, "changed": False}


class Lifecycle(exports.Lifecycle):
    def describe(self):
        return Info("score-quartiles", "0.1.0")

    def init(self, config):
        for name in json.loads(config):
            raise Err(PluginError_InvalidInput(f"unknown field `{name}`"))


class State(exports.State):
    def save(self):
        return json.dumps(state).encode()

    def restore(self, saved):
        try:
            given = json.loads(saved.decode())
            scores = {str(symbol): float(score) for symbol, score in given["scores"].items()}
            state.update(scores=scores, changed=bool(given["changed"]))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise Err(PluginError_InvalidInput(f"this is no state of this aggregator: {error}"))


class Aggregator(exports.Aggregator):
    def ingest(self, now, batch):
        rejected = []
        for signal in batch:
            if problem := take(signal.body):
                rejected.append(Rejected(signal.seq, *problem))
        return rejected

    def observe(self, now, changed):
        pass

    def documents(self, now):
        if not state["changed"]:
            return []
        state["changed"] = False
        return [Publication(KEY, json.dumps(quartiles(sorted(state["scores"].values()))).encode(), 300)]

    def inputs(self):
        return [KEY]

    def compose(self, now, views, documents):
        scores = next((json.loads(d.body.decode()) for d in documents if d.key == KEY and d.kind == Kind.REAL), None)
        for view in views:
            if view.name not in VIEWS:
                raise Err(PluginError_Unsupported(f"there is no view `{view.name}`"))
        body = {"status": "success" if scores else "unavailable", "scores": scores}
        return [json.dumps(body).encode() for _ in views]


def take(body):
    """Takes one signal; answers the code and the message of its rejection, or nothing."""
    if len(body) > BYTES_MAX or body.count(b"[") + body.count(b"{") > BRACKETS_MAX:
        return "too-large", f"$: more than {BYTES_MAX} bytes or {BRACKETS_MAX} brackets"
    try:
        signal = json.loads(body.decode())
        symbol, score = signal["symbol"], signal.get("score", signal.get("confluence_score"))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return "wrong-shape", f"$: {error}"
    if not (isinstance(symbol, str) and symbol.isascii() and 0 < len(symbol) <= 32):
        return "bad-symbol", "$.symbol: 1 to 32 letters are taken"
    if not isinstance(score, (int, float)) or isinstance(score, bool) or not abs(score) <= 1e6:
        return "bad-score", "$.score: a number up to a million is taken"
    if symbol not in state["scores"] and len(state["scores"]) >= SYMBOLS_MAX:
        return "too-many-symbols", f"$.symbol: more than {SYMBOLS_MAX}"
    state["scores"][symbol] = float(score)
    state["changed"] = True
    return None


def quartiles(scores):
    low, median, high = statistics.quantiles(scores, n=4) if len(scores) > 1 else scores * 3
    return {"symbols": len(scores), "low": low, "median": median, "high": high}

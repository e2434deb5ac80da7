"""A warmer that follows trading hours: while the market is open, what is stale is refreshed; when it is closed, an origin is
left alone but for once in a while.

{"open": "13:30", "close": "20:00", "weekdays": [0, 1, 2, 3, 4], "idle_minutes": 60}, times in UTC, Monday is 0. It needs no
state: the host tells all.
"""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.lifecycle import Info
from wit_world.exports.warmer import Action, Step
from wit_world.imports.types import PluginError_InvalidInput

MINUTE = 60_000_000
DAY = 24 * 60 * MINUTE

settings = {"open": "13:30", "close": "20:00", "weekdays": [0, 1, 2, 3, 4], "idle_minutes": 60}


class Lifecycle(exports.Lifecycle):
    def describe(self):
        return Info("trading-hours", "0.1.0")

    def init(self, config):
        given = json.loads(config)
        for name in given:
            if name not in settings:
                raise Err(PluginError_InvalidInput(f"unknown field `{name}`"))
        settings.update(given)
        try:
            minutes(settings["open"]), minutes(settings["close"])
            settings["idle_minutes"] + 0, set(settings["weekdays"])
        except (ValueError, TypeError, AttributeError) as error:
            raise Err(PluginError_InvalidInput(f"times are written like \"13:30\", weekdays 0 to 6: {error}"))


class State(exports.State):
    def save(self):
        return b"{}"

    def restore(self, saved):
        if saved != b"{}":
            raise Err(PluginError_InvalidInput("this warmer keeps no state"))


class Warmer(exports.Warmer):
    def watches(self):
        return []

    def plan(self, now, keys, max_actions):
        is_open = within_hours(now)
        return [look(now, key, is_open) for key in keys]


def minutes(time):
    hours, rest = time.split(":")
    return int(hours) * 60 + int(rest)


def within_hours(now):
    weekday = (now // DAY + 3) % 7  # 1970 began on a Thursday
    minute = now % DAY // MINUTE
    return weekday in settings["weekdays"] and minutes(settings["open"]) <= minute < minutes(settings["close"])


def look(now, key, is_open):
    if key.source is None:
        return Action(key.key, Step.LEAVE, b"", 0, None, "it has no source")
    asked = key.last_attempt.at if key.last_attempt else 0
    if is_open:
        due, reason = key.fresh_until or 0, "the market is open and the value is stale"
    else:
        due, reason = asked + settings["idle_minutes"] * MINUTE, "the market is closed; a look now and then"
    due = min(int(max(due, key.source.not_before)), 2**64 - 1)
    if due > now:
        return Action(key.key, Step.LEAVE, b"", 0, due, "open" if is_open else "closed")
    return Action(key.key, Step.REFRESH, b"", min(255, 1 + key.hits + key.misses), None, reason)

"""A codec for what Python programs left in a cache by `str(value)`: single quotes, `None`, `True`, tuples, `nan`.

It claims the keys that begin with `legacy:`; the operator names another prefix by {"prefix": "old:"}. Strict JSON stays as
it came. Nothing is executed, and a pickle is never opened.
"""

import ast
import json
import re

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.codec import Claim, Decoded, Rejection, Repair
from wit_world.exports.lifecycle import Info
from wit_world.imports.types import Kind, PluginError_InvalidInput

# What is read within the deadline of a codec, with a margin.
BYTES_MAX = 64 << 10
LITERAL_BYTES_MAX = 8 << 10
DEPTH_MAX = 50

# All that a literal consists of. There are no operators and no names but these, so there is nothing to nest but brackets.
LITERAL = re.compile(
    r"""(?:[\s\[\]{}(),:]+|b?'(?:[^'\\]|\\.)*+'|b?"(?:[^"\\]|\\.)*+"|[-+]?(?:[0-9][0-9.]*(?:[eE][-+]?[0-9]+)?|nan|inf)"""
    r"""|None|True|False)*+""",
    re.DOTALL,
)
NON_FINITE = re.compile(r"""('(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+")|\b(?:nan|inf)\b""", re.DOTALL)
NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}()"))

settings = {"prefix": "legacy:"}


class Lifecycle(exports.Lifecycle):
    def describe(self):
        return Info("python-literals", "0.1.0")

    def init(self, config):
        given = json.loads(config)
        for name in given:
            if name not in settings:
                raise Err(PluginError_InvalidInput(f"unknown field `{name}`"))
            if not isinstance(given[name], str):
                raise Err(PluginError_InvalidInput(f"`{name}` must be a text"))
        settings.update(given)


class Codec(exports.Codec):
    def claims(self):
        return [Claim(settings["prefix"] + "*", "python-value", "1.0")]

    def decode(self, key, payload, flags):
        if flags == 1 or payload[:1] == b"\x80":
            refuse("python-pickle", "a pickle can run code when it is opened; write JSON")
        if len(payload) > BYTES_MAX:
            refuse("too-large", f"more than {BYTES_MAX} bytes; write JSON under a key of another codec")
        if depth(payload) > DEPTH_MAX:
            refuse("too-deep", f"nested deeper than {DEPTH_MAX}")
        try:
            text = payload.decode()
        except UnicodeDecodeError as error:
            refuse("not-utf8", f"byte {error.start} is not UTF-8")
        repairs = []
        try:
            value = json.loads(text)
        except ValueError:
            value = literal(text)
            repairs.append(Repair("python-literal", "$", "written by str(); json.dumps() writes what every reader knows"))
        try:
            if not is_finite(value):
                # Python writes and reads numbers that JSON does not have; readers get null.
                value = json.loads(json.dumps(value), parse_constant=lambda name: None)
                repairs.append(Repair("non-finite-number", "$", "a number that is none is null in JSON"))
            canonical = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        except (TypeError, UnicodeEncodeError) as error:
            refuse("no-json", f"it has no form in JSON: {error}")
        return Decoded(canonical if repairs else None, Kind.REAL, moment(value), None, repairs)


def refuse(code, message):
    raise Err(Rejection(code, message, "$"))


def depth(payload):
    """How deep brackets are nested, counting those in texts, too."""
    now = most = 0
    for bracket in payload.translate(None, NOT_BRACKETS):
        now += 1 if bracket in b"[{(" else -1
        most = max(most, now)
        if most > DEPTH_MAX:
            break
    return most


def literal(text):
    if len(text) > LITERAL_BYTES_MAX or not LITERAL.fullmatch(text):
        refuse("not-a-literal", f"neither JSON nor a Python literal of at most {LITERAL_BYTES_MAX} bytes; write JSON")
    # `nan` is a name to Python; infinity stands for it, which JSON lacks as well.
    text = NON_FINITE.sub(lambda found: found[1] or "1e999", text)
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        refuse("not-a-literal", "neither JSON nor a Python literal; write JSON")


def is_finite(value):
    try:
        json.dumps(value, allow_nan=False)
        return True
    except ValueError:
        return False


def moment(value):
    """The payload's own timestamp in microseconds."""
    seconds = value.get("timestamp") if isinstance(value, dict) else None
    if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and 0 < seconds < 1e11:
        return int(seconds * 1_000_000)
    return None

"""JSON lines. Types are guesses from the start of the text."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import json

from streamce.errors import DataError
from streamce.inputs.arrow import is_list
from streamce.reading.formats.text import TextTable

NO_BRACKETS = bytes({*range(256)} - {*b"[]{}"})
MAX_DEPTH = 500  # deepest nesting of lists and objects, because Arrow would overflow the stack at a large depth


class JsonTable(TextTable):
    """JSON lines. Text stays text, even if Arrow infers a date."""

    def type(self, name: str) -> Any:
        return _with_text(super().type(name))

    def _parse(self, block: bytes, types: Mapping[str, Any]) -> Any:
        if null := re.match(rb"\s*null", block):  # crashes Arrow in the first row, and is a row of nulls in others
            block = b"{}" + block[null.end() :]
        if not types and _depth(block) > MAX_DEPTH:
            raise pa.ArrowInvalid(f"more than {MAX_DEPTH} lists and objects within one another")
        parse = json.ParseOptions(
            explicit_schema=pa.schema(list(types.items())) if types else None,
            unexpected_field_behavior="ignore" if types else "infer",
        )
        read = json.ReadOptions(use_threads=False, block_size=len(block) + 1)
        return json.read_json(pa.BufferReader(block), read, parse)

    def _explained(self, message: str, rows: int, first: bool) -> DataError:
        match = re.fullmatch(r"(.*) in row (\d+)", message)
        return DataError(message) if match is None else DataError(match[1], row=rows + int(match[2]))


def _with_text(type_: Any) -> Any:
    """Return a guessed type with text in place of dates and times, also in lists."""
    if is_list(type_):
        return pa.list_(_with_text(type_.value_type))
    return pa.string() if pa.types.is_temporal(type_) else type_


def _depth(block: bytes) -> int:
    """Return the depth of nested lists and objects in lines of JSON, or an upper bound of at most MAX_DEPTH."""
    deepest = max(line.count(b"[") + line.count(b"{") for line in block.split(b"\n"))
    if deepest > MAX_DEPTH:
        bare = re.sub(rb'"(?:[^"\\\n]|\\.)*+"?', b"", block).translate(None, NO_BRACKETS)
        opens = np.isin(np.frombuffer(bare, np.uint8), [*b"[{"])
        deepest = int(np.where(opens, 1, -1).cumsum().max(initial=0))
    return deepest

"""The values of options: text of the command line as numbers, lengths and names, or the error of argparse."""

from __future__ import annotations

import argparse
import codecs
import contextlib
import csv
import math
import re

LARGEST_RECORD = 1 << 30  # because Arrow's readers of text count bytes in 32 bits


def level(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) < 1:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")


def finite_number(text: str) -> float:
    with contextlib.suppress(ValueError):
        if math.isfinite(float(text)):
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a finite number")


def length(text: str) -> str | float:
    """Return a length of time: a number of seconds, or text with a unit, which the metric checks."""
    with contextlib.suppress(ValueError):
        return float(text)
    return text


def margin(text: str) -> float:
    nats = finite_number(text)
    if nats < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of nats, 0 or more")
    return nats


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return int(text)


def count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of samples")
    return int(text)


def quote(text: str) -> str:
    if text and (len(text) > 1 or not text.isascii() or not text.isprintable() or text.isalnum() or text == ","):
        raise argparse.ArgumentTypeError(f"{text!r} is not one ASCII character of punctuation, or ''")
    return text


def delimiter(text: str) -> str:
    text = "\t" if text == "\\t" else text
    if len(text) != 1 or not text.isascii() or text.isalnum() or text in "\r\n\"'+-.":
        raise argparse.ArgumentTypeError(f"{text!r} is not one ASCII character, such as ';' or '\\t'")
    return text


def encoding(text: str) -> str:
    """Return Python's name of an encoding of text."""
    try:
        "".encode(text)
        return codecs.lookup(text).name
    except LookupError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not an encoding that Python knows") from error


def size(text: str) -> int:
    match = re.fullmatch(r"(\d{1,12})([KMG]?)B?", text.upper())
    number = int(match[1]) * 1024 ** " KMG".index(match[2] or " ") if match else 0
    if not 1 <= number <= LARGEST_RECORD:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of bytes from 1 to 1G, such as 64M")
    return number


def seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return number


def port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, an integer from 0 to 65535")
    return int(text)


def host(text: str) -> str:
    name = text.removeprefix("[").removesuffix("]")
    if not name or re.search(r"[\s/@\[\]]", name) or name.count(":") == 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a host name or address without a port")
    return name


def names(text: str) -> list[str]:
    try:
        found = next(csv.reader([text], skipinitialspace=True))
    except csv.Error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of names: {error}") from error
    if len({*found}) < len(found) or "" in found:
        raise argparse.ArgumentTypeError("classes need distinct names that are not empty")
    return found

"""A reader of state bytes, written from the note in streamce/state.py and from nothing else."""

import hashlib
import json
import struct
from fractions import Fraction


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        found = self.data[self.at : self.at + n]
        assert len(found) == n
        self.at += n
        return found

    def number(self, letter):
        return struct.unpack("<" + letter, self.take(struct.calcsize("<" + letter)))[0]

    def integer(self):
        first, words = self.number("H"), self.number("H")
        value = 0
        for i in range(words):
            value |= self.number("Q") << (64 * i)
        if value >> (64 * words - 1):  # two's complement
            value -= 1 << (64 * words)
        return value << (64 * first)

    def ledger(self):
        cells, columns = self.number("Q"), {}
        for _ in range(self.number("H")):
            name = self.take(self.number("B")).decode()
            columns[name] = {self.number("Q"): self.integer() for _ in range(self.number("Q"))}
        return cells, columns


def read(data):
    """(metric, options, [(cells, {column: {cell: integer}}), ...]) of intact bytes."""
    body, digest = data[:-16], data[-16:]
    assert hashlib.sha256(body).digest()[:16] == digest
    reader = Reader(body)
    assert reader.take(8) == b"streamce"
    assert reader.number("H") == 1
    header = json.loads(reader.take(reader.number("I")))
    ledgers = []
    while reader.at < len(body):
        ledgers.append(reader.ledger())
    return header["metric"], header["options"], ledgers


def exact(integer):
    """What an exact sum's integer stands for."""
    return Fraction(integer, 2**1074)

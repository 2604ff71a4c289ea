"""Makes hostile arguments: arrays of odd shapes, types and layouts, and objects that raise or lie.

Each maker takes plain numbers and a `random.Random`, and returns a `Hostile`. Objects change other arguments or the
metric through `Surroundings`.
"""

from __future__ import annotations

import array
import ctypes
import gc
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Surroundings:
    """The objects that a hostile object can reach while it is read."""

    arrays: list[Any] = field(default_factory=list)  # the other arguments
    metric: Any = None
    meddled: bool = False  # whether a hostile object changed them


@dataclass
class Hostile:
    """An argument, and the numbers that it may stand for: each of `plain`, or any numbers if that is None."""

    value: Any
    plain: list[Any] | None = None


class Unkind(Exception):
    """An error that cannot be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


ERRORS = (
    KeyError("gone"),
    ValueError("bad"),
    TypeError(),
    AttributeError("x" * 500),
    RecursionError(),
    StopIteration(),
    OverflowError("big"),
    BufferError("busy"),
    AssertionError(),
    UnicodeDecodeError("utf-8", b"a", 0, 1, "no"),
    Unkind(),
    IndexError("two\nlines"),
    OSError(5, "io"),
    EOFError(),
    ImportError("none"),
    SystemError("odd"),
)


# ---- honest: other forms of the same numbers ----


class Protocol:
    """An object that gives its numbers by ``__array__`` only."""

    def __init__(self, found: Any) -> None:
        self.found = found

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.found


class Subclass(np.ndarray):
    """An array whose own methods raise."""

    def __getitem__(self, index: Any) -> Any:
        raise KeyError("not by index")

    def __repr__(self) -> str:
        raise RuntimeError("no words")

    __str__ = __len__ = __iter__ = __repr__  # type: ignore[assignment]


class Lender:
    """An object that gives its numbers by DLPack only."""

    def __init__(self, found: Any, device: Any = (1, 0)) -> None:
        self.found, self.device = found, device

    def __dlpack__(self, **options: Any) -> Any:
        return self.found.__dlpack__()

    def __dlpack_device__(self) -> Any:
        return self.device


class Stream:
    """An object that gives its numbers by Arrow's stream protocol only."""

    def __init__(self, found: Any) -> None:
        self.found = found

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.found.__arrow_c_stream__(requested_schema)


def odd_layout(a: Any, rng: random.Random) -> Any:
    """Return the same numbers in another layout."""
    which = rng.randrange(7)
    if which == 0:
        return np.flip(np.flip(a).copy())
    if which == 1:
        return np.asfortranarray(a)
    if which == 2 and a.dtype.itemsize > 1:
        return np.frombuffer(b"x" + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape)  # misaligned
    if which == 3:
        return a.astype(a.dtype.newbyteorder())
    if which == 4:
        wide = np.zeros((*a.shape, 3), a.dtype)
        wide[..., 1] = a
        return wide[..., 1]
    if which == 5 and a.dtype.itemsize > 1:  # a stride that is smaller than an item
        room = np.zeros(a.size, np.dtype({"names": ["f"], "formats": [a.dtype], "itemsize": a.dtype.itemsize + 3}))
        room["f"] = a.ravel()
        return room["f"].reshape(a.shape)
    b = a.copy()
    b.flags.writeable = False
    return b


def honest(a: Any, rng: random.Random) -> Hostile:
    import pyarrow as pa

    b = odd_layout(a, rng)
    which = rng.randrange(9)
    if which == 0:
        return Hostile(Protocol(b), [a])
    if which == 1:
        return Hostile(b.view(Subclass), [a])
    if which == 2:
        return Hostile(np.ma.array(b), [a])
    if which == 3 and a.dtype.isnative and a.dtype.kind in "fiu":
        return Hostile(Lender(a), [a])
    if which == 4 and a.ndim == 1 and a.dtype.kind in "fiu":
        return Hostile(Stream(pa.chunked_array([a[:1], a[1:]])), [a])
    if which == 5 and a.dtype.kind in "fiub":
        return Hostile(memoryview(a), [a])
    if which == 6 and a.ndim and a.size and a.dtype.kind in "fiu":
        return Hostile(a.tolist(), [np.asarray(a.tolist())])
    if which == 7:
        return Hostile(Protocol(b.view(Subclass)), [a])
    return Hostile(b, [a])


# ---- unsupported types and shapes ----


def odd_type(a: Any, rng: random.Random) -> Hostile:
    """Return an array with a type or shape that only keys may have."""
    n = len(a) if a.ndim else 1
    values = (
        lambda: np.zeros(n, "f8,i4"),
        lambda: np.zeros(n, "S3"),
        lambda: np.zeros(n, "U2"),
        lambda: np.zeros(n, "V5"),
        lambda: np.zeros(n, "M8[ns]"),
        lambda: np.zeros(n, "m8"),
        lambda: np.zeros(n, complex),
        lambda: np.zeros(n, np.longdouble),
        lambda: np.array([None] * n, object),
        lambda: a.astype(object),
        lambda: np.array([a] * 2, object),
        lambda: np.zeros((0,) * 5),
        lambda: np.zeros((1,) * 64),
        lambda: np.array(0.5),
        lambda: np.zeros((n, 0)),
        lambda: np.full(n, "NaT", "M8[D]"),
        lambda: np.ma.masked_all(n),
        lambda: np.zeros(n, np.dtype(("f8", (3,)))),
        lambda: a[..., None],
        lambda: a[:-1] if a.ndim else a,
        lambda: np.zeros((n, 1 << 20), "i1")[:, :: 1 << 19],
        lambda: range(n),
        lambda: iter(range(n)),
        lambda: {1: 2},
        lambda: "text",
        lambda: b"bytes",
        lambda: None,
        lambda: 10**30,
        lambda: -(2**63),
        lambda: object,
        lambda: ...,
        lambda: [[1], [2, 3]],
        lambda: [None] * n,
        lambda: ["a"] * n,
        lambda: [10**30] * n,
        lambda: [object()] * n,
        lambda: np.array([np.nan, *([1.5] * (n - 1))]),
        lambda: np.array([2**63] * n, np.uint64),
        lambda: tuple([a] * 2),
        lambda: [a.tolist()],
        lambda: memoryview(b"abcd"),
        lambda: array.array("u", "a" * n),
        lambda: (ctypes.c_double * n)(),
        lambda: (ctypes.c_char * n)(),
        lambda: np.float16(0.5),
        lambda: np.datetime64("NaT"),
        lambda: np.recarray(n, dtype=[("x", "f8")]),
    )
    return Hostile(values[rng.randrange(len(values))]())


def huge(a: Any, rng: random.Random) -> Hostile:
    """Return an array with more entries than memory could hold, by strides of 0."""
    n = 2 ** rng.choice((31, 32, 40, 62)) + rng.randrange(1000)
    shape = rng.choice(((n,), (n, 2), (2, n), (n, 0), (1, n, 1)))
    try:
        return Hostile(np.broadcast_to(np.zeros((), a.dtype), shape))
    except ValueError:  # larger than NumPy allows
        return Hostile(np.broadcast_to(np.zeros((), np.int8), (2**31,)))


# ---- liars ----


TOUCHED = [
    "__array__",
    "__len__",
    "__getitem__",
    "__iter__",
    "__index__",
    "__float__",
    "__int__",
    "__bool__",
    "__dlpack__",
    "__dlpack_device__",
    "__arrow_c_stream__",
    "__arrow_c_array__",
    "__repr__",
    "__str__",
    "__eq__",
    "__hash__",
]


def raises(a: Any, rng: random.Random) -> Hostile:
    """Return an object that raises on any access."""
    error = rng.choice(ERRORS)

    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return Hostile(type("Raises", (), dict.fromkeys(rng.sample(TOUCHED, rng.randrange(1, len(TOUCHED))), fail))())


ATTRIBUTES = ["__array_interface__", "__array_struct__", "shape", "dtype", "dtypes", "null_count"]


def answers(a: Any, rng: random.Random) -> Hostile:
    """Return an object that answers protocols with invalid results."""
    wrong: list[Any] = [
        None,
        1,
        "text",
        b"",
        object(),
        (),
        (1,),
        (99, 0),
        ("a", "b"),
        2**70,
        -1,
        a,
        [a],
        {"data": 0},
        {"shape": (2,), "typestr": "<f8", "version": 3},
        ctypes.py_object(a),
    ]
    made: dict[str, Any] = {}
    for name in rng.sample(TOUCHED + ATTRIBUTES, 4):
        value = rng.choice(wrong)
        made[name] = value if name in ATTRIBUTES else lambda *_, value=value, **__: value
    return Hostile(type("Answers", (), made)())


class Changing:
    """An object that gives other numbers at each reading."""

    def __init__(self, found: list[Any], rng: random.Random) -> None:
        self.found, self.rng = found, rng

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.rng.choice(self.found)


def changing(a: Any, rng: random.Random) -> Hostile:
    """Return a changing object, of one or several shapes, valid or not. One reading gives one of its arrays."""
    found = [a, np.flip(a).copy()]
    if rng.random() < 0.5:
        found += [a[:1] if a.ndim else a, np.full(a.shape, np.nan), np.zeros((3, 3)), a.astype("f4"), a.astype("i8")]
    return Hostile(Changing(found, rng), found)


class Meddles:
    """An object that changes the objects that it can reach, at each reading."""

    def __init__(self, found: Any, act: Callable[[], object]) -> None:
        self.found, self.act = found, act

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        self.act()
        return self.found

    def __len__(self) -> int:
        self.act()
        return len(self.found)


def shrink(around: Surroundings) -> None:
    """Free the memory of the other arguments."""
    for one in around.arrays:
        if isinstance(one, np.ndarray) and one.flags.owndata and one.flags.writeable:
            one.resize((0,) * one.ndim, refcheck=False)
    gc.collect()


def spoil(around: Surroundings) -> None:
    for one in around.arrays:
        if isinstance(one, np.ndarray) and one.flags.writeable and one.size:
            one.reshape(-1).view(np.uint8)[:] = 0xFF


def meddles(a: Any, rng: random.Random, around: Surroundings) -> Hostile:
    def method(name: str, *given: Any) -> None:
        if hasattr(around.metric, name):
            getattr(around.metric, name)(*given)

    act: Callable[[], object] = rng.choice(
        (
            lambda: shrink(around),
            lambda: spoil(around),
            gc.collect,
            lambda: method("reset"),
            lambda: method("to_bytes"),
            lambda: method("compute"),
            lambda: method("copy"),
            lambda: method("merge", around.metric),
        )
    )

    def meddle() -> None:
        around.meddled = True
        act()

    return Hostile(Meddles(a, meddle))


MAKERS = (honest, honest, odd_type, odd_type, huge, raises, answers, changing, meddles)


def any_of(a: Any, rng: random.Random, around: Surroundings, alone: bool) -> Hostile:
    """Return a hostile argument in place of plain numbers. A lone argument is not huge, because that would be valid."""
    make = rng.choice([maker for maker in MAKERS if maker is not huge or not alone])
    return meddles(a, rng, around) if make is meddles else make(a, rng)

"""The floating-point mode of the public methods of Python classes."""

from __future__ import annotations

from types import FunctionType
from typing import Any, ClassVar

from streamce.core.kernels.kernels import in_default_mode

# Special methods of Python that compute, read or write numbers.
COMPUTING = frozenset(
    [
        "__add__",
        "__call__",
        "__contains__",
        "__copy__",
        "__deepcopy__",
        "__eq__",
        "__getitem__",
        "__iadd__",
        "__init__",
        "__isub__",
        "__iter__",
        "__radd__",
        "__reduce__",
        "__repr__",
        "__str__",
        "__sub__",
    ]
)


class DefaultModeMethods:
    """Base of the classes whose public methods run in the default floating-point mode.

    The caller's mode applies to Python's and NumPy's arithmetic: it may round differently, or flush subnormal numbers
    to zero. Methods in ``_in_core`` are excepted, because they first call compiled code that sets the mode.
    """

    __slots__ = ()
    _in_core: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, value in list(vars(cls).items()):
            public = (not name.startswith("_") or name in COMPUTING) and name not in cls._in_core
            if public and isinstance(value, FunctionType):
                setattr(cls, name, in_default_mode(value))

"""Turns records, which are dicts with all columns, into tables for ``update_from``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamce.errors import InputError
from streamce.integrations import engines


def is_table(item: Any) -> bool:
    """Return whether an item is a table, frame or record batch."""
    return hasattr(item, "__arrow_c_stream__") or hasattr(item, "__arrow_c_array__")


def table(records: Sequence[Mapping[str, Any]], columns: Mapping[str, Any]) -> Any:
    """Return records as a table of the selected columns. The index of an error is the number of the record."""
    import pyarrow as pa

    names = [name for name in records[0] if isinstance(name, str)]
    real = engines.wanted(names, {name: columns[name] for name in ("preds", "weight") if name in columns})
    arrays = {}
    for name in engines.wanted(names, columns):
        try:
            array = pa.array([record[name] for record in records])
            if name in real:
                array = array.cast(_real(array.type))
        except KeyError:
            number = next(number for number, record in enumerate(records) if name not in record)
            found, expected = f"has no '{name}'", "a value, or None for a null"
            raise InputError(None, found, expected, index=(number,), location=f"record {number}") from None
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise InputError(None, f"column '{name}' of the records: {error}", location="") from None
        arrays[name] = array
    return pa.table(arrays)


def _real(type_: Any) -> Any:
    """Return a type of numbers, or lists of them, as floating point, because any partition may have fractions."""
    import pyarrow as pa

    if pa.types.is_list(type_):
        return pa.list_(_real(type_.value_type))
    return pa.float64() if pa.types.is_integer(type_) else type_

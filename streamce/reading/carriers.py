"""Arrow columns as columns of few types that a database stores without any change, and back.

A database has no half floats, rounds times to microseconds and knows no extension types. So it gets the bits of values
of fixed width as integers, and text as bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from streamce.errors import DataError
from streamce.inputs import arrow


def carry(column: Any) -> Any:
    """Return a column as an array of booleans, integers, bytes, or lists or structs of these."""
    type_ = column.type
    if isinstance(type_, pa.BaseExtensionType):
        return carry(column.storage)
    if pa.types.is_dictionary(type_):
        return carry(column.dictionary_decode())
    if pa.types.is_null(type_):
        return pa.nulls(len(column), pa.bool_())
    if pa.types.is_map(type_):
        return carry(column.cast(_entries_type(type_)))
    if arrow.is_list(type_):
        values, lengths, null = arrow.entries(column)
        return _lists(carry(values), lengths, null)
    if pa.types.is_struct(type_):
        names = [str(i) for i in range(type_.num_fields)]  # because names need not be unique
        fields = [carry(field) for field in column.flatten()]
        return pa.StructArray.from_arrays(fields, names, mask=column.is_null()) if fields else column.is_null()
    if arrow.is_text(type_) or pa.types.is_fixed_size_binary(type_):
        return column.cast(pa.large_binary())
    return _carry_fixed_width(column)


def _carry_fixed_width(column: Any) -> Any:
    type_ = column.type
    if pa.types.is_boolean(type_):
        return column
    if pa.types.is_primitive(type_) or pa.types.is_decimal(type_):
        bits = type_.bit_width
        if bits <= 64:
            return column.view(_integer(bits))
        return column.view(pa.binary(bits // 8)).cast(pa.large_binary())
    raise DataError(f"holds {type_}, which cannot be matched by key")


def restore(column: Any, type_: Any) -> Any:
    """Return the column of this type that ``carry`` was given, but without dictionaries, and lists as large lists."""
    if isinstance(type_, pa.BaseExtensionType):
        return _wrapped(restore(column, type_.storage_type), type_)
    if pa.types.is_dictionary(type_):
        return restore(column, type_.value_type)
    if pa.types.is_null(type_):
        return pa.nulls(len(column))
    if pa.types.is_map(type_):
        return restore(column, _entries_type(type_))
    if arrow.is_list(type_):
        values, lengths, null = arrow.entries(column)
        return _lists(restore(values, type_.value_type), lengths, null)
    if pa.types.is_struct(type_):
        return _restore_struct(column, type_)
    if pa.types.is_boolean(type_):
        return column
    if pa.types.is_fixed_size_binary(type_):
        return column.cast(pa.binary(type_.byte_width)).view(type_)
    if arrow.is_text(type_):
        return _restore_text(column, type_)
    if type_.bit_width > 64:
        return column.cast(pa.binary(type_.bit_width // 8)).view(type_)
    return column.view(type_)


def _restore_struct(column: Any, type_: Any) -> Any:
    if not type_.num_fields:
        return pa.array([None if null else {} for null in column.to_pylist()], type_)
    fields = [type_.field(i) for i in range(type_.num_fields)]
    arrays = [restore(part, field.type) for part, field in zip(column.flatten(), fields, strict=True)]
    fields = [field.with_type(array.type) for field, array in zip(fields, arrays, strict=True)]
    return pa.StructArray.from_arrays(arrays, fields=fields, mask=column.is_null())


def _restore_text(column: Any, type_: Any) -> Any:
    """Return bytes as text without a check, because a column of a file was not checked either."""
    if pa.types.is_large_string(type_):
        return column.view(type_)
    if pa.types.is_string(type_):
        return column.cast(pa.binary()).view(type_)
    return column.cast(type_)


def _wrapped(storage: Any, type_: Any) -> Any:
    """Return an extension array, or its storage if lists changed their type."""
    return type_.wrap_array(storage) if storage.type == type_.storage_type else storage


def _entries_type(type_: Any) -> Any:
    """Return the lists of structs that a map is."""
    return pa.list_(pa.struct([("key", type_.key_type), ("value", type_.item_type)]))


def _lists(values: Any, lengths: Any, null: Any) -> Any:
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    return pa.LargeListArray.from_arrays(offsets, values, mask=None if null is None else pa.array(null))


def _integer(bits: int) -> Any:
    return {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}[bits]

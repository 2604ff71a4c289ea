"""Nested columns of Arrow: their types and fields by path, and the arrays that a path stands for."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from streamce.errors import DataError, SelectionError
from streamce.inputs.arrow import entries, flat, is_list
from streamce.reading.formats.paths import EACH, VECTOR, Step


def type_at(type_: Any, steps: Sequence[Step], name: str) -> Any:
    """Return the type that steps find in values of a type. ``name`` is the path in the error."""
    for number, step in enumerate(steps):
        type_ = getattr(type_, "storage_type", type_)
        rest = steps[number + 1 :]
        if isinstance(step, str):
            if not pa.types.is_struct(type_) or type_.get_field_index(step) < 0:
                raise SelectionError(f"'{name}': {type_} has no field '{step}'", column=name)
            if _ends_in_vector(type_, [step, *rest]):
                return pa.list_(type_.field(step).type.value_type)
            type_ = type_.field(step).type
        elif not is_list(type_):
            raise SelectionError(f"'{name}': {type_} is not a list", column=name)
        elif step is EACH:
            return pa.list_(type_at(type_.value_type, rest, name))
        else:
            type_ = type_.value_type
    return type_


def field_names(type_: Any, depth: int = 0) -> list[str] | None:
    """Return the names of the fields of a type of objects, in lists of some depth; None for other types."""
    for _ in range(depth):
        type_ = type_.value_type
    type_ = getattr(type_, "storage_type", type_)
    return [type_.field(i).name for i in range(type_.num_fields)] if pa.types.is_struct(type_) else None


def values_at(array: Any, steps: Sequence[Step]) -> Any:
    """Return the array that steps find in an array: null where something on the way is missing or null."""
    from pyarrow import compute as pc  # here, because it is slow to import

    for number, step in enumerate(steps):
        array = getattr(array, "storage", array)
        if isinstance(step, str):
            if _ends_in_vector(array.type, steps[number:]):
                return _vectors(array)
            array = pc.struct_field(array, step)
            continue
        values, lengths, null = entries(array)
        if step is EACH:
            inner = values_at(values, steps[number + 1 :])
            offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
            return pa.ListArray.from_arrays(offsets, inner, mask=None if null is None else pa.array(null))
        at = np.cumsum(lengths) - lengths + step
        array = values.take(pa.array(at, pa.int64(), mask=lengths <= step))
    return array


def _ends_in_vector(type_: Any, steps: Sequence[Step]) -> bool:
    """Return whether steps are the last one, to the values of a vector of Spark ML."""
    return list(steps) == ["values"] and pa.types.is_struct(type_) and {*VECTOR} == {*(field_names(type_) or ())}


def _vectors(array: Any) -> Any:
    """Return vectors of Spark ML as lists, with the zeros of sparse ones."""
    from pyarrow import compute as pc

    kinds, _ = flat(pc.struct_field(array, "type"))
    values, lengths, null = entries(pc.struct_field(array, "values"))
    sparse = kinds == 0 if null is None else (kinds == 0) & ~null
    numbers, _ = flat(values)
    sizes = lengths
    at = np.arange(len(numbers)) - np.repeat(np.cumsum(lengths) - lengths, lengths)  # the place in the row's list
    if sparse.any():
        all_indices, n_indices, _ = entries(pc.struct_field(array, "indices"))
        declared, _ = flat(pc.struct_field(array, "size"))
        sizes = np.where(sparse, declared, lengths).astype(np.int64)
        indices = flat(all_indices)[0][np.repeat(sparse, n_indices)].astype(np.int64)
        limits = np.repeat(sizes[sparse], n_indices[sparse])
        rows = np.repeat(np.flatnonzero(sparse), n_indices[sparse])
        in_range = (indices >= 0) & (indices < limits)
        is_valid = (n_indices == lengths)[sparse].all() and in_range.all()
        if not is_valid or len(np.unique(np.stack([rows, indices]), axis=1).T) < len(rows):
            raise DataError("holds a sparse vector whose indices do not fit its size and values")
        at[np.repeat(sparse, lengths)] = indices
    starts = np.cumsum(sizes) - sizes
    full = np.zeros(int(sizes.sum()), numbers.dtype)
    full[np.repeat(starts, lengths) + at] = numbers
    offsets = pa.array(np.concatenate([[0], np.cumsum(sizes)]), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(full), mask=None if null is None else pa.array(null))

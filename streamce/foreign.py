"""Arrays of other libraries as NumPy's: what pandas, Arrow and DLPack hold, where it lies if the layout allows.

Values of nulls are zeros of the array's own type, beside a mask: no integer goes through floating point. What
NumPy reads by itself (buffers, ``__array__``, ``__array_interface__``, sequences of numbers) is not for here.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Found = tuple[Array, Array | None]  # values, and where they are null
CPU = (1, 3, 11)  # DLPack's names for memory of the CPU: plain, and pinned by CUDA or ROCm
DEVICES = {2: "CUDA", 4: "OpenCL", 7: "Vulkan", 8: "Metal", 10: "ROCm", 13: "CUDA managed", 14: "oneAPI"}


def read(source: Any) -> Found | None:
    """The numbers of an array of another library, and the mask of its nulls; None for what NumPy reads itself."""
    pandas = sys.modules.get("pandas")  # never imported here: who has a series has pandas
    if pandas is not None:
        if isinstance(source, pandas.DataFrame):
            return _frame(source)
        if isinstance(source, (pandas.Series, pandas.Index, pandas.api.extensions.ExtensionArray)):
            return _series(source)
    if hasattr(source, "__arrow_c_array__") or hasattr(source, "__arrow_c_stream__"):
        return _arrow(source)
    if hasattr(source, "__dlpack__") and not hasattr(source, "__array__"):
        return _dlpack(source), None
    return None


def _beside(columns: list[Found]) -> Found:
    """Columns side by side: the axis of classes."""
    if not columns:
        raise ValueError("no columns")
    if any(values.ndim > 1 for values, _ in columns):
        raise ValueError("columns of lists beside each other")
    nulls = [np.zeros(len(values), np.bool_) if null is None else null for values, null in columns]
    whole = np.stack([values for values, _ in columns], axis=1)
    return whole, None if all(null is None for _, null in columns) else np.stack(nulls, axis=1)


# ---- pandas ----


def _frame(frame: Any) -> Found:
    if all(isinstance(dtype, np.dtype) for dtype in frame.dtypes):
        return np.asarray(frame), None
    return _beside([_series(frame.iloc[:, i]) for i in range(frame.shape[1])])


def _series(series: Any) -> Found:
    """A series, an index or the array of one: of NumPy's types, or of pandas' own that tell what is missing."""
    dtype = series.dtype
    if isinstance(dtype, np.dtype):
        return np.asarray(series), None
    held = getattr(series, "array", series)
    if str(dtype) == "category":
        return _picked(np.asarray(held.codes), _series(held.categories))
    if hasattr(dtype, "pyarrow_dtype"):
        return _column(held.__arrow_array__(), *_pyarrow())
    if hasattr(dtype, "numpy_dtype"):  # Float64, Int64, boolean and the like
        null = np.asarray(held.isna())
        values = held.to_numpy(dtype=dtype.numpy_dtype, na_value=0)
        return values, null if null.any() else None
    return np.asarray(series), None


def _picked(codes: Array, categories: Found) -> Found:
    """Categories by their codes, -1 where there is none."""
    values, null = categories
    missing = codes < 0
    if null is not None:
        missing |= null[codes]
    if not len(values):
        return np.zeros(len(codes)), missing
    return values[np.where(missing, 0, codes)], missing if missing.any() else None


# ---- Arrow ----


def _pyarrow() -> tuple[Any, Any]:
    """pyarrow, and what reads its arrays."""
    try:
        import pyarrow

        from streamce.reading import arrow
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "pyarrow":
            raise
        raise ValueError("reading it needs pyarrow: pip install 'streamce[files]'") from error
    return pyarrow, arrow


def _arrow(source: Any) -> Found | None:
    try:
        pa, arrow = _pyarrow()
    except ValueError:
        if hasattr(source, "null_count") and hasattr(source, "__array__") and not np.any(source.null_count()):
            return None  # which NumPy reads just as well
        raise
    if not isinstance(source, (pa.Array, pa.ChunkedArray, pa.RecordBatch, pa.Table)):
        source = pa.array(source) if hasattr(source, "__arrow_c_array__") else pa.chunked_array(source)
    if isinstance(source, (pa.RecordBatch, pa.Table)):
        return _beside([_column(column, pa, arrow) for column in source.columns])
    if pa.types.is_struct(source.type):
        return _beside([_column(column, pa, arrow) for column in source.flatten()])
    return _column(source, pa, arrow)


def _column(source: Any, pa: Any, arrow: Any) -> Found:
    """A column: an array, or one in chunks, of which a single one is read where it lies."""
    chunks = source.chunks if isinstance(source, pa.ChunkedArray) else [source]
    chunks = [chunk for chunk in chunks if len(chunk)] or [pa.array([], source.type)]
    parts: list[Found] = []
    row = 0
    for chunk in chunks:
        chunk.validate(full=True)  # from here on offsets are believed
        parts.append(arrow.numbers(chunk, row))
        row += len(chunk)
    if len(parts) == 1:
        return parts[0]
    shapes = dict.fromkeys(values.shape[1:] for values, null in parts if null is None or not null.all())
    if len(shapes) > 1:
        raise ValueError(f"rows of shapes {' and '.join(map(str, shapes))}")
    for shape in shapes:  # which lists that are all null do not tell
        parts = [part if part[0].shape[1:] == shape else _nulls(part[0], shape) for part in parts]
    masks = [np.zeros(values.shape, np.bool_) if null is None else null for values, null in parts]
    null = None if all(null is None for _, null in parts) else np.concatenate(masks)
    return np.concatenate([values for values, _ in parts]), null


def _nulls(like: Array, shape: tuple[int, ...]) -> Found:
    """As many nulls, each of a shape."""
    return np.zeros((len(like), *shape), like.dtype), np.ones((len(like), *shape), np.bool_)


# ---- DLPack ----


def _dlpack(source: Any) -> Array:
    """The memory behind ``__dlpack__``, which NumPy asks for in version 1.0, and of old producers in the one before."""
    kind, number = source.__dlpack_device__()
    if int(kind) not in CPU:
        where = DEVICES.get(int(kind), f"type {int(kind)}")
        raise ValueError(f"it is on a device, {where} {number}, and not in memory of the CPU")
    return np.from_dlpack(source)

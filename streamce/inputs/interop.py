"""Conversion of arrays of pandas, Arrow and DLPack to NumPy arrays, without copies if the layout allows.

Null values become zeros of the array's own type, and a mask, because integers must not pass through floating point.
Sources that NumPy reads by itself (buffers, ``__array__``, ``__array_interface__``, sequences of numbers) are left to
``arrays``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from streamce._support.short_repr import ATOMIC_TYPES

Array = np.ndarray[Any, np.dtype[Any]]
Masked = tuple[Array, Array | None]  # values, and the mask of nulls if there are any
CPU = (1, 3, 11)  # DLPack's types of memory of the CPU: pageable, and pinned by CUDA or ROCm
DEVICES = {2: "CUDA", 4: "OpenCL", 7: "Vulkan", 8: "Metal", 10: "ROCm", 13: "CUDA managed", 14: "oneAPI"}


def check_memory(source: Any) -> Any:
    """Return a source after a check of its memory. Raise ValueError if it describes memory that does not exist.

    All foreign memory passes this check, because all other code trusts offsets, indices and sizes. Tensors, objects of
    pyarrow and pandas objects that hold Arrow arrays can be checked, also inside lists. Pointers cannot, because those
    of ``__array_interface__``, of DLPack and of Arrow's C structures come without the size of their memory.
    """
    torch, arrow = sys.modules.get("torch"), sys.modules.get("pyarrow")
    if torch is not None or arrow is not None:  # if neither is imported, the source cannot be from either
        _check(source, torch, arrow)
    return source


def _check(source: Any, torch: Any, pa: Any) -> None:
    if isinstance(source, (list, tuple)):
        types = {type_ for type_ in set(map(type, source)) if not issubclass(type_, ATOMIC_TYPES)}
        for each in source if types else ():
            if type(each) in types:
                _check(each, torch, pa)
    elif torch is not None and isinstance(source, torch.Tensor):
        _check_storage(source)
    elif pa is not None and isinstance(source, (pa.Array, pa.ChunkedArray, pa.RecordBatch, pa.Table)):
        _check_arrow(source, pa)
    elif pa is not None and "pandas" in sys.modules:
        for array in _arrow_arrays(source, sys.modules["pandas"]):
            _check_arrow(array, pa)


def _check_storage(tensor: Any) -> None:
    """Raise if the storage of a tensor, which can be resized, is smaller than the tensor needs."""
    if tensor.layout is not sys.modules["torch"].strided or tensor.is_nested or tensor.device.type == "meta":
        return  # the conversion raises an error for these
    last = tensor.storage_offset()
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        if size == 0:
            return
        last += (size - 1) * stride
    needed, available = (last + 1) * tensor.element_size(), tensor.untyped_storage().nbytes()
    if needed > available:
        raise ValueError(f"its storage has {available} bytes and its shape needs {needed}: was it freed or resized?")


def _check_arrow(array: Any, pa: Any) -> None:
    """Raise unless all offsets, indices and views of an Arrow array or table are within its buffers."""
    for part in _walk(array, pa):
        if part.offset < 0:  # ``validate`` does not check this
            raise pa.ArrowInvalid(f"an array begins at offset {part.offset}, before its buffers")
    try:
        array.validate(full=True)
    except pa.ArrowIndexError as error:  # raised for views
        raise pa.ArrowInvalid(str(error)) from None


def _walk(array: Any, pa: Any) -> Iterator[Any]:
    """Yield the arrays that an array or table consists of, including itself."""
    if isinstance(array, (pa.RecordBatch, pa.Table)):
        inside = array.columns
    elif isinstance(array, pa.ChunkedArray):
        inside = array.chunks
    else:
        yield array
        inside = _children(array, pa)
    for each in inside:
        yield from _walk(each, pa)


def _children(array: Any, pa: Any) -> list[Any]:
    if isinstance(array, pa.ExtensionArray):
        return [array.storage]
    if isinstance(array, pa.DictionaryArray):
        return [array.indices, array.dictionary]
    if isinstance(array, (pa.StructArray, pa.UnionArray)):
        return [array.field(i) for i in range(array.type.num_fields)]
    return [getattr(array, name) for name in ("run_ends", "values") if hasattr(array, name)]


def _arrow_arrays(source: Any, pandas: Any) -> Iterator[Any]:
    """Yield the Arrow arrays that an object of pandas holds."""
    if isinstance(source, pandas.DataFrame):
        for i in range(source.shape[1]):
            yield from _arrow_arrays(source.iloc[:, i], pandas)
        return
    if isinstance(source, pandas.MultiIndex):
        for level in source.levels:
            yield from _arrow_arrays(level, pandas)
        return
    if not isinstance(source, (pandas.Series, pandas.Index, pandas.api.extensions.ExtensionArray)):
        return
    array = getattr(source, "array", source)
    if isinstance(array, pandas.Categorical):
        yield from _arrow_arrays(array.categories, pandas)
    elif hasattr(array.dtype, "pyarrow_dtype") or getattr(array.dtype, "storage", None) == "pyarrow":
        yield array.__arrow_array__()


def convert(source: Any) -> Masked | None:
    """Return the numbers of an array of another library and the mask of its nulls; None if NumPy can read it."""
    pandas = sys.modules.get("pandas")  # already imported if the source is an object of pandas
    if pandas is not None:
        if isinstance(source, pandas.DataFrame):
            return _frame(source)
        if isinstance(source, (pandas.Series, pandas.Index, pandas.api.extensions.ExtensionArray)):
            return _series(source)
    if has_arrow_protocol(source):
        return _arrow(source)
    if hasattr(source, "__dlpack__") and not hasattr(source, "__array__"):
        return _dlpack(source), None
    return None


def _stack(columns: list[Masked]) -> Masked:
    """Return columns side by side, along the axis of classes."""
    if not columns:
        raise ValueError("no columns")
    if any(values.ndim > 1 for values, _ in columns):
        raise ValueError("a column of lists beside other columns")
    nulls = [np.zeros(len(values), np.bool_) if null is None else null for values, null in columns]
    stacked = np.stack([values for values, _ in columns], axis=1)
    return stacked, None if all(null is None for _, null in columns) else np.stack(nulls, axis=1)


# ---- pandas ----


def _frame(frame: Any) -> Masked:
    if all(isinstance(dtype, np.dtype) for dtype in frame.dtypes):
        return np.asarray(frame), None
    return _stack([_series(frame.iloc[:, i]) for i in range(frame.shape[1])])


def _series(series: Any) -> Masked:
    """Convert a series, an index or an extension array."""
    dtype = series.dtype
    if isinstance(dtype, np.dtype):
        return np.asarray(series), None
    array = getattr(series, "array", series)
    if str(dtype) == "category":
        return _take(np.array(array.codes), _series(array.categories))
    if hasattr(dtype, "pyarrow_dtype"):
        return _column(array.__arrow_array__(), *_pyarrow())
    if hasattr(dtype, "numpy_dtype"):  # nullable types: Float64, Int64, boolean
        null = np.asarray(array.isna())
        values = array.to_numpy(dtype=dtype.numpy_dtype, na_value=0)
        return values, null if null.any() else None
    return np.asarray(series), None


def _take(codes: Array, categories: Masked) -> Masked:
    """Return categories by their codes. Code -1 stands for a null."""
    values, null = categories
    missing = codes < 0
    if null is not None:
        missing |= null[codes]
    if not len(values):
        return np.zeros(len(codes)), missing
    return values[np.where(missing, 0, codes)], missing if missing.any() else None


# ---- Arrow ----


def has_arrow_protocol(source: Any) -> bool:
    """Return whether a source has Arrow's PyCapsule protocol."""
    return hasattr(source, "__arrow_c_array__") or hasattr(source, "__arrow_c_stream__")


def import_arrow(source: Any) -> Any:
    """Return a source with the PyCapsule protocol as a checked object of pyarrow.

    Objects of pyarrow are returned unchanged, because the caller has checked them.
    """
    pa, _ = _pyarrow()
    if isinstance(source, (pa.Array, pa.ChunkedArray, pa.RecordBatch, pa.Table)):
        return source
    return check_memory(pa.array(source) if hasattr(source, "__arrow_c_array__") else pa.chunked_array(source))


def import_table(source: Any) -> Any:
    """Return a stream of batches with the PyCapsule protocol, such as a reader or a relation, as a checked table."""
    pa, _ = _pyarrow()
    return check_memory(pa.table(source))


def is_arrow_text(column: Any) -> bool:
    """Return whether an object of pyarrow is a column of text, or a dictionary of text."""
    _, arrow = _pyarrow()
    return hasattr(column, "type") and arrow.is_text(column.type) and not arrow.is_list(column.type)


def arrow_numbers(column: Any) -> Masked:
    """Return the numbers of an Arrow column without lists, and the mask of its nulls."""
    _, arrow = _pyarrow()
    found: Masked = arrow.flat(column)
    return found


def _pyarrow() -> tuple[Any, Any]:
    """Return pyarrow, and the module that converts its arrays."""
    try:
        import pyarrow

        from streamce.inputs import arrow
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "pyarrow":
            raise
        raise ValueError("reading it needs pyarrow: pip install 'streamce[files]'") from error
    return pyarrow, arrow


def _arrow(source: Any) -> Masked | None:
    try:
        pa, arrow = _pyarrow()
    except ValueError:
        if hasattr(source, "null_count") and hasattr(source, "__array__") and not np.any(source.null_count()):
            return None  # NumPy can read it, because there are no nulls
        raise
    source = import_arrow(source)
    if isinstance(source, (pa.RecordBatch, pa.Table)):
        return _stack([_column(column, pa, arrow) for column in source.columns])
    if pa.types.is_struct(source.type):
        return _stack([_column(column, pa, arrow) for column in source.flatten()])
    return _column(source, pa, arrow)


def _column(source: Any, pa: Any, arrow: Any) -> Masked:
    """Convert an array or a chunked array. A single chunk is not copied."""
    chunks = source.chunks if isinstance(source, pa.ChunkedArray) else [source]
    chunks = [chunk for chunk in chunks if len(chunk)] or [pa.array([], source.type)]
    parts: list[Masked] = []
    row = 0
    for chunk in chunks:
        parts.append(arrow.numbers(chunk, row))
        row += len(chunk)
    if len(parts) == 1:
        return parts[0]
    shapes = dict.fromkeys(values.shape[1:] for values, null in parts if null is None or not null.all())
    if len(shapes) > 1:
        raise ValueError(f"rows of shapes {' and '.join(map(str, shapes))}")
    for shape in shapes:  # the shape of chunks of null lists is unknown
        parts = [part if part[0].shape[1:] == shape else _nulls(part[0], shape) for part in parts]
    masks = [np.zeros(values.shape, np.bool_) if null is None else null for values, null in parts]
    null = None if all(null is None for _, null in parts) else np.concatenate(masks)
    return np.concatenate([values for values, _ in parts]), null


def _nulls(values: Array, shape: tuple[int, ...]) -> Masked:
    """Return a null of this shape for each value."""
    return np.zeros((len(values), *shape), values.dtype), np.ones((len(values), *shape), np.bool_)


# ---- DLPack ----


def _dlpack(source: Any) -> Array:
    """Return the memory of an object with ``__dlpack__``. NumPy negotiates the version of the protocol."""
    kind, number = source.__dlpack_device__()
    if int(kind) not in CPU:
        device = DEVICES.get(int(kind), f"type {int(kind)}")
        raise ValueError(f"it is on a device, {device} {number}, and not in memory of the CPU")
    return np.from_dlpack(source)

"""Arrays of other libraries as NumPy's: what pandas, Arrow and DLPack hold, where it lies if the layout allows.

Values of nulls are zeros of the array's own type, beside a mask: no integer goes through floating point. What
NumPy reads by itself (buffers, ``__array__``, ``__array_interface__``, sequences of numbers) is not for here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from streamce._support.short_repr import ATOMS

Array = np.ndarray[Any, np.dtype[Any]]
Found = tuple[Array, Array | None]  # values, and where they are null
CPU = (1, 3, 11)  # DLPack's names for memory of the CPU: plain, and pinned by CUDA or ROCm
DEVICES = {2: "CUDA", 4: "OpenCL", 7: "Vulkan", 8: "Metal", 10: "ROCm", 13: "CUDA managed", 14: "oneAPI"}


def checked(source: Any) -> Any:
    """Check the memory of a source and return the source; raise ValueError if it describes memory that does not exist.

    All foreign memory passes this check, and all other code trusts offsets, indices and sizes. Tensors, objects of
    pyarrow and what pandas holds in Arrow can be checked, also inside lists. Pointers cannot, because those of
    ``__array_interface__``, of DLPack and of Arrow's C structures come without the size of their memory.
    """
    torch, arrow = sys.modules.get("torch"), sys.modules.get("pyarrow")
    if torch is not None or arrow is not None:  # not imported here: if nobody has, there is nothing to check
        _check(source, torch, arrow)
    return source


def _check(source: Any, torch: Any, pa: Any) -> None:
    if isinstance(source, (list, tuple)):
        types = {type_ for type_ in set(map(type, source)) if not issubclass(type_, ATOMS)}
        for each in source if types else ():
            if type(each) in types:
                _check(each, torch, pa)
    elif torch is not None and isinstance(source, torch.Tensor):
        _check_storage(source)
    elif pa is not None and isinstance(source, (pa.Array, pa.ChunkedArray, pa.RecordBatch, pa.Table)):
        _check_arrow(source, pa)
    elif pa is not None and "pandas" in sys.modules:
        for array in _held_in_arrow(source, sys.modules["pandas"]):
            _check_arrow(array, pa)


def _check_storage(tensor: Any) -> None:
    """Raise if the storage of a tensor, which can be resized, is smaller than the tensor needs."""
    if tensor.layout is not sys.modules["torch"].strided or tensor.is_nested or tensor.device.type == "meta":
        return  # which is an error elsewhere
    last = tensor.storage_offset()
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        if size == 0:
            return
        last += (size - 1) * stride
    needs, has = (last + 1) * tensor.element_size(), tensor.untyped_storage().nbytes()
    if needs > has:
        raise ValueError(f"its storage has {has} bytes and its shape needs {needs}: was it freed or resized?")


def _check_arrow(array: Any, pa: Any) -> None:
    """Raise unless all offsets, indices and views of an Arrow array or table are within its buffers."""
    for part in _parts(array, pa):
        if part.offset < 0:  # which ``validate`` does not check
            raise pa.ArrowInvalid(f"an array begins at offset {part.offset}, before its buffers")
    try:
        array.validate(full=True)
    except pa.ArrowIndexError as error:  # of views
        raise pa.ArrowInvalid(str(error)) from None


def _parts(array: Any, pa: Any) -> Iterator[Any]:
    """Yield the arrays that an array or table consists of, itself included."""
    if isinstance(array, (pa.RecordBatch, pa.Table)):
        inside = array.columns
    elif isinstance(array, pa.ChunkedArray):
        inside = array.chunks
    else:
        yield array
        inside = _children(array, pa)
    for each in inside:
        yield from _parts(each, pa)


def _children(array: Any, pa: Any) -> list[Any]:
    if isinstance(array, pa.ExtensionArray):
        return [array.storage]
    if isinstance(array, pa.DictionaryArray):
        return [array.indices, array.dictionary]
    if isinstance(array, (pa.StructArray, pa.UnionArray)):
        return [array.field(i) for i in range(array.type.num_fields)]
    return [getattr(array, name) for name in ("run_ends", "values") if hasattr(array, name)]


def _held_in_arrow(source: Any, pandas: Any) -> Iterator[Any]:
    """Yield the Arrow arrays that an object of pandas holds."""
    if isinstance(source, pandas.DataFrame):
        for i in range(source.shape[1]):
            yield from _held_in_arrow(source.iloc[:, i], pandas)
        return
    if isinstance(source, pandas.MultiIndex):
        for level in source.levels:
            yield from _held_in_arrow(level, pandas)
        return
    if not isinstance(source, (pandas.Series, pandas.Index, pandas.api.extensions.ExtensionArray)):
        return
    held = getattr(source, "array", source)
    if isinstance(held, pandas.Categorical):
        yield from _held_in_arrow(held.categories, pandas)
    elif hasattr(held.dtype, "pyarrow_dtype") or getattr(held.dtype, "storage", None) == "pyarrow":
        yield held.__arrow_array__()


def read(source: Any) -> Found | None:
    """The numbers of an array of another library, and the mask of its nulls; None for what NumPy reads itself."""
    pandas = sys.modules.get("pandas")  # never imported here: who has a series has pandas
    if pandas is not None:
        if isinstance(source, pandas.DataFrame):
            return _frame(source)
        if isinstance(source, (pandas.Series, pandas.Index, pandas.api.extensions.ExtensionArray)):
            return _series(source)
    if speaks_arrow(source):
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
        return _picked(np.array(held.codes), _series(held.categories))
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


def speaks_arrow(source: Any) -> bool:
    """Return whether a source has Arrow's PyCapsule protocol."""
    return hasattr(source, "__arrow_c_array__") or hasattr(source, "__arrow_c_stream__")


def imported(source: Any) -> Any:
    """Convert a source with the PyCapsule protocol to a checked array of pyarrow. Its own types are checked already."""
    pa, _ = _pyarrow()
    if isinstance(source, (pa.Array, pa.ChunkedArray, pa.RecordBatch, pa.Table)):
        return source
    return checked(pa.array(source) if hasattr(source, "__arrow_c_array__") else pa.chunked_array(source))


def _pyarrow() -> tuple[Any, Any]:
    """pyarrow, and what reads its arrays."""
    try:
        import pyarrow

        from streamce.inputs import arrow
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
    source = imported(source)
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

"""Conversion of labels that are names of classes to the numbers of the classes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from streamce._support.short_repr import quote_names
from streamce.errors import InputError
from streamce.inputs import arrays, interop
from streamce.inputs.arrays import Array, ArrayData


class CodedText(NamedTuple):
    """Labels as indices of texts, -1 for nulls. The texts need not be distinct."""

    codes: Array
    texts: Sequence[str]


class ClassNames:
    """The names of classes, in their order.

    A label that is no name is invalid. It gets the number ``unknown``, which is neither a class nor ``ignore_index``.
    The text of ``ignore_index`` is an ignored label, unless a class has this name.
    """

    def __init__(self, names: Sequence[str], ignore_index: int | None = None) -> None:
        self.names: tuple[str, ...] = tuple(names)
        self.unknown: int = -2 if ignore_index == -1 else -1
        self._numbers = {} if ignore_index is None else {str(ignore_index): ignore_index}
        self._numbers |= {name: number for number, name in enumerate(names)}

    @property
    def expected(self) -> str:
        """What a label must be, for errors."""
        return f"one of {quote_names(self.names)}"

    def encode(self, labels: CodedText) -> ArrayData:
        """Return labels as numbers. Nulls become a mask."""
        numbers = np.array([self._numbers.get(text, self.unknown) for text in labels.texts] + [0], np.int64)
        null_mask = labels.codes < 0  # the last number is that of nulls
        return ArrayData(numbers[labels.codes], False, null_mask if null_mask.any() else None)

    def numbers(self, column: Any) -> tuple[Array, Array | None]:
        """Return the numbers of an Arrow column of text, and the mask of nulls."""
        data = self.encode(_codes_of_arrow(column))
        return data.values, data.null_mask

    def named(self, error: InputError, labels: CodedText) -> InputError:
        """Return an error about an unknown number as one about the label."""
        if error.argument != "target" or error.cause != "invalid_label" or error.index is None:
            return error
        text = labels.texts[labels.codes[error.index]]
        return error.changed(found=f"is {text!r}", expected=self.expected, value=text)


def materialize_target(source: Any) -> Any:
    """Convert a target once, as ``arrays.materialize`` does. Text stays text, in a new array."""
    found = coded_text(source)
    if not isinstance(found, CodedText):
        return arrays.materialize(found, "target")
    labels = np.array([*found.texts, None], dtype=object)[found.codes]
    return labels if (found.codes < 0).any() else labels.astype(np.str_)


def is_missing(value: Any) -> bool:
    """Return whether an entry of an array of objects stands for a null: None, NaN or pandas.NA."""
    return value is None or type(value).__name__ == "NAType" or (isinstance(value, float) and value != value)


def coded_text(source: Any) -> Any:
    """Return labels that are text as CodedText, or else the source, to be converted by ``arrays``.

    A stream can be read only once, so the source of a stream is its column.
    """
    try:
        interop.check_memory(source)
        if not isinstance(source, np.ndarray) and not _is_pandas(source) and interop.has_arrow_protocol(source):
            source = interop.import_arrow(source)
            return _codes_of_arrow(source) if interop.is_arrow_text(source) else source
        found = _coded_text(source)
    except MemoryError:
        raise
    except Exception:  # any exception of a third-party array, which the conversion to numbers explains
        return source
    return source if found is None else found


def _is_pandas(source: Any) -> bool:
    pandas = sys.modules.get("pandas")  # already imported if the source is an object of pandas
    if pandas is None:
        return False
    return isinstance(source, (pandas.Series, pandas.Index, pandas.api.extensions.ExtensionArray))


def _coded_text(source: Any) -> CodedText | None:
    if _is_pandas(source):
        if str(source.dtype) == "category":
            array = getattr(source, "array", source)
            texts = array.categories.tolist()
            are_text = bool(texts) and all(isinstance(text, str) for text in texts)
            return CodedText(np.asarray(array.codes, np.int64), texts) if are_text else None
        if getattr(source.dtype, "kind", "O") in "OTU" or "str" in str(source.dtype):
            return _codes_of_objects(np.asarray(source, dtype=object))
        return None
    if isinstance(source, (list, tuple)):
        return _codes_of_objects(np.array(source, dtype=object)) if _begins_with_text(source) else None
    if isinstance(source, np.ndarray) and source.dtype.kind in "OTU":
        return _codes_of_objects(source.astype(object))
    return None


def _begins_with_text(source: Any) -> bool:
    """Return whether the first entry of nested lists that is not a null is text."""
    for each in source:
        if isinstance(each, (list, tuple)):
            return _begins_with_text(each)
        if not is_missing(each):
            return isinstance(each, str)
    return False


def _codes_of_objects(array: Array) -> CodedText | None:
    """Return the codes of an array of objects, None unless they are text and nulls."""
    code_of: dict[Any, int] = {}
    codes = np.empty(array.size, np.int64)
    for i, value in enumerate(array.reshape(-1)):
        if isinstance(value, str):
            codes[i] = code_of.setdefault(value, len(code_of))
        elif is_missing(value):
            codes[i] = -1
        else:
            return None
    return CodedText(codes.reshape(array.shape), list(code_of)) if code_of else None


def _codes_of_arrow(source: Any) -> CodedText:
    """Return the codes of an Arrow column of text, in one chunk or several."""
    chunks = getattr(source, "chunks", [source])
    texts: list[str] = []
    parts = [np.empty(0, np.int64)]
    for chunk in chunks:
        coded = chunk if hasattr(chunk, "dictionary") else chunk.dictionary_encode()
        known = coded.dictionary.to_pylist()
        codes, missing = interop.arrow_numbers(coded.indices)
        codes = codes.astype(np.int64)
        absent = np.isin(codes, [code for code, text in enumerate(known) if text is None])
        if missing is not None:
            absent |= missing
        parts.append(np.where(absent, -1, codes + len(texts)))
        texts += ["" if text is None else text for text in known]
    return CodedText(np.concatenate(parts), texts)

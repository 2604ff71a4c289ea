"""Conversion of labels that are names of classes to the numbers of the classes."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from streamce._support.short_repr import quote_names
from streamce.errors import InputError
from streamce.inputs import arrays, interop
from streamce.inputs.arrays import Array, ArrayData

WHOLE = re.compile(r"(-?\d+)\.0*")  # a whole number with a decimal point


class CodedText(NamedTuple):
    """Labels as indices of texts, -1 for nulls. The texts need not be distinct."""

    codes: Array
    texts: Sequence[str]


class ClassNames:
    """The names of classes, in their order, and the rule by which text is one of them.

    A whole number such as 2.0 is the class 2, unless it is a class itself. Empty text is a null, unless it is a class.
    Other text that is no name is invalid. It gets the number ``unknown``, which is neither a class nor
    ``ignore_index``.

    Parameters
    ----------
    names : sequence of str
    ignore_index : int, optional
        The number of ignored labels. Its text is an ignored label, unless a class has this name.
    ignored : str, optional
        The text of ignored labels, in place of that of ``ignore_index``. No class has this name then.
    """

    def __init__(self, names: Sequence[str], ignore_index: int | None = None, *, ignored: str | None = None) -> None:
        self.names: tuple[str, ...] = tuple(names)
        self.unknown: int = -2 if ignore_index == -1 else -1
        self._numbers: dict[str, int] = {name: number for number, name in enumerate(names)}
        if ignore_index is not None and ignored is None:
            self._numbers.setdefault(str(ignore_index), ignore_index)
        elif ignore_index is not None and ignored is not None:
            self._numbers[ignored] = ignore_index

    @property
    def expected(self) -> str:
        """What a label must be, for errors."""
        return f"one of {quote_names(self.names)}"

    def encode(self, labels: CodedText) -> ArrayData:
        """Return labels as numbers. Nulls become a mask."""
        numbers = np.array([*map(self._number, labels.texts), 0], np.int64)  # the last is that of nulls
        null_mask = labels.codes < 0
        if "" in labels.texts and "" not in self._numbers:
            null_mask |= np.array([text == "" for text in labels.texts])[labels.codes]
        return ArrayData(numbers[labels.codes], False, null_mask if null_mask.any() else None)

    def _number(self, text: str) -> int:
        number = self._numbers.get(text)
        if number is None and (whole := WHOLE.fullmatch(text)):
            number = self._numbers.get(whole[1])
        return self.unknown if number is None else number

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
    parts: list[Array] = []
    for chunk in chunks:
        coded = chunk if hasattr(chunk, "dictionary") else chunk.dictionary_encode()
        known = coded.dictionary.to_pylist()
        codes, missing = interop.arrow_numbers(coded.indices)
        codes = np.add(codes, len(texts), dtype=np.int64)
        if None in known:
            codes[np.isin(codes - len(texts), [code for code, text in enumerate(known) if text is None])] = -1
        if missing is not None:
            codes[missing] = -1
        parts.append(codes)
        texts += ["" if text is None else text for text in known]
    return CodedText(parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.int64), *parts]), texts)

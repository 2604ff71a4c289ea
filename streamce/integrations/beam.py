"""Evaluates metrics of Beam collections, of rows or of tables.

Workers add elements to metrics, and Beam merges these anywhere, in any order. The workers need streamce too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from streamce._support import threads
from streamce._support.short_repr import short_repr
from streamce.errors import InputError, Location
from streamce.integrations import engines, record_tables

try:
    import apache_beam as beam
    from apache_beam.transforms.window import GlobalWindows
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        "streamce.integrations.beam needs Beam: pip install 'streamce[beam]'", name=_error.name
    ) from None

if TYPE_CHECKING:
    from typing import Unpack

    from streamce.metrics.update_from import Columns

ROWS_PER_UPDATE = 4096  # rows that become one table


@dataclass
class _Accumulator:
    """A metric, and rows that are not in it yet."""

    metric: Any
    rows: list[Mapping[str, Any]] = field(default_factory=list)


class MetricCombineFn(beam.CombineFn):
    """Combines elements into a metric, for ``CombineGlobally`` and ``CombinePerKey``.

    An element is a row (a dict, ``beam.Row`` or named tuple with all columns; None in it is a null) or a table (an
    Arrow table or record batch, or a data frame). The bytes of the metric are those of one ``update_from`` with all
    rows, however Beam bundles the elements.

    Parameters
    ----------
    metric : metric
        An empty metric, for its options. It is not changed. All metrics but ``Sliding`` over samples can be added.
        Without ``threads`` a worker uses one thread.
    preds, target, weight, by, by_time, cluster, n_words, n_bytes
        Columns, as for the metric's ``update_from``. No others are read.

    Raises
    ------
    InputError
        If the metric has samples, its states cannot be added, or it does not take these arguments. If an element is
        invalid, the pipeline fails with an error that ends with the text of an InputError, which shows a row.

    Examples
    --------
    >>> import apache_beam as beam, streamce as ce
    >>> from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    >>> from streamce.integrations.beam import MetricCombineFn
    >>> rows = [{"p": 0.9, "clicked": 1}, {"p": 0.2, "clicked": 0}, {"p": 0.6, "clicked": 1}]
    >>> loss = MetricCombineFn(ce.BinaryCrossEntropy(), preds="p", target="clicked")
    >>> with beam.Pipeline(runner=FnApiRunner()) as pipeline:
    ...     keyed = pipeline | beam.Create([("at", rows[0]), ("at", rows[1]), ("be", rows[2])])
    ...     printed = keyed | beam.CombinePerKey(loss) | beam.MapTuple(lambda key, metric: print(key, metric.compute()))
    at 0.16425203348601802
    be 0.5108256237659907
    """

    def __init__(self, metric: Any, **columns: Unpack[Columns]) -> None:
        self._metric, self._columns = metric, engines.columns(metric, **columns)

    def create_accumulator(self) -> _Accumulator:
        """Return an accumulator without samples."""
        return _Accumulator(self._metric._new())

    def add_input(self, mutable_accumulator: _Accumulator, element: Any) -> _Accumulator:
        """Add an element, at the latest with the next 4096 rows."""
        if record_tables.is_table(element):
            try:
                self._update(mutable_accumulator, element)
            except InputError as error:
                if not error.index:
                    raise
                row = _row(element, error.index[0])
                raise error.with_place(self._shown(row, row)) from None
        else:
            mutable_accumulator.rows.append(_record(element))
            if len(mutable_accumulator.rows) >= ROWS_PER_UPDATE:
                self.compact(mutable_accumulator)
        return mutable_accumulator

    def merge_accumulators(self, accumulators: Iterable[_Accumulator]) -> _Accumulator:
        """Return the sum of accumulators."""
        total = self.create_accumulator()
        for accumulator in accumulators:  # they must not be changed
            total.metric.merge(accumulator.metric)
            total.rows += accumulator.rows
            self.compact(total)
        return total

    def compact(self, accumulator: _Accumulator) -> _Accumulator:
        """Add the rows to the metric."""
        rows = accumulator.rows
        if rows:
            try:
                self._update(accumulator, record_tables.table(rows, self._columns))
            except InputError as error:
                if not error.index:
                    raise
                place = self._shown(rows[0], rows[error.index[0]])
                if isinstance(error.location, Location):
                    error = error.changed(location=error.location._replace(row=None))  # rows have no order
                raise error.with_place(place) from None
            accumulator.rows = []
        return accumulator

    def extract_output(self, accumulator: _Accumulator) -> Any:
        """Return the metric."""
        return self.compact(accumulator).metric

    def _update(self, accumulator: _Accumulator, table: Any) -> None:
        with threads.single_threaded():
            accumulator.metric.update_from(table, **self._columns)

    def _shown(self, first: Mapping[str, Any], row: Mapping[str, Any]) -> str:
        """Return a row as text, with the columns that the first row shows to be needed."""
        names = engines.wanted([name for name in first if isinstance(name, str)], self._columns)
        return f"element {short_repr({name: row[name] for name in names if name in row})}"


class Evaluate(beam.PTransform):
    """Turns a collection of rows or tables into one metric of all of them, or one of each window.

    Parameters
    ----------
    metric, preds, target, weight, by, by_time, cluster, n_words, n_bytes
        As for :class:`MetricCombineFn`, which lists elements and errors too.

    Notes
    -----
    Without elements, the result is an empty metric. A window without elements has no result.

    Examples
    --------
    >>> import apache_beam as beam, streamce as ce, streamce.integrations.beam
    >>> from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    >>> with beam.Pipeline(runner=FnApiRunner()) as pipeline:
    ...     rows = pipeline | beam.Create([beam.Row(p=0.9, clicked=1), beam.Row(p=0.2, clicked=0)])
    ...     loss = rows | ce.integrations.beam.Evaluate(ce.BinaryCrossEntropy(), preds="p", target="clicked")
    ...     printed = loss | beam.Map(lambda metric: print(metric.compute()))
    0.16425203348601802
    """

    def __init__(self, metric: Any, **columns: Unpack[Columns]) -> None:
        super().__init__()
        self._combine_fn = MetricCombineFn(metric, **columns)

    def expand(self, input_or_inputs: Any) -> Any:
        """Return the collection of the metric."""
        combine = beam.CombineGlobally(self._combine_fn)
        has_windows = input_or_inputs.windowing.windowfn != GlobalWindows()
        return input_or_inputs | (combine.without_defaults() if has_windows else combine)


def _record(element: Any) -> Mapping[str, Any]:
    """Return a row as a dict."""
    if isinstance(element, Mapping):
        return element
    if hasattr(element, "_asdict"):  # beam.Row and named tuples
        record: dict[str, Any] = element._asdict()
        return record
    raise InputError("element", f"is {short_repr(element)}", "a dict, a beam.Row, a named tuple or a table")


def _row(table: Any, number: int) -> Mapping[str, Any]:
    """Return a row of a table."""
    import pyarrow as pa

    row: dict[str, Any] = pa.table(table).slice(number, 1).to_pylist()[0]
    return row

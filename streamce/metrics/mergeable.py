"""Defines the base class of objects that can be added, subtracted, saved and loaded.

It knows nothing of losses.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

from streamce._support import atomic_file, state_format
from streamce._support.html_repr import HtmlRepr, renderer
from streamce.core.kernels.kernels import in_default_mode
from streamce.errors import InputError
from streamce.metrics.summable import SummableState

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

    from streamce.core.samples.routes import Routes


class MergeableState(SummableState, HtmlRepr):
    """Base of the classes whose objects hold options and a state that is an element of a commutative group.

    Objects with equal options can be added in any order, with the same bits. An added object can be subtracted again.

    Upper layers use these private attributes, and no others (``tests/test_architecture.py`` checks it):

    * ``_state``: the integers, with ``merge(other, sign)``, ``copy()`` and ``parts()``, which returns bytes by name;
    * ``_new()``: an empty object with all options of this one;
    * ``_header()``: the class and the options that change a loss, as the bytes hold them;
    * ``_from_options(options, restore_inner)``: an empty object with the options of a header;
    * ``_check_compatible(header)``: raise InputError unless objects with this header have the same losses;
    * ``_restore(payload, data)``: replace the state by that of ``data``, whose payload was decoded;
    * ``_split(routes, ...)``: the states of a batch, one for each code of ``routes``;
    * ``_changes_of(other)``: calls that add another object, which can be made together with others;
    * ``_layer``, ``_is_addable``, ``_has_only_mean``, ``_has_cell``, ``_inner()``: what a wrapper must know of it;
    * ``_center(state)``, ``_uncertainty(state)``, ``_summarise(state, ...)``, ``_unit``: the value by which two models
      are compared (a mean, or a normalized entropy), how precisely it is known, the summary with it, and its unit;
    * ``_outcomes_of_pairs(...)``: what else a comparison of normalized entropies keeps;
    * ``_score()``, ``_n_samples()``: the number by which groups are ranked and averaged, and the number of samples;
    * ``_sizes()``, of groups: the number of samples of each, by key;
    * ``_current()``: the metric of the samples that count now;
    * ``_members()``: the metrics by name, of a collection and of groups of one;
    * those of ``SummableState``;
    * ``_headline(found)``: the part of a summary that has the value, its interval and counts;
    * ``_caption()``: the name of the metric in words, with the samples that it covers;
    * ``_sections()``: the names of the sections that show the state.
    """

    __slots__ = ()
    __hash__: ClassVar[None] = None  # type: ignore[assignment]  # states change
    _title: ClassVar[str] = ""
    _layer: ClassVar[int] = 0  # see streamce/wrappers/composition.py
    _has_cell: ClassVar[bool] = False  # whether the state of one mean is the first cell of a `State`
    _unit: ClassVar[str] = "nats"  # of the value by which two models are compared
    _has_only_mean = False  # whether the options ask for no other sum

    # ---- methods that a subclass defines ----

    @abstractmethod
    def _init_kwargs(self) -> dict[str, Any]:
        """Return the arguments that make a new object with all options of this one."""

    @abstractmethod
    def _loss_options(self) -> dict[str, Any]:
        """Return the options that change a loss, as the bytes hold them."""

    @classmethod
    @abstractmethod
    def _from_options(cls, options: dict[str, Any], restore_inner: Callable[[state_format.Header], Any]) -> Self:
        """Return an empty object with these options. ``restore_inner`` turns a header among them into a metric."""

    @property
    @abstractmethod
    def options(self) -> dict[str, Any]:
        """All options, as values of Python."""

    def _caption(self) -> str:
        """Return the name of the metric in words, with the samples that it covers."""
        return self._title or type(self).__name__

    def _sections(self) -> tuple[str, ...]:
        """Return the names of the sections that show the state, in their order.

        The report, the command line and the Prometheus collector have functions for sections. The section ``current``
        stands for those of ``_current()``, and ``members`` for those of each of ``_members()``.
        """
        return ("summary",)

    def _keys_taken(self) -> frozenset[str]:
        """Return the arguments of ``update`` that hold keys or timestamps."""
        return frozenset()

    def _inner(self) -> tuple[MergeableState, ...]:
        """Return the metrics that this one holds for their options."""
        return ()

    @abstractmethod
    def _split(self, routes: Routes, *inputs: Any, **named: Any) -> list[Any]:
        """Return the states of a batch, one for each code of ``routes``."""

    def _new(self) -> Self:
        return type(self)(**self._init_kwargs())

    def _current(self) -> Any:
        """Return the metric of the samples that count now, with their weights of now: self, unless it is a window."""
        return self

    def _score(self) -> float:
        """Return the number by which groups are ranked and averaged: the value, or the mean loss that it grows with."""
        score: float = self.compute()  # type: ignore[attr-defined]
        return score

    def _n_samples(self) -> int:
        """Return the number of samples that count."""
        number: int = self.summary().samples  # type: ignore[attr-defined]
        return number

    def _headline(self, found: Any) -> Any:
        """Return the part of a result of ``summary()`` that has the value, its interval and counts."""
        return found

    # ---- addition ----

    def _header(self) -> state_format.Header:
        return {"metric": type(self).__name__, "options": self._loss_options()}

    def _check_compatible(self, header: state_format.Header) -> None:
        """Raise InputError unless objects with this header have the same losses."""
        name, ours, theirs = type(self).__name__, self._loss_options(), header["options"]
        if header["metric"] != name:
            expected = "two metrics of one class"
            found = f"a {name} and a {header['metric']} cannot be added: expected {expected}"
            raise InputError("other", found, expected, location="")
        for option in {**ours, **theirs}:  # in this order, because the kind comes first and other options depend on it
            absent = None if option == "classes" else False  # omitted if it is off
            one, other = ours.get(option, absent), theirs.get(option, absent)
            if one != other:
                texts = [self._option_text(option, value) for value in (one, other)]
                found = f"is {texts[0]} in one metric and {texts[1]} in the other: their losses cannot be added"
                raise InputError(option, found)

    def _option_text(self, option: str, value: Any) -> str:
        """Return the value of an option in a header as text for an error."""
        return repr(value)

    def _merge(self, other: Any, sign: int) -> Self:
        mergeable = isinstance(other, MergeableState)
        self._check_compatible(other._header() if mergeable else {"metric": type(other).__name__, "options": {}})
        try:
            self._state.merge(other._state, sign)
        except InputError:
            raise
        except ValueError as error:
            raise InputError("other", str(error), location="") from None
        return self

    def _changes_of(self, other: Any) -> list[Callable[[], Any]]:
        """Return calls that add another object of the same options, which gives up its state. They cannot fail."""
        state = self._state.copy()
        state.merge(other._state)
        return [partial(setattr, self, "_state", state)]

    def merge(self, *others: Self) -> Self:
        """Add the states of ``others`` to this one, in place, and return it.

        Raises
        ------
        InputError
            If a metric has another class or other options. Nothing is added then.

        Examples
        --------
        >>> import streamce as ce
        >>> ce.MeanLoss().update([1.0]).merge(ce.MeanLoss().update([2.0]), ce.MeanLoss().update([6.0])).compute()
        3.0
        """
        sum_of_others = self._new()
        for other in others:
            sum_of_others._merge(other, 1)
        return self._merge(sum_of_others, 1)  # once, so that an error adds none of them

    def reset(self) -> Self:
        """Remove all samples, and return the metric. Its options stay."""
        self._state = self._new()._state
        return self

    def copy(self) -> Self:
        """Return a metric with the same options and a copy of the state."""
        new = self._new()
        new._state = self._state.copy()
        return new

    __copy__ = copy

    def __deepcopy__(self, memo: Any) -> Self:
        return self.copy()

    def __add__(self, other: Any) -> Self:
        return self.copy()._merge(other, 1) if isinstance(other, MergeableState) else NotImplemented

    def __radd__(self, other: Any) -> Self:
        # sum() starts with 0.
        return self.copy() if isinstance(other, int) and other == 0 else NotImplemented

    def __sub__(self, other: Any) -> Self:
        return self.copy()._merge(other, -1) if isinstance(other, MergeableState) else NotImplemented

    def __iadd__(self, other: Any) -> Self:
        return self._merge(other, 1) if isinstance(other, MergeableState) else NotImplemented

    def __isub__(self, other: Any) -> Self:
        return self._merge(other, -1) if isinstance(other, MergeableState) else NotImplemented

    def __eq__(self, other: object) -> bool:
        """Compare the states: the options that change a loss, and the integers."""
        return self.to_bytes() == other.to_bytes() if isinstance(other, MergeableState) else NotImplemented

    # ---- bytes and files ----

    def to_bytes(self) -> bytes:
        """Return the state as bytes, in the format of docs/FORMAT.md. Equal states have equal bytes.

        Examples
        --------
        >>> import streamce as ce
        >>> a, b = ce.MeanLoss().update([1.0]), ce.MeanLoss().update([2.0])
        >>> (a + b).to_bytes() == (b + a).to_bytes()
        True
        """
        return state_format.encode(self._header(), self._state.parts())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state to a file, atomically. :func:`streamce.load` reads it.

        Raises
        ------
        OSError
            If the file cannot be written. An existing file is then unchanged.

        Examples
        --------
        >>> import tempfile, streamce as ce
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ce.MeanLoss().update([1.0, 2.0]).save(folder + "/monday.state")
        ...     ce.load(folder + "/monday.state").compute()
        1.5
        """
        atomic_file.write(path, self.to_bytes())

    def report(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        title: str | None = None,
        level: float = 0.95,
        anytime: bool = False,
        names: Iterable[str] = (),
        min_samples: int | None = None,
        fdr: float = 0.05,
    ) -> str:
        """Return a self-contained HTML page that shows the state in pictures and tables.

        The page has no scripts and loads nothing. It takes some tens of kilobytes for any size of data: with many
        groups it shows the worst, the best and the distribution, and it sums a long history over longer periods. Equal
        states have equal pages.

        Parameters
        ----------
        path : str or path, optional
            The file to write the page to, atomically.
        title : str, optional
            The heading. The default describes the metric.
        level, anytime
            The level and kind of the intervals; see ``summary()``.
        names : strings, optional
            The names of the classes or labels, in their order, if the metric keeps sums by class or label.
        min_samples : int, optional
            Leave out groups with fewer samples. The default is 0 for rankings, and that of :meth:`Grouped.discoveries`.
        fdr : float
            The false discovery rate for groups of :class:`Paired`; see :meth:`Grouped.discoveries`.

        Returns
        -------
        str
            The page.

        Raises
        ------
        InputError
            If ``level`` or ``fdr`` is not between 0 and 1, or the number of ``names`` is not that of the classes or
            labels. If more was subtracted from a state than had been added, no error is raised, and its page says so.
        OSError
            If the file cannot be written.

        Examples
        --------
        >>> import tempfile, streamce as ce
        >>> metric = ce.BinaryCrossEntropy().update([0.9, 0.2, 0.6], [1, 0, 1])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     page = metric.report(folder + "/report.html", title="Monday")
        >>> "<h1>Monday</h1>" in page
        True
        """
        page = renderer().page(
            self, title=title, level=level, anytime=anytime, names=names, min_samples=min_samples, fdr=fdr
        )
        if path is not None:
            atomic_file.write(path, page.encode())
        return page

    def state_dict(self) -> dict[str, Any]:
        """Return the state in a dict, for the checkpoints of a training loop.

        Examples
        --------
        >>> import streamce as ce
        >>> saved = ce.MeanLoss().update([1.0, 2.0]).state_dict()
        >>> resumed = ce.MeanLoss()
        >>> resumed.load_state_dict(saved)
        >>> resumed.compute()
        1.5
        """
        return {"state": self.to_bytes()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Replace the state by the one that ``state_dict()`` of a metric with the same options returned.

        Raises
        ------
        InputError
            If the state is damaged, or belongs to another class or other options. The old state stays then.
        """
        if not isinstance(state_dict, dict) or "state" not in state_dict:
            raise InputError("state_dict", "has no key 'state'", "the result of state_dict()")
        header, payload = state_format.decode(state_dict["state"])
        try:
            self._check_compatible(header)
        except (AttributeError, LookupError, TypeError) as error:  # a header that no metric writes
            raise InputError("state", f"is intact but not understood: {error}") from None
        new = self._new()
        new._restore(payload, state_dict["state"])
        self._state = new._state

    def _restore(self, payload: dict[str, bytes], data: Any) -> None:
        """Replace the state by that of ``data``, which must be canonical. ``payload`` is its decoded content."""
        with state_format.decoding_errors():
            self._load_payload(payload)
            if self.to_bytes() != bytes(memoryview(data).cast("B")):
                raise ValueError("it is not in the canonical form")

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (type(self), self._init_kwargs(), self.to_bytes())

    def __repr__(self) -> str:
        defaults = {name: p.default for name, p in inspect.signature(type(self)).parameters.items()}
        changed = [f"{name}={value!r}" for name, value in self.options.items() if value != defaults[name]]
        return f"{type(self).__name__}({', '.join(changed)})"


@in_default_mode
def _unpickle(cls: type[MergeableState], arguments: dict[str, Any], data: bytes) -> MergeableState:
    new = cls(**arguments)
    new._restore(state_format.decode(data)[1], data)
    return new

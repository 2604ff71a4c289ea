"""Defines the cross-entropy of a stream of sequences, for language models, translation and speech."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self

import numpy as np

from streamce.core.kernels.kernels import in_default_mode
from streamce.core.ledger.state import State
from streamce.core.losses.batch import Batch, Outputs
from streamce.core.losses.loss_spec import Breakdowns, LossSpec
from streamce.core.pipeline.pipeline import Pipeline
from streamce.core.samples.status import COUNTED, INVALID_WEIGHT, NULL_INPUT
from streamce.errors import InputError
from streamce.inputs import arrays, loss_errors
from streamce.keys.cluster_buckets import hash_clusters
from streamce.metrics import sequence_layout
from streamce.metrics.base import Metric, null_status
from streamce.metrics.options import EPS, LOG_OF_BASE, check_base, check_name, flag
from streamce.metrics.torch_device import TorchDeviceLosses

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streamce.inputs.arrays import Array
    from streamce.metrics.options import Check
    from streamce.stats.summary import Summary

# The numbers of the other ratios in a state. Number 0 is the mean loss.
WORDS, BYTES = 1, 2


class SequenceBatch(NamedTuple):
    """The arguments of an update.

    With a ``base``, ``preds`` holds the log-probabilities of the tokens, in this base. ``null`` is the mask of the
    tokens in which an input is null. ``row_weights`` says that each weight is that of a sequence.
    """

    preds: Any
    target: Any
    weight: Any = None
    lengths: Any = None
    mask: Any = None
    offsets: Any = None
    n_words: Any = None
    n_bytes: Any = None
    base: float | None = None
    null: Any = None
    row_weights: bool = False


class SequenceCrossEntropy(Metric):
    """Running cross-entropy, in nats, of sequences of tokens of any lengths.

    The loss of a token is ``-log p``, smoothed and weighted by class as in :class:`MulticlassCrossEntropy`. A sequence
    is a sample. With t the tokens of the sequence that count, it adds

        n = Σ_t weight · loss_t,    d = Σ_t weight        (per="token")
                                    d = weight            (per="sequence")

    and the mean is Σn / Σd. It does not depend on how tokens are batched, padded or split.

    Parameters
    ----------
    kind : {"probs", "log_probs", "logits"}
        The content of ``preds``. Logits go through a softmax.
    ignore_index : int, optional
        Tokens with this value are ignored. None ignores no token.
    per : {"token", "sequence"}
        The unit of the mean.
    label_smoothing : float
        Between 0 and 1.
    class_weight : sequence of float, optional
        One per token of the vocabulary.
    eps : float
        The floor of the probabilities that count. 0 keeps infinite losses. Logits need no floor.
    invalid : {"raise", "skip"}
        Raise an error for invalid tokens, or count them by cause and continue.
    threads : int, optional
        Threads for large batches; see :func:`streamce.set_num_threads`.
    per_position : bool
        Keep sums by the position in the sequence for :meth:`per_position`.
    tail : bool
        Count losses by their size for :meth:`tail`: quantiles, and the share that the worst losses carry.

    Notes
    -----
    Standard errors assume that the tokens of a sequence are correlated and that sequences are independent. If sequences
    are parts of documents, give the document as ``cluster``.

    An empty sequence adds nothing but its words and bytes.

    With ``invalid="skip"`` the mean is that of the valid tokens. A sequence with an invalid token adds nothing to
    :meth:`per_word` and :meth:`per_byte`, because the words and bytes of its valid tokens are not known.

    Tokens beyond the length of a sequence are padding. They are not counted, so states of padded and of flat tokens are
    equal. Tokens that ``ignore_index`` or ``mask`` excludes are counted as ignored.

    Examples
    --------
    Two sequences of 3 and 2 tokens, first padded and then flat:

    >>> import numpy as np, streamce as ce
    >>> logits, tokens = np.zeros((2, 3, 8)), np.array([[1, 5, 2], [7, 0, 0]])
    >>> metric = ce.SequenceCrossEntropy(kind="logits").update(logits, tokens, lengths=[3, 2])
    >>> metric.compute(), metric.summary().count
    (2.0794415..., 5)
    >>> flat = np.zeros((5, 8)), np.array([1, 5, 2, 7, 0])
    >>> metric == ce.SequenceCrossEntropy(kind="logits").update(*flat, offsets=[0, 3, 5])
    True
    """

    _task = "sequence"
    _own_checks: ClassVar[Mapping[str, Check]] = {
        "per": partial(check_name, ("token", "sequence")),
        "per_position": flag,
    }
    _title = "Cross-entropy of sequences"
    __slots__ = ("_token_pipeline",)

    def __init__(
        self,
        *,
        kind: Literal["probs", "log_probs", "logits"] = "probs",
        ignore_index: int | None = -100,
        per: Literal["token", "sequence"] = "token",
        label_smoothing: float = 0.0,
        class_weight: Sequence[float] | None = None,
        eps: float = EPS,
        invalid: Literal["raise", "skip"] = "raise",
        threads: int | None = None,
        per_position: bool = False,
        tail: bool = False,
    ) -> None:
        super().__init__(
            {name: value for name, value in locals().items() if name != "__class__"}, per_cell=per_position
        )

    def _build_pipeline(self, options: dict[str, Any], per_cell: bool) -> Pipeline:
        floor = 0.0 if options["kind"] == "logits" else options["eps"]
        spec = LossSpec(
            "multiclass",
            options["kind"],
            smoothing=options["label_smoothing"],
            ignore_index=options["ignore_index"],
            class_weight=options["class_weight"],
            floor=floor,
        )
        breakdowns = Breakdowns(
            per_cell=per_cell,
            by_position=per_cell,
            sequence_mean=options["per"] == "sequence",
            tail=options["tail"],
        )
        skips, threads = options["invalid"] == "skip", options["threads"]
        # The loss of a token is that of a binary outcome 1 with the log-probability of the token.
        of_token = LossSpec("binary", "log_probs", floor=floor)
        self._token_pipeline = Pipeline(of_token, breakdowns, skips=skips, threads=threads, name="log_probs")
        device_losses = partial(TorchDeviceLosses, "multiclass", options)
        return Pipeline(spec, breakdowns, skips=skips, threads=threads, device_losses=device_losses)

    # ---- adding ----

    def update(
        self,
        preds: Any,
        target: Any,
        *,
        lengths: Any = None,
        mask: Any = None,
        offsets: Any = None,
        weight: Any = None,
        n_words: Any = None,
        n_bytes: Any = None,
        cluster: Any = None,
    ) -> Self:
        """Add a batch of sequences.

        Parameters
        ----------
        preds : array of float64, float32, float16 or bfloat16
            Shape (B, T, V): sequences, positions, vocabulary. With ``offsets``, shape (N, V): the tokens of all
            sequences, concatenated. For a causal model see :func:`streamce.shift_by_one`.
        target : array of integers, or of real numbers in [0, 1]
            Tokens, shape (B, T) or (N,); or soft targets with the shape of ``preds``.
        lengths : array of integers, optional
            The number of tokens of each sequence, shape (B,), 0 to T. Later positions are not read.
        mask : array of bool, or of integers 0 and 1, optional
            Which tokens count, with the shape of the tokens.
        offsets : array of integers, optional
            Where each of B flat sequences begins, and where the last one ends: shape (B + 1,), from 0 to N.
        weight : array, optional
            One per sequence or, with ``per="token"``, one per token; finite and at least 0.
        n_words, n_bytes : array of integers, optional
            Words and bytes of the text that is scored, shape (B,), for :meth:`per_word` and :meth:`per_byte`: the text
            of each sequence without the tokens that are padding or ignored.
        cluster : array, or tuple of arrays, optional
            The document or speaker of each sequence: integers, strings or any other keys. Standard errors are then
            robust to correlated sequences of one cluster. Give it in all updates or in none.

        Raises
        ------
        InputError
            If the input is invalid. The error names the sequence, and nothing is added. Wrong shapes and lengths raise
            even with ``invalid="skip"``.

        Examples
        --------
        >>> import streamce as ce
        >>> metric = ce.SequenceCrossEntropy()
        >>> metric.update([[[0.5, 0.5], [0.25, 0.75]]], [[0, 1]], mask=[[1, 1]], n_bytes=[7]).per_byte().bits
        0.20214...
        """
        batch = SequenceBatch(preds, target, weight, lengths, mask, offsets, n_words, n_bytes)
        self._add(self._state, batch, cluster)
        return self

    def update_token_log_probs(
        self,
        log_probs: Any,
        *,
        lengths: Any = None,
        mask: Any = None,
        offsets: Any = None,
        weight: Any = None,
        n_words: Any = None,
        n_bytes: Any = None,
        cluster: Any = None,
        base: float = math.e,
    ) -> Self:
        """Add sequences from the log-probabilities of their tokens, as an API returns them.

        Parameters
        ----------
        log_probs : array of float64, float32, float16 or bfloat16
            log p of each token, at most 0: shape (B, T), or with ``offsets`` (N,).
        lengths, mask, offsets, weight, n_words, n_bytes, cluster
            As for :meth:`update`.
        base : {2, 10, math.e}
            The base of the logarithms: 10 for KenLM and SRILM, 2 for fairseq. In base 2 or 10, each number is
            multiplied by the float64 nearest to log(base). The result is within 2^-52 of the exact product, relative to
            it.

        Raises
        ------
        InputError
            As for :meth:`update`; if ``base`` is another number; or if the metric has ``label_smoothing`` or
            ``class_weight``, which need the probabilities of other tokens.

        Examples
        --------
        >>> import streamce as ce
        >>> ce.Perplexity().update_token_log_probs([-0.5, -1.5, -0.1], offsets=[0, 2, 3]).compute()
        2.01375...
        >>> ce.SequenceCrossEntropy().update_token_log_probs([[-1.0, -2.0]], base=10).compute()
        3.45387...
        """
        batch = SequenceBatch(
            log_probs, None, weight, lengths, mask, offsets, n_words, n_bytes, check_base("base", base)
        )
        self._add(self._state, batch, cluster)
        return self

    def _run(
        self,
        state: State,
        preds: Any,
        target: Any = None,
        *,
        cluster: Any = None,
        outputs: Outputs | None = None,
        **others: Any,
    ) -> None:
        self._add(state, SequenceBatch(preds, target, **others), cluster, outputs)

    @in_default_mode
    def _add(self, state: State, sequences: SequenceBatch, cluster: Any, outputs: Outputs | None = None) -> None:
        """Add a batch to a state, and fill the outputs."""
        for option in ("label_smoothing", "class_weight"):
            if sequences.base is not None and self._options[option]:
                value = self.options[option]
                raise InputError(option, f"is {value!r}", "none with log-probabilities of tokens", value=value)
        pipeline, name = (self._pipeline, "preds") if sequences.base is None else (self._token_pipeline, "log_probs")
        weight = arrays.materialize(sequences.weight, "weight")
        with sequence_layout.ragged_hint("give the tokens of all sequences in one list, and offsets="):
            target = arrays.materialize(sequences.target, "target") if sequences.base is None else None
            given, tokens = arrays.convert_with_shape(sequences.preds, name)
        if sequences.base is None:
            preds, tokens = given, tokens[:-1]
        else:
            preds, target = natural_logarithms(given, sequences.base), np.broadcast_to(np.uint8(1), tokens)
        found = sequence_layout.layout(name, tokens, sequences.lengths, sequences.mask, sequences.offsets)
        weights, statuses = self._sequence_weights(sequences, weight, found)
        ratios = []
        for ratio, argument, source in ((WORDS, "n_words", sequences.n_words), (BYTES, "n_bytes", sequences.n_bytes)):
            if source is not None:
                counts = sequence_layout.counts(argument, source, found.sequences)
                with np.errstate(invalid="ignore"):  # inf · 0: a weight of inf is invalid, so this is not used
                    denominators = counts.astype(np.float64) if weights is None else counts * weights
                ratios.append((ratio, denominators, statuses))
        batch = Batch(
            preds,
            target,
            weight,
            status=found.status if sequences.null is None else null_status(sequences.null),
            offsets=found.offsets,
            ratios=tuple(ratios),
            weight_per_sample=weights is not None,
        )
        try:
            pipeline.update_batch(state, batch, outputs, hash_clusters(cluster))
        except InputError as error:
            if preds is given or error.argument != name or not isinstance(error.value, float) or error.index is None:
                raise
            value = arrays.bfloat16_to_float32(*arrays.to_numpy(given, name))[error.index].item()
            raise error.changed(found=f"is {value!r}", value=value) from None

    def _sequence_weights(
        self, sequences: SequenceBatch, weight: Any, found: sequence_layout.Layout
    ) -> tuple[Any, Array | None]:
        """Return the weight of each sequence, and a status for each if an empty one has an invalid weight.

        The weights are None if none are given or needed. Words and bytes are multiplied by them. The core reads no
        weight of an empty sequence, so it is checked here.
        """
        has_text = sequences.n_words is not None or sequences.n_bytes is not None
        if weight is None or not (has_text or found.is_empty.any()):
            return None, None
        given = arrays.convert(weight, "weight")
        values = arrays.bfloat16_to_float32(given.values, given.is_bfloat16)
        if values.shape != (found.sequences,):
            if not has_text:
                return None, None
            expected = f"one per sequence, shape {(found.sequences,)}, with n_words or n_bytes"
            raise InputError("weight", f"has shape {values.shape}", expected, value=values.shape)
        weights = values.astype(np.float64)
        if not found.is_empty.any():
            return weights, None
        fits_tokens = found.offsets is not None and found.offsets[-1] == found.sequences
        if fits_tokens and self._options["per"] == "token" and not has_text and not sequences.row_weights:
            both = f"has shape {values.shape}, and there are as many sequences as tokens, with empty ones"
            raise InputError("weight", both, "padded tokens and lengths, which tell them apart")
        null_mask = np.zeros(weights.shape, np.bool_) if given.null_mask is None else given.null_mask
        wrong = found.is_empty & (null_mask | ~((weights >= 0) & (weights < np.inf)))
        if not wrong.any():
            return weights, None
        if self._options["invalid"] == "raise":
            i = int(np.argmax(wrong))
            if null_mask[i]:
                raise arrays.null_entry("weight", (i,))
            raise loss_errors.sequence_weight(i, weights[i].item(), "invalid_weight")
        return weights, np.where(wrong, np.where(null_mask, NULL_INPUT, INVALID_WEIGHT), COUNTED).astype(np.uint8)

    @property
    def _ratios(self) -> int:
        return 1 + BYTES

    def _sections(self) -> tuple[str, ...]:
        summary, *others = super()._sections()
        return (summary, "text", *others)

    # ---- reading ----

    def per_word(self, level: float = 0.95, anytime: bool = False) -> Summary:
        """Return the summary per word: the mean, bits and perplexity of a word.

        It covers the sequences that were added with ``n_words``, and whose tokens are all valid. The mean is
        Σn / (Σ weight · words) over these sequences, so it compares models with different tokens.

        A sequence with an invalid token is left out. ``skipped`` counts it once, and so does the ``invalid_*`` counter
        of the cause of its first invalid token. In :meth:`summary` these counters are of tokens.

        Examples
        --------
        >>> import streamce as ce
        >>> metric = ce.Perplexity().update_token_log_probs([[-1.0, -2.0, -3.0]], n_words=[2])
        >>> metric.per_word().mean, metric.per_word().value
        (3.0, 20.08553...)

        The first of two sequences has a token that is skipped:

        >>> metric = ce.Perplexity(invalid="skip")
        >>> metric = metric.update_token_log_probs([[-1.0, None], [-1.0, -2.0]], n_words=[1, 2])
        >>> metric.per_word().mean, metric.per_word().skipped, metric.summary().count
        (1.5, 1, 3)
        """
        return self._ratio(WORDS, level, anytime)

    def per_byte(self, level: float = 0.95, anytime: bool = False) -> Summary:
        """Return the summary per byte: the mean, bits and perplexity of a byte.

        It covers the sequences that were added with ``n_bytes``, and whose tokens are all valid; see :meth:`per_word`.

        Examples
        --------
        >>> import streamce as ce
        >>> metric = ce.SequenceCrossEntropy().update_token_log_probs([[-1.0, -2.0, -3.0]], n_bytes=[12])
        >>> metric.per_byte().mean
        0.5
        """
        return self._ratio(BYTES, level, anytime)

    def per_position(self, level: float = 0.95, anytime: bool = False) -> np.ndarray[Any, np.dtype[np.object_]]:
        """Return the summaries of the first, second, ... tokens of all sequences, an array of :class:`Summary`.

        Positions are counted from the start of the row or, with ``offsets``, of the sequence. Each token is a sample.

        Raises
        ------
        InputError
            If the metric was not created with ``per_position=True``.

        Examples
        --------
        >>> import streamce as ce
        >>> metric = ce.SequenceCrossEntropy(per_position=True)
        >>> metric = metric.update_token_log_probs([-3.0, -1.0, -2.0], offsets=[0, 2, 3])
        >>> [summary.mean for summary in metric.per_position()]
        [2.5, 1.0]
        """
        if not self._options["per_position"]:
            raise InputError("per_position", "is False", "a metric created with per_position=True")
        return self._summaries(level, anytime)

    def _n_cells(self, cells: Any, columns: dict[str, dict[int, int]]) -> int:
        return n_positions(columns)

    def _quanta(self) -> dict[str, int]:
        return super()._quanta() | {"cells": 1}

    def _load_payload(self, payload: dict[str, bytes]) -> None:
        state = State.from_parts(payload, ratios=self._ratios, growing=True)
        if state.cells is not None and not self._options["per_position"]:
            raise ValueError("it has sums by position, and its options do not ask for them")
        self._replace_state(state)


def natural_logarithms(log_probs: Any, base: float) -> Any:
    """Return log-probabilities in a base as natural ones, in float64; unchanged if they are."""
    data = arrays.convert(log_probs, "log_probs")
    if base == math.e or not (data.is_bfloat16 or data.values.dtype.kind == "f"):
        return log_probs  # the pipeline raises an error about integers
    values = arrays.bfloat16_to_float32(data.values, data.is_bfloat16).astype(np.float64) * LOG_OF_BASE[base]
    return values if data.null_mask is None else arrays.ArrayData(values, False, data.null_mask)


def n_positions(columns: dict[str, dict[int, int]]) -> int:
    """Return the number of positions up to the last one that is not empty. ``columns`` are those of the cells."""
    return 1 + max(map(max, columns.values()))

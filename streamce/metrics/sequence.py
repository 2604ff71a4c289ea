"""Cross-entropy of a stream of sequences: language models, translation, speech."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from streamce.core.kernels.kernels import in_default_mode
from streamce.core.ledger.state import State
from streamce.core.losses.batch import Batch, Outputs
from streamce.core.losses.loss_spec import Breakdowns, LossSpec
from streamce.core.pipeline.pipeline import Pipeline
from streamce.core.samples.samples import Samples
from streamce.errors import InputError
from streamce.inputs import arrays
from streamce.keys.key_columns import bucket_of
from streamce.metrics import sequence_layout
from streamce.metrics.base import Metric, settled
from streamce.metrics.options import EPS
from streamce.metrics.torch_device import Elsewhere

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamce.stats.summary import Summary

# The ratios that a state holds beside the first: losses over words, and over bytes.
WORDS, BYTES = 1, 2


class SequenceCrossEntropy(Metric):
    """Running cross-entropy of sequences of tokens, in nats, of any lengths.

    A token's loss is ``-log p`` of it, p smoothed and weighted by class as in :class:`MulticlassCrossEntropy`.
    A sequence is a sample: for its tokens t that count, it adds

        n = Σ_t weight · loss_t,    d = Σ_t weight        (per="token")
                                    d = weight            (per="sequence")

    and the mean is Σn / Σd: each token counts the same however they are batched, padded or cut.

    Parameters
    ----------
    kind : {"probs", "log_probs", "logits"}
        What ``preds`` holds; logits go through a softmax.
    ignore_index : int, optional
        Tokens of this value are left out; None for none.
    per : {"token", "sequence"}
        What the mean is taken over.
    label_smoothing : float
        Between 0 and 1.
    class_weight : sequence of float, optional
        One per token of the vocabulary.
    eps : float
        Floor of a probability that counts; 0 keeps the honest infinity. Logits need none.
    invalid : {"raise", "skip"}
        What to do with invalid tokens: raise, or count them by cause and go on.
    threads : int, optional
        Threads for large chunks; see :func:`streamce.set_num_threads`.
    per_position : bool
        Keep sums by the place in the sequence for :meth:`per_position`.
    tail : bool
        Count losses by their size for :meth:`tail`: quantiles, and what the worst of them carry.

    Notes
    -----
    Errors take the tokens of a sequence for alike, and sequences for independent; where sequences are parts of
    documents, give the document as ``cluster``.

    Tokens beyond a sequence's length are not there: they are counted nowhere, and states of padded and of flat tokens
    are the same. Tokens that ``ignore_index`` or ``mask`` leaves out are counted as ignored.

    Examples
    --------
    Two sequences, of 3 and of 2 tokens, padded; then the same flat.

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
    _units: ClassVar[tuple[str, ...]] = ("token", "sequence")
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

    def _path(self, options: dict[str, Any], per_cell: bool) -> Pipeline:
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
        # The log-probability of a token is that of an outcome which came true.
        of_token = LossSpec("binary", "log_probs", floor=floor)
        self._token_pipeline = Pipeline(of_token, breakdowns, skips=skips, threads=threads, name="log_probs")
        device_losses = partial(Elsewhere, "multiclass", options)
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
        """Add a chunk of sequences.

        Parameters
        ----------
        preds : array of float64, float32, float16 or bfloat16
            Shape (B, T, V): sequences, places, vocabulary; or with ``offsets`` (N, V), the tokens of all sequences
            one after another. For a causal model see :func:`streamce.shift_by_one`.
        target : array of integers, or of real numbers in [0, 1]
            Tokens, shape (B, T) or (N,); or soft targets of the shape of ``preds``.
        lengths : array of integers, optional
            Tokens of each sequence, shape (B,), 1 to T; what is beyond is not looked at.
        mask : array of bool, or of integers 0 and 1, optional
            Which tokens count, of the shape of the tokens.
        offsets : array of integers, optional
            Where each of B flat sequences begins, and the last one ends: shape (B + 1,), from 0 to N.
        weight : array, optional
            One per sequence, or (per="token") one per token; finite and 0 or more.
        n_words, n_bytes : array of integers, optional
            Words and bytes of the text of each sequence, shape (B,), for :meth:`per_word` and :meth:`per_byte`.
        cluster : array, or tuple of arrays, optional
            Which document or speaker each sequence belongs to: integers, strings or any other keys. Errors
            are then robust to sequences of one cluster being alike. In all updates, or none.

        Raises
        ------
        InputError
            For input without meaning, which names the sequence; nothing was added then. Shapes, lengths and empty
            sequences raise whatever ``invalid`` says. Sequences of which all tokens are ignored are fine.

        Examples
        --------
        >>> import streamce as ce
        >>> metric = ce.SequenceCrossEntropy()
        >>> metric.update([[[0.5, 0.5], [0.25, 0.75]]], [[0, 1]], mask=[[1, 1]], n_bytes=[7]).per_byte().bits
        0.20214...
        """
        self._feed(self._state, preds, target, False, lengths, mask, offsets, weight, n_words, n_bytes, cluster)
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
    ) -> Self:
        """Add sequences of which the log-probabilities of the tokens alone are known, as an API returns them.

        Parameters
        ----------
        log_probs : array of float64, float32, float16 or bfloat16
            log p of each token, 0 or less: shape (B, T), or with ``offsets`` (N,).
        lengths, mask, offsets, weight, n_words, n_bytes, cluster
            As for :meth:`update`.

        Raises
        ------
        InputError
            As for :meth:`update`; or if label_smoothing or class_weight ask for what is not there.

        Examples
        --------
        >>> import streamce as ce
        >>> ce.Perplexity().update_token_log_probs([-0.5, -1.5, -0.1], offsets=[0, 2, 3]).compute()
        2.01375...
        """
        self._feed(self._state, log_probs, None, True, lengths, mask, offsets, weight, n_words, n_bytes, cluster)
        return self

    @in_default_mode
    def _feed(
        self,
        state: State,
        preds: Any,
        target: Any,
        chosen: bool,
        lengths: Any,
        mask: Any,
        offsets: Any,
        weight: Any,
        n_words: Any,
        n_bytes: Any,
        cluster: Any,
        samples: Samples | None = None,
        null: Any = None,
    ) -> None:
        """Adds a chunk to a state; with ``chosen``, ``preds`` are log-probabilities of the tokens, and no target is.

        ``null`` says in which tokens an input is null, where no others are settled.
        """
        for option in ("label_smoothing", "class_weight"):
            if chosen and self._options[option]:
                given = self.options[option]
                raise InputError(option, f"is {given!r}", "none, where the chosen tokens alone are known", value=given)
        path, name = (self._token_pipeline, "log_probs") if chosen else (self._pipeline, "preds")
        weight = arrays.once(weight, "weight")
        if not chosen:
            target = arrays.once(target, "target")
        preds, tokens = arrays.plain(preds, name)
        if chosen:
            target = np.broadcast_to(np.uint8(1), tokens)
        else:
            tokens = tokens[:-1]
        found = sequence_layout.layout(name, tokens, lengths, mask, offsets)
        ratios = []
        for ratio, argument, source in ((WORDS, "n_words", n_words), (BYTES, "n_bytes", n_bytes)):
            if source is not None:
                counts = sequence_layout.counts(argument, source, found.sequences)
                ratios.append((ratio, counts * self._weights(weight, found.sequences)))
        batch = Batch(
            preds,
            target,
            weight,
            status=found.settled if null is None else settled(null),
            offsets=found.offsets,
            ratios=tuple(ratios),
        )
        path.update_batch(state, batch, Outputs(samples=samples), bucket_of(cluster))

    def _weights(self, weight: Any, many: int) -> Any:
        """The weight of each sequence, by which its words and bytes count."""
        if weight is None:
            return 1.0
        given = arrays.read(weight, "weight")
        found = arrays.widened(given.values, given.halves)
        if found.shape != (many,):
            expected = f"one per sequence, shape {(many,)}, where words or bytes are given"
            raise InputError("weight", f"has shape {found.shape}", expected, value=found.shape)
        return found.astype(np.float64)

    def _update(
        self,
        preds: Any,
        target: Any,
        weight: Any = None,
        cluster: Any = None,
        null: Any = None,
        *,
        chosen: bool = False,
        offsets: Any = None,
        n_words: Any = None,
        n_bytes: Any = None,
    ) -> None:
        """As ``update``, or if ``chosen`` ``update_token_log_probs``, with a mask of the tokens that are null."""
        self._feed(
            self._state, preds, target, chosen, None, None, offsets, weight, n_words, n_bytes, cluster, null=null
        )

    def _chunk(
        self,
        state: State,
        preds: Any,
        target: Any = None,
        *,
        lengths: Any = None,
        mask: Any = None,
        offsets: Any = None,
        weight: Any = None,
        n_words: Any = None,
        n_bytes: Any = None,
        cluster: Any = None,
        chosen: bool = False,
        null: Any = None,
    ) -> Samples:
        samples = Samples()
        found = lengths, mask, offsets, weight, n_words, n_bytes, cluster
        self._feed(state, preds, target, chosen, *found, samples=samples, null=null)
        return samples

    @property
    def _ratios(self) -> int:
        return 1 + BYTES

    # ---- reading ----

    def per_word(self, level: float = 0.95, anytime: bool = False) -> Summary:
        """The summary per word: mean, bits and perplexity of a word, of the sequences that came with ``n_words``.

        The mean is Σn / Σ weight · words over sequences, so it compares models whose tokens differ.

        Examples
        --------
        >>> import streamce as ce
        >>> metric = ce.Perplexity().update_token_log_probs([[-1.0, -2.0, -3.0]], n_words=[2])
        >>> metric.per_word().mean, metric.per_word().value
        (3.0, 20.08553...)
        """
        return self._ratio(WORDS, level, anytime)

    def per_byte(self, level: float = 0.95, anytime: bool = False) -> Summary:
        """The summary per byte: mean, bits and perplexity of a byte, of the sequences that came with ``n_bytes``."""
        return self._ratio(BYTES, level, anytime)

    def per_position(self, level: float = 0.95, anytime: bool = False) -> np.ndarray[Any, np.dtype[np.object_]]:
        """The summaries of the first, second, ... tokens of all sequences, an array of :class:`Summary`.

        The place of a token is that in its row, or from where its sequence begins. Each token is a sample here.

        Raises
        ------
        InputError
            If the metric was not made with ``per_position=True``.

        Examples
        --------
        >>> import streamce as ce
        >>> metric = ce.SequenceCrossEntropy(per_position=True)
        >>> metric = metric.update_token_log_probs([-3.0, -1.0, -2.0], offsets=[0, 2, 3])
        >>> [summary.mean for summary in metric.per_position()]
        [2.5, 1.0]
        """
        if not self._options["per_position"]:
            raise InputError("per_position", "is False", "a metric made with per_position=True")
        return self._summaries(level, anytime)

    def _cells_of(self, cells: Any, held: dict[str, dict[int, int]]) -> int:
        """Positions up to the last that holds anything: what was taken away leaves none behind."""
        return 1 + max(map(max, held.values()))

    def _take(self, parts: dict[str, bytes]) -> None:
        found = State.from_parts(parts, ratios=self._ratios, growing=True)
        if found.cells is not None and not self._options["per_position"]:
            raise ValueError("it has sums by position, which its options do not ask for")
        self._take_state(found)

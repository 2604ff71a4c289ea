"""Measures the exact loss of an evaluation by the Trainer of Hugging Face transformers.

The Trainer calls ``EvalMetric.preprocess`` with the logits of each batch, on each rank. It gathers the losses of the
tokens that this returns, and then calls the ``EvalMetric`` with the losses and labels of all ranks.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from streamce._support.short_repr import short_repr
from streamce.core.kernels.kernels import in_default_mode
from streamce.core.ledger.state import State
from streamce.core.losses.batch import Batch, Outputs
from streamce.errors import InputError
from streamce.integrations import engines
from streamce.metrics.binary import BinaryCrossEntropy
from streamce.metrics.multiclass import MulticlassCrossEntropy
from streamce.metrics.multilabel import MultilabelCrossEntropy
from streamce.metrics.sequence import SequenceCrossEntropy

try:
    import torch
    from accelerate.data_loader import IterableDatasetShard
    from accelerate.state import GradientState
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        "streamce.integrations.transformers needs transformers with accelerate and torch: "
        "pip install 'streamce[transformers]'",
        name=_error.name,
    ) from None

if TYPE_CHECKING:
    from streamce.inputs.arrays import Array
    from streamce.metrics.base import Metric
    from streamce.stats.summary import Summary

PADDING = -100  # the label with which the Trainer pads, and which its models ignore
PREPARED = "trainer.accelerator.prepare(loader) in get_eval_dataloader"
CARRIED = (
    "SequenceCrossEntropy or Perplexity; or MulticlassCrossEntropy, BinaryCrossEntropy or MultilabelCrossEntropy with "
    "shift=False"
)


class EvalMetric:
    """The exact mean loss of an evaluation, for ``compute_metrics`` of a Trainer.

    With n_t the loss of a token t whose label is not -100, the Trainer logs

        eval_exact_loss = Σ_t n_t / Σ_t 1

    over all tokens of the evaluation set. It does not depend on how sequences are batched, padded or distributed over
    ranks. With a metric of sequences, tokens are reduced to their losses before the Trainer gathers them.

    Parameters
    ----------
    metric : metric
        An empty metric, for its options. It is not changed. ``SequenceCrossEntropy(kind="logits")`` or ``Perplexity``
        for tokens: its intervals allow correlated tokens in a sequence. ``MulticlassCrossEntropy``,
        ``BinaryCrossEntropy`` or ``MultilabelCrossEntropy`` for models that classify a sequence or an image.
    shift : bool
        True: the logits at a position predict the label of the next one, as in causal language models. False: they
        predict the label of their own position, as in masked language models, encoder-decoders and classifiers.
    token_bytes : array of integers, optional
        The number of bytes of each token of the vocabulary, 0 for special tokens, for bits per byte.

    Attributes
    ----------
    metric : metric
        The metric of the last evaluation. It is empty before the first.

    Raises
    ------
    InputError
        If the metric cannot be carried. While evaluating, on all ranks, if a token that counts has invalid logits and
        the metric has ``invalid="raise"``.

    Examples
    --------
    >>> import streamce as ce, torch, transformers
    >>> from streamce.integrations.transformers import EvalMetric
    >>> sizes = {"vocab_size": 11, "n_embd": 8, "n_layer": 1, "n_head": 1, "n_positions": 4}
    >>> config = transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)
    >>> ids = torch.tensor([[1, 2, 3], [4, 5, 6]])
    >>> exact = EvalMetric(ce.SequenceCrossEntropy(kind="logits"))
    >>> trainer = transformers.Trainer(
    ...     transformers.GPT2LMHeadModel(config),
    ...     transformers.TrainingArguments(batch_eval_metrics=True, use_cpu=True, report_to="none"),
    ...     eval_dataset=[{"input_ids": row, "labels": row} for row in ids],
    ...     compute_metrics=exact,
    ...     preprocess_logits_for_metrics=exact.preprocess,
    ... )
    >>> logged = trainer.evaluate()
    {...'eval_exact_loss': ...}
    >>> logged["eval_exact_loss"] == exact.metric.compute(), exact.summary().count
    (True, 4)
    """

    metric: Any

    def __init__(self, metric: Any, shift: bool = True, *, token_bytes: Any = None) -> None:
        self._template = engines.template(metric)
        self._shift = _checked_shift(metric, shift)
        self._losses = MulticlassCrossEntropy(
            kind="logits", ignore_index=PADDING, invalid="skip", threads=metric.options["threads"]
        )
        self._has_tokens = isinstance(metric, SequenceCrossEntropy)
        self._token_bytes = None if token_bytes is None else self._checked_bytes(token_bytes)
        self.metric = metric._new()
        self.reset()

    def _checked_bytes(self, token_bytes: Any) -> Array:
        if not self._has_tokens:
            found = f"is given with a {type(self._template).__name__}"
            raise InputError("token_bytes", found, "a SequenceCrossEntropy or Perplexity")
        values = np.asarray(token_bytes)
        if values.ndim != 1 or values.dtype.kind not in "iu" or (values < 0).any():
            raise InputError("token_bytes", f"is {short_repr(token_bytes)}", "one integer of 0 or more per token")
        return values.astype(np.int64)

    def reset(self) -> None:
        """Forget the batches of an evaluation that did not end. The Trainer need not call it."""
        self._running = self._template._new()
        self._batches = 0
        self._loader: Any = None

    def summary(self, level: float = 0.95, anytime: bool = False) -> Summary:
        """Return the summary of the last evaluation, as :meth:`streamce.Metric.summary` does."""
        found: Summary = self.metric.summary(level, anytime)
        return found

    # ---- what the Trainer calls ----

    @in_default_mode
    def preprocess(self, logits: Any, labels: Any) -> Any:
        """Return the loss of each token: the argument ``preprocess_logits_for_metrics`` of a Trainer.

        Parameters
        ----------
        logits : tensor, or tuple of tensors
            Logits of shape (B, T, V). Of a tuple of outputs, the first one with three axes.
        labels : tensor
            Labels of shape (B, T), -100 where no token counts.

        Returns
        -------
        tensor
            Losses in nats, float64, with shape (B, T - 1), or (B, T) without ``shift``. nan stands for invalid logits
            and labels, so that they raise an error on all ranks and not only on this one. Without labels, and with a
            metric that is not of sequences, the logits.
        """
        if labels is None:
            return logits
        labels = _one_array(labels)
        if not self._has_tokens:
            return logits[0] if isinstance(logits, tuple | list) else logits
        logits = _token_logits(logits, labels)
        if self._shift:
            logits, labels = logits[:, :-1], labels[:, 1:]
        losses = np.zeros(labels.shape)
        outputs = Outputs(losses=losses.reshape(-1))
        self._losses._pipeline.update_batch(State(), Batch(logits, labels), outputs)
        tensor = torch.from_numpy(losses)
        if labels.device.type == "mps":  # which has no float64
            tensor = tensor.float()
        return tensor.to(labels.device)

    def __call__(self, eval_prediction: Any, compute_result: bool = True) -> dict[str, float]:
        """Add a batch of all ranks, and after the last one return what is logged: ``compute_metrics`` of a Trainer."""
        try:
            self._add(eval_prediction.predictions, _one_array(eval_prediction.label_ids), compute_result)
        except BaseException:
            self.reset()
            raise
        if not compute_result:
            return {}
        self.metric = self._running
        self.reset()
        return self._logged()

    # ---- adding ----

    def _add(self, predictions: Any, labels: Any, is_last: bool) -> None:
        if not isinstance(labels, torch.Tensor):
            expected = "TrainingArguments(batch_eval_metrics=True), so that no loss is kept"
            raise InputError("batch_eval_metrics", "is False", expected)
        self._check_evaluation(is_last)
        if is_last:
            predictions, labels = (_without_duplicates(each) for each in (predictions, labels))
        if self._has_tokens:
            self._add_tokens(predictions, labels.cpu().numpy())
        else:
            self._running.update(predictions, labels)

    def _check_evaluation(self, is_last: bool) -> None:
        """Drop the batches of an earlier evaluation that was interrupted, which has another loader.

        Raise InputError if the active loader is not that of the evaluation, or has batches of an earlier one: the
        Trainer asks for the result at the end of this loader. Raise it too if ranks repeat an unknown number of samples
        to fill up the last batch.
        """
        loader: Any = GradientState().active_dataloader
        if loader is None:
            raise InputError("eval_dataloader", "was not prepared", PREPARED)
        rows = getattr(loader, "dataset", None)
        if isinstance(rows, IterableDatasetShard) and not rows.drop_last and GradientState().remainder < 0:
            found = "is a stream of unknown length, of which ranks repeat samples to fill up the last batch"
            raise InputError("eval_dataset", found, 'accelerator_config={"dispatch_batches": True}')
        if self._loader is not None and self._loader() is not loader:
            self.reset()
        self._loader = weakref.ref(loader)
        self._batches += 1
        try:
            number = len(loader)
        except TypeError:  # a stream
            return
        has_end = not isinstance(rows, torch.utils.data.IterableDataset)  # otherwise the length is only an estimate
        if self._batches > number or (is_last and has_end and self._batches < number):
            found = "was not prepared, or an earlier evaluation was interrupted"
            at = f"it has {self._batches} batches of a loader of {number}"
            raise InputError("eval_dataloader", f"{found}: {at}", f"the evaluation again, or {PREPARED}")

    def _add_tokens(self, losses: Any, labels: Array) -> None:
        if self._shift:
            labels = labels[:, 1:]
        if not isinstance(losses, torch.Tensor) or losses.shape != labels.shape:
            expected = "Trainer(preprocess_logits_for_metrics=...) with the preprocess of this EvalMetric"
            raise InputError("predictions", "are not the losses of tokens", expected)
        values = losses.double().cpu().numpy()
        counts = labels != PADDING
        if self._template.options["invalid"] == "raise" and (wrong := np.isnan(values) & counts).any():
            row, position = (int(each) for each in np.argwhere(wrong)[0])
            found = f"of the label {labels[row, position]} is nan"
            expected = 'valid logits and a label of the vocabulary; invalid="skip" counts such tokens'
            raise InputError("losses", found, expected, index=(row, position), value=np.nan)
        # Only tokens that count are added. The number of the others depends on how batches are padded.
        offsets = np.concatenate([[0], np.cumsum(counts.sum(axis=1))])
        n_bytes = None if self._token_bytes is None else self._bytes(labels, counts)
        self._running.update_token_log_probs(-values[counts], offsets=offsets, n_bytes=n_bytes)

    def _bytes(self, labels: Array, counts: Array) -> Array:
        """Return the number of bytes of each sequence."""
        assert self._token_bytes is not None
        tokens = np.where(counts, labels, 0)
        if (largest := int(tokens.max(initial=0))) >= len(self._token_bytes):
            found = f"has {len(self._token_bytes)} tokens, and there is a label {largest}"
            raise InputError("token_bytes", found, "one integer per token of the vocabulary")
        bytes_of_rows: Array = np.where(counts, self._token_bytes[tokens], 0).sum(axis=1)
        return bytes_of_rows

    def _logged(self) -> dict[str, float]:
        summary = self.summary()
        logged = {"exact_loss": summary.mean, **summary.scalars("exact_")}
        if self._token_bytes is not None:
            logged |= self.metric.per_byte().scalars("exact_byte_")
        return logged


def _checked_shift(metric: Metric, shift: Any) -> bool:
    """Return ``shift``, or raise InputError that says why the metric cannot be carried."""
    has_tokens = isinstance(metric, SequenceCrossEntropy)
    if not has_tokens and not isinstance(metric, BinaryCrossEntropy | MulticlassCrossEntropy | MultilabelCrossEntropy):
        raise InputError("metric", f"is a {type(metric).__name__}, whose input the Trainer does not give", CARRIED)
    if not isinstance(shift, bool):
        raise InputError("shift", f"is {short_repr(shift)}", "True or False", value=shift)
    if shift and not has_tokens:
        raise InputError("shift", f"is True with a {type(metric).__name__}", "shift=False, or SequenceCrossEntropy")
    options = metric.options
    if options["kind"] != "logits":
        raise InputError("kind", f"is {options['kind']!r}", "'logits', which models return", value=options["kind"])
    if not has_tokens:
        return shift
    for option in ("label_smoothing", "class_weight"):
        if options[option]:
            found = f"is {short_repr(options[option])}"
            expected = "none, because only the loss of each label is gathered"
            raise InputError(option, found, expected, value=options[option])
    if options["ignore_index"] != PADDING:
        expected = f"{PADDING}, with which the Trainer pads labels"
        raise InputError("ignore_index", f"is {options['ignore_index']}", expected, value=options["ignore_index"])
    return shift


def _one_array(labels: Any) -> Any:
    """Return the labels, or raise InputError if they are several arrays."""
    if isinstance(labels, list):  # the rows of all ranks, as objects
        raise InputError("eval_use_gather_object", "is True", "False, because losses are gathered as tensors")
    if isinstance(labels, tuple | dict):
        raise InputError("labels", f"are {len(labels)} arrays", "one: set label_names in TrainingArguments")
    return labels


def _token_logits(logits: Any, labels: Any) -> Any:
    """Return the logits of the tokens, of one or several outputs. Some models return the loss of their router first."""
    outputs = logits if isinstance(logits, tuple | list) else [logits]
    shapes = [tuple(each.shape) for each in outputs if isinstance(each, torch.Tensor)]
    for each in outputs:
        if isinstance(each, torch.Tensor) and each.ndim == 3:
            if labels.shape != each.shape[:2]:
                found = f"has shape {tuple(each.shape)} and labels {tuple(labels.shape)}"
                raise InputError("logits", found, "one row per label", value=tuple(each.shape))
            return each
    expected = "shape (B, T, V): sequences, positions, vocabulary; for classes of sequences use MulticlassCrossEntropy"
    raise InputError("logits", f"has shape {', '.join(map(str, shapes))}", expected, value=shapes)


def _without_duplicates(gathered: Any) -> Any:
    """Return the rows of the last batch without those that fill it up for all ranks.

    Trainer leaves them out itself, but Seq2SeqTrainer does not.
    """
    remainder = GradientState().remainder
    if isinstance(gathered, torch.Tensor) and 0 < remainder < len(gathered):
        return gathered[:remainder]
    return gathered

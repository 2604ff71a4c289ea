"""Defines the cross-entropy of a GAN: of its discriminator and its generator."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from streamce._support.html_repr import HtmlRepr
from streamce.core.default_mode import DefaultModeMethods
from streamce.core.ledger.state import State
from streamce.core.losses.batch import Batch, Outputs
from streamce.errors import InputError
from streamce.inputs import arrays
from streamce.metrics.composite import Composite, States
from streamce.stats import estimators, scalar_table, summary
from streamce.stats.estimators import LN2

if TYPE_CHECKING:
    from streamce.core.samples.routes import Routes
    from streamce.stats.summary import Summary

PARTS = ("real", "fake", "generator")


@dataclass(frozen=True, slots=True)
class GANSummary(HtmlRepr, DefaultModeMethods):
    """The result of :meth:`GANCrossEntropy.summary`.

    Attributes
    ----------
    value : float
        Mean real loss + mean fake loss, in nats. The discriminator minimises it.
    interval : tuple of float
        Confidence interval of ``value`` at ``level``, for independent real and fake samples.
    level : float
        Confidence level of the interval.
    stderr : float
        Standard error of ``value``.
    real, fake : Summary
        The loss -log D(x) of real samples, and the loss -log(1 - D(x)) of fake samples.
    generator : Summary
        The non-saturating loss of the generator: -log D(x) of fake samples.
    minimax : float
        The minimax loss of the generator: the mean of log(1 - D(x)) over fake samples.
    distance : float
        2 log 2 - ``value``. It is 0 for a discriminator that cannot distinguish real and fake samples.
    jensen_shannon : float
        ``distance / 2``, in nats: a lower bound of the Jensen-Shannon divergence of real and fake samples, which the
        optimal discriminator attains.

    Examples
    --------
    >>> import streamce as ce
    >>> result = ce.GANCrossEntropy().update(real=[0.5, 0.5], fake=[0.5, 0.5]).summary()
    >>> result.value, result.jensen_shannon
    (1.3862943611198906, 0.0)
    """

    value: float
    interval: tuple[float, float]
    level: float
    stderr: float
    real: Summary
    fake: Summary
    generator: Summary
    minimax: float
    distance: float
    jensen_shannon: float

    @property
    def samples(self) -> int:
        """The number of real and fake samples."""
        return self.real.samples + self.fake.samples

    @property
    def count(self) -> int:
        """The number of losses of real and fake samples."""
        return self.real.count + self.fake.count

    def to_dict(self) -> dict[str, Any]:
        """Return a dict of values that JSON can hold. Each of the three summaries is a dict in it."""
        parts = {name: getattr(self, name).to_dict() for name in PARTS}
        names = ("value", "level", "stderr", "minimax", "distance", "jensen_shannon")
        return {**{name: getattr(self, name) for name in names}, "interval": list(self.interval), **parts}

    def scalars(self, prefix: str = "") -> dict[str, float]:
        """Return the finite numbers that a tracker of experiments plots, by name; see :meth:`Summary.scalars`.

        The names are ``value``, ``value_low``, ``value_high``, ``value_stderr``, ``minimax``, ``distance``,
        ``jensen_shannon``, and those of the three summaries after ``real_``, ``fake_`` and ``generator_``.
        """
        numbers: dict[str, float | None] = {
            "value": self.value,
            "value_low": self.interval[0],
            "value_high": self.interval[1],
            "value_stderr": self.stderr,
            "minimax": self.minimax,
            "distance": self.distance,
            "jensen_shannon": self.jensen_shannon,
        }
        for part in PARTS:
            found = scalar_table.read(scalar_table.SCALARS, getattr(self, part))
            numbers |= {f"{part}_{name}": number for name, number in found.items()}
        return scalar_table.finite(numbers, prefix)

    def __str__(self) -> str:
        kind, (low, high) = summary.interval_name(self.level, self.real.anytime), self.interval
        return "\n".join(
            [
                f"discriminator   {self.value:<10.6g} nats   {kind} {low:.6g} to {high:.6g}",
                f"  real          {self.real.mean:<10.6g}        {self.real.count:,} losses",
                f"  fake          {self.fake.mean:<10.6g}        {self.fake.count:,} losses",
                f"generator       {self.generator.mean:<10.6g} nats   non-saturating; minimax {self.minimax:.6g}",
                f"equilibrium     {self.distance:<10.6g} nats below 2 log 2",
                f"Jensen-Shannon  {self.jensen_shannon:<10.6g} nats at least, by this discriminator",
            ]
        )


class GANCrossEntropy(Composite):
    """Running cross-entropy of the discriminator of a generative adversarial network (GAN), in nats.

    With D(x) the predicted probability that x is real,

        compute() = mean of -log D(x) over real samples + mean of -log(1 - D(x)) over fake samples

    Parameters
    ----------
    kind : {"probs", "log_probs", "logits"}
        The content of ``real`` and ``fake``: D, log D, or log(D / (1 - D)).
    eps : float
        The floor of the probabilities that count. 0 keeps infinite losses. Logits need no floor.
    invalid : {"raise", "skip"}
        Raise an error for invalid samples, or count them by cause and continue.
    threads : int, optional
        Threads for large batches; see :func:`streamce.set_num_threads`.

    Notes
    -----
    With the optimal discriminator the value is 2 log 2 - 2 JS, where JS is the Jensen-Shannon divergence of the two
    distributions: Goodfellow et al. (2014), *Generative adversarial nets*.

    Examples
    --------
    >>> import streamce as ce
    >>> gan = ce.GANCrossEntropy(kind="logits")
    >>> gan.update(real=[2.0, 1.0], fake=[-1.0, 0.5]).compute()
    0.86376...
    >>> gan.update(fake=[-3.0]).summary().fake.count
    3
    """

    _names = ("fake", "generator", "real")
    _title = "Cross-entropy of a GAN"
    __slots__ = ()

    # ---- adding ----

    def update(
        self,
        *,
        real: Any = None,
        fake: Any = None,
        real_weight: Any = None,
        fake_weight: Any = None,
    ) -> Self:
        """Add predictions of the discriminator for real samples, for fake samples, or for both.

        Parameters
        ----------
        real, fake : array of float64, float32, float16 or bfloat16, or a float
            Any shape. The first axis is that of the samples.
        real_weight, fake_weight : array, optional
            One per sample or one per entry, finite and at least 0.

        Raises
        ------
        InputError
            If the input is invalid. Nothing is added then.

        Examples
        --------
        >>> import streamce as ce
        >>> gan = ce.GANCrossEntropy().update(real=[0.5, 0.5]).update(fake=[0.5])
        >>> gan.compute(), gan.summary().samples
        (1.3862943611198906, 3)
        """
        self._state.merge(self._add(States(self._names), real, fake, real_weight, fake_weight))
        return self

    def _split(
        self, routes: Routes, *, real: Any = None, fake: Any = None, real_weight: Any = None, fake_weight: Any = None
    ) -> list[States]:
        of_sums = {name: routes.fresh() for name in self._names}
        self._add(States(self._names), real, fake, real_weight, fake_weight, of_sums)
        counts = {name: len(of_sums[name].states) for name in ("real", "fake")}
        if real is not None and fake is not None and counts["real"] != counts["fake"]:
            found, expected = f"has {counts['fake']} samples", f"{counts['real']}, as many as real"
            raise InputError("fake", found, expected, value=counts["fake"])
        count = max(len(of_one.states) for of_one in of_sums.values())
        states = {name: of_one.filled() or [State() for _ in range(count)] for name, of_one in of_sums.items()}
        return [States.from_states(dict(zip(states, each, strict=True))) for each in zip(*states.values(), strict=True)]

    def _add(
        self,
        batch: States,
        real: Any,
        fake: Any,
        real_weight: Any,
        fake_weight: Any,
        routes: dict[str, Routes] | None = None,
    ) -> States:
        """Add predictions to states, or to those of the routes of each sum. Return the states."""
        if real is None and fake is None:
            raise InputError("real", "and fake are missing", "at least one of them")
        for argument, preds, weight, targets in (
            ("real", real, real_weight, {"real": 1}),
            ("fake", fake, fake_weight, {"fake": 0, "generator": 1}),
        ):
            if preds is not None:
                try:
                    source, shape = arrays.convert_with_shape(preds, "preds")
                    weight = arrays.materialize(weight, "weight")
                    for name, target in targets.items():
                        same = np.broadcast_to(np.int8(target), shape)
                        outputs = None if routes is None else Outputs(routes=routes[name])
                        self._metric._pipeline.update_batch(batch[name], Batch(source, same, weight), outputs)
                except InputError as error:
                    names = {"preds": argument, "weight": f"{argument}_weight"}
                    raise error.with_argument(names.get(str(error.argument), error.argument)) from None
        return batch

    def __call__(self, *, real: Any, fake: Any) -> float:
        """Update, and return the value of this batch alone."""
        batch = self._new().update(real=real, fake=fake)
        self._state.merge(batch._state)
        return batch.compute()

    def _sections(self) -> tuple[str, ...]:
        return ("gan",)

    # ---- reading ----

    def compute(self) -> float:
        """Return mean real loss + mean fake loss in nats; nan until both have samples."""
        state = self._state.copy()
        return estimators.mean(state["real"].total) + estimators.mean(state["fake"].total)

    def summary(self, level: float = 0.95, anytime: bool = False) -> GANSummary:
        """Return the value with its interval, the losses of real and fake samples, and those of the generator."""
        state = self._state.copy()
        real, fake, generator = (summary.summarise(state[name].total, level=level, anytime=anytime) for name in PARTS)
        value = real.mean + fake.mean
        stderr = math.hypot(real.stderr, fake.stderr)
        # Each margin has its own multiple of the standard error, because the numbers of samples may differ.
        margin = math.hypot(real.interval[1] - real.mean, fake.interval[1] - fake.mean)
        distance = 2 * LN2 - value
        return GANSummary(
            value=value,
            interval=(value - margin, value + margin),
            level=float(level),
            stderr=stderr,
            real=real,
            fake=fake,
            generator=generator,
            minimax=-fake.mean,
            distance=distance,
            jensen_shannon=distance / 2,
        )

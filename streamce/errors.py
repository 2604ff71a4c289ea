"""The one error that bad input raises."""

from typing import Any


class InputError(ValueError):
    """Input that has no meaning for the loss asked for; nothing was counted.

    As text it is one line that names the argument, where in it, what stands there and what was
    expected.

    Attributes
    ----------
    argument : str or None
        Name of the argument at fault.
    index : tuple of int or None
        Position of the first offending entry in that argument.
    value : object
        What stands there.
    expected : str or None
        What would have been accepted.
    cause : str or None
        The counter of the summary that ``invalid="skip"`` would have raised, such as
        ``"invalid_nan"``.

    Examples
    --------
    >>> import streamce as ce
    >>> ce.BinaryCrossEntropy().update([0.2, 1.5], [0, 1])
    Traceback (most recent call last):
    ...
    streamce.errors.InputError: preds[1] is 1.5: expected a probability in [0, 1]; for logits use kind="logits"
    """

    def __init__(
        self,
        message: str,
        *,
        argument: str | None = None,
        index: tuple[int, ...] | None = None,
        value: Any = None,
        expected: str | None = None,
        cause: str | None = None,
    ) -> None:
        super().__init__(" ".join(message.split()))  # one line, whatever a value looks like
        self.argument = argument
        self.index = index
        self.value = value
        self.expected = expected
        self.cause = cause


def renamed(error: InputError, names: dict[str, str]) -> InputError:
    """The same error, of the argument that the caller's was made of."""
    name = names.get(str(error.argument), error.argument)
    message = str(error).removesuffix("; are preds and target swapped?")
    if error.argument and message.startswith(error.argument):
        message = f"{name}{message.removeprefix(error.argument)}"
    return InputError(
        message, argument=name, index=error.index, value=error.value, expected=error.expected, cause=error.cause
    )

"""The conventions are those of torch (2.13, CPU). Names of tests say where they are not."""

import math
import struct

import numpy as np
import pytest
import torch
from torch.nn import functional

import streamce as ce

ROWS, CLASSES = 64, 7
rng = np.random.default_rng(21)
LOGITS = rng.normal(size=(ROWS, CLASSES)) * 5
LABELS = rng.integers(0, CLASSES, ROWS)
IGNORED = np.where(rng.random(ROWS) < 0.3, -100, LABELS)
SOFT = rng.dirichlet(np.ones(CLASSES), ROWS)
CLASS_WEIGHT = rng.random(CLASSES) * 3
MARGINS = rng.normal(size=(ROWS, CLASSES)) * 5
OUTCOMES = rng.integers(0, 2, (ROWS, CLASSES))
SHARES = rng.random((ROWS, CLASSES))
POS_WEIGHT = rng.random(CLASSES) * 3


def close(found, tensor):
    """Compare within 1e-12, relative, or absolute where torch rounds a tiny loss to 0."""
    np.testing.assert_allclose(found, tensor.detach().double().numpy(), rtol=1e-12, atol=1e-15)


def both(logits, target, *, class_weight=None, axis=-1, **options):
    """Check that the losses are equal one by one, and return both means."""
    x, y = torch.from_numpy(np.ascontiguousarray(logits)), torch.from_numpy(np.ascontiguousarray(target))
    w = None if class_weight is None else torch.tensor(class_weight, dtype=torch.float64)
    ours = {"kind": "logits", "class_weight": class_weight, "axis": axis, **options}
    close(
        ce.cross_entropy(logits, target, reduction="none", **ours),
        functional.cross_entropy(x, y, weight=w, reduction="none", **options),
    )
    close(
        ce.cross_entropy(logits, target, reduction="sum", **ours),
        functional.cross_entropy(x, y, weight=w, reduction="sum", **options),
    )
    return ce.cross_entropy(logits, target, **ours), functional.cross_entropy(x, y, weight=w, **options)


# ---- multiclass ----


@pytest.mark.parametrize("class_weight", [None, CLASS_WEIGHT], ids=["", "class weights"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("target", [LABELS, IGNORED], ids=["all", "ignoring"])
def test_labels_with_weights_smoothing_and_ignore_index(target, label_smoothing, class_weight):
    close(*both(LOGITS, target, class_weight=class_weight, label_smoothing=label_smoothing, ignore_index=-100))


@pytest.mark.parametrize("ignore_index", [0, 3, -1, 255])
def test_any_label_may_be_the_one_ignored(ignore_index):
    close(*both(LOGITS, np.where(LABELS == 1, ignore_index, LABELS), ignore_index=ignore_index))


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_soft_targets(label_smoothing):
    close(*both(LOGITS, SOFT, label_smoothing=label_smoothing))


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_difference_the_mean_of_weighted_soft_targets_is_divided_by_the_weights_and_not_by_n(label_smoothing):
    ours, theirs = both(LOGITS, SOFT, class_weight=CLASS_WEIGHT, label_smoothing=label_smoothing)
    close(ours * (SOFT * CLASS_WEIGHT).sum() / ROWS, theirs)
    assert ours != pytest.approx(theirs.item(), rel=1e-3)


def test_one_hot_targets_have_the_mean_of_labels():
    ours, _ = both(LOGITS, np.eye(CLASSES)[LABELS], class_weight=CLASS_WEIGHT)
    _, theirs = both(LOGITS, LABELS, class_weight=CLASS_WEIGHT)
    close(ours, theirs)


@pytest.mark.parametrize("shape", [(3,), (3, 4), (2, 1, 5)])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_the_layout_with_classes_on_axis_1(shape, label_smoothing):
    logits = rng.normal(size=(6, 4, *shape))
    labels = np.where(rng.random((6, *shape)) < 0.2, -100, rng.integers(0, 4, (6, *shape)))
    options = {"class_weight": [1.0, 0.5, 2.0, 3.0], "label_smoothing": label_smoothing, "ignore_index": -100}
    close(*both(logits, labels, axis=1, **options))
    both(logits, np.moveaxis(rng.dirichlet(np.ones(4), (6, *shape)), -1, 1), axis=1, label_smoothing=label_smoothing)


def test_one_row_without_a_batch_axis():
    close(*both(LOGITS[0], LABELS[0]))


@pytest.mark.parametrize("scale", [1e-3, 100, 1e4, 1e300])
def test_small_and_large_logits(scale):
    close(*both(rng.uniform(-1, 1, (ROWS, CLASSES)) * scale, LABELS))


def test_a_masked_class_costs_infinity():
    logits = np.array([[0.0, -np.inf, 1.0]])
    close(*both(logits, np.array([0])))
    close(*both(logits, np.array([1])))
    close(*both(logits, np.array([0]), label_smoothing=0.1))


def test_log_probabilities_are_nll_loss():
    x = torch.log_softmax(torch.tensor(LOGITS), dim=1)
    ours = ce.cross_entropy(x, LABELS, kind="log_probs", class_weight=CLASS_WEIGHT, eps=0)
    close(ours, functional.nll_loss(x, torch.tensor(LABELS), weight=torch.tensor(CLASS_WEIGHT)))


# ---- binary and multilabel ----


@pytest.mark.parametrize("target", [OUTCOMES, SHARES], ids=["outcomes", "soft"])
@pytest.mark.parametrize("function", [ce.binary_cross_entropy, ce.multilabel_cross_entropy])
def test_binary_logits(function, target):
    theirs = functional.binary_cross_entropy_with_logits
    for reduction in ("none", "mean", "sum"):
        ours = function(MARGINS, target, kind="logits", reduction=reduction)
        close(ours, theirs(torch.tensor(MARGINS), torch.tensor(target).double(), reduction=reduction))


@pytest.mark.parametrize("target", [OUTCOMES, SHARES], ids=["outcomes", "soft"])
@pytest.mark.parametrize("function", [ce.binary_cross_entropy, ce.multilabel_cross_entropy])
def test_binary_probabilities(function, target):
    probs = 1 / (1 + np.exp(-MARGINS))
    theirs = functional.binary_cross_entropy
    for reduction in ("none", "mean", "sum"):
        ours = function(probs, target, reduction=reduction)
        close(ours, theirs(torch.tensor(probs), torch.tensor(target).double(), reduction=reduction))


@pytest.mark.parametrize("target", [OUTCOMES, SHARES], ids=["outcomes", "soft"])
@pytest.mark.parametrize("pos_weight", [2.5, POS_WEIGHT], ids=["one", "per label"])
def test_pos_weight_is_no_part_of_the_denominator(pos_weight, target):
    x, y, w = torch.tensor(MARGINS), torch.tensor(target).double(), torch.as_tensor(pos_weight).double()
    for reduction in ("none", "mean", "sum"):
        ours = ce.multilabel_cross_entropy(MARGINS, target, kind="logits", pos_weight=pos_weight, reduction=reduction)
        close(ours, functional.binary_cross_entropy_with_logits(x, y, pos_weight=w, reduction=reduction))


def test_pos_weight_may_be_a_tensor():
    expected = ce.binary_cross_entropy(MARGINS, OUTCOMES, kind="logits", pos_weight=2.5)
    assert ce.binary_cross_entropy(MARGINS, OUTCOMES, kind="logits", pos_weight=torch.tensor(2.5)) == expected
    listed = ce.multilabel_cross_entropy(MARGINS, OUTCOMES, kind="logits", pos_weight=torch.tensor(POS_WEIGHT))
    assert listed == ce.multilabel_cross_entropy(MARGINS, OUTCOMES, kind="logits", pos_weight=POS_WEIGHT)


def test_difference_a_weight_per_entry_enters_the_denominator():
    weight = rng.random((ROWS, CLASSES))
    x, y, w = torch.tensor(MARGINS), torch.tensor(OUTCOMES).double(), torch.tensor(weight)
    ours = ce.binary_cross_entropy(MARGINS, OUTCOMES, kind="logits", weight=weight)
    close(ours * weight.sum() / weight.size, functional.binary_cross_entropy_with_logits(x, y, weight=w))


def test_difference_binary_probabilities_are_floored_at_2_to_the_minus_52_and_not_at_e_to_the_minus_100():
    theirs = functional.binary_cross_entropy(torch.tensor([0.0]).double(), torch.tensor([1.0]).double())
    assert theirs.item() == 100
    assert ce.binary_cross_entropy([0.0], [1]) == 52 * math.log(2)
    assert ce.binary_cross_entropy([0.0], [1], eps=0) == math.inf


def test_difference_infinite_logits_are_certainty_and_not_nan():
    theirs = functional.binary_cross_entropy_with_logits
    assert theirs(torch.tensor([np.inf]), torch.tensor([1.0])).isnan()
    assert ce.binary_cross_entropy([np.inf], [1], kind="logits") == 0
    assert ce.binary_cross_entropy([np.inf], [0], kind="logits") == math.inf
    assert functional.cross_entropy(torch.tensor([[0.0, np.inf]]), torch.tensor([1])).isnan()
    assert ce.cross_entropy([[0.0, np.inf]], [1], kind="logits") == 0


def test_difference_a_masked_class_without_a_share_costs_nothing_and_not_nan():
    assert functional.cross_entropy(torch.tensor([[0.0, -np.inf]]), torch.tensor([[1.0, 0.0]])).isnan()
    assert ce.cross_entropy([[0.0, -np.inf]], [[1.0, 0.0]], kind="logits") == 0


def test_difference_binary_targets_are_0_and_1():
    assert functional.binary_cross_entropy_with_logits(torch.tensor([1.0]), torch.tensor([2.0])) < 0
    with pytest.raises(ce.InputError, match=r"target\[0\] is 2.0"):
        ce.binary_cross_entropy([1.0], [2.0], kind="logits")


def test_difference_shares_are_in_0_to_1_and_add_up_to_1():
    functional.cross_entropy(torch.zeros(1, 2), torch.tensor([[3.0, -1.0]]))
    with pytest.raises(ce.InputError, match=r"target\[0, 0\] is 3.0"):
        ce.cross_entropy([[0.0, 0.0]], [[3.0, -1.0]], kind="logits")


def test_difference_a_confident_loss_is_not_rounded_to_0():
    assert functional.cross_entropy(torch.tensor([[0.0, -50.0]]).double(), torch.tensor([0])) == 0
    assert ce.cross_entropy([[0.0, -50.0]], [0], kind="logits") == pytest.approx(math.exp(-50), rel=1e-15)


def test_nothing_counted_is_nan_in_both():
    target = torch.tensor([-100, -100])
    assert functional.cross_entropy(torch.zeros(2, 3), target).isnan()
    assert math.isnan(ce.cross_entropy(torch.zeros(2, 3), target, kind="logits", ignore_index=-100))


# ---- tensors ----

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("grad", [False, True], ids=["", "grad"])
def test_tensors_of_every_float_dtype_go_straight_in(dtype, grad):
    x = torch.tensor(LOGITS).to(dtype)
    plain = x.double().numpy() if dtype is torch.float64 else x.float().numpy()
    x.requires_grad_(grad)
    metric = ce.MulticlassCrossEntropy(kind="logits").update(x, torch.tensor(LABELS))
    assert metric == ce.MulticlassCrossEntropy(kind="logits").update(plain, LABELS)
    assert x.grad is None


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "view", [lambda x: x.T.contiguous().T, lambda x: x[::2], lambda x: x[:, 1:], lambda x: x[:1].expand(9, -1)],
    ids=["transposed", "every other", "columns", "expanded"],
)  # fmt: skip
def test_views_of_tensors(dtype, view):
    x = view(torch.tensor(LOGITS).to(dtype))
    y = torch.tensor(LABELS[: len(x)] % x.shape[1])
    expected = ce.MulticlassCrossEntropy(kind="logits").update(x.contiguous(), y)
    assert ce.MulticlassCrossEntropy(kind="logits").update(x, y) == expected


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64], ids=str)
def test_targets_of_every_integer_dtype(dtype):
    expected = ce.cross_entropy(LOGITS, LABELS, kind="logits")
    assert ce.cross_entropy(LOGITS, torch.tensor(LABELS).to(dtype), kind="logits") == expected


def test_bool_targets_and_tensor_weights():
    weight = rng.random(ROWS)
    found = ce.binary_cross_entropy(MARGINS, torch.tensor(OUTCOMES).bool(), kind="logits", weight=torch.tensor(weight))
    assert found == ce.binary_cross_entropy(MARGINS, OUTCOMES, kind="logits", weight=weight)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_losses_that_torch_computed(dtype):
    losses = functional.cross_entropy(torch.tensor(LOGITS).requires_grad_(), torch.tensor(LABELS), reduction="none")
    losses = losses.to(dtype)
    assert ce.MeanLoss().update(losses).compute() == math.fsum(losses.double().tolist()) / ROWS


def test_parameters_and_numbers():
    assert ce.MeanLoss().update(torch.nn.Parameter(torch.tensor([0.5, 1.5]))).compute() == 1
    assert ce.BinaryCrossEntropy().update(torch.tensor(0.5).bfloat16(), torch.tensor(1)).compute() == math.log(2)


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (lambda: torch.zeros(3, device="meta"), "a strided tensor on meta: expected a dense tensor on the CPU"),
        (lambda: torch.eye(3).to_sparse(), "a sparse_coo tensor on cpu: expected a dense tensor on the CPU"),
        (lambda: torch.zeros(3).to(torch.float8_e4m3fn), "Float8"),
        (lambda: torch.zeros(3, dtype=torch.complex64), "complex64"),
        (lambda: torch.zeros(3, dtype=torch.int64), "has dtype int64"),
        (lambda: torch.nn.Linear(1, 1), "is Linear"),
        (lambda: torch.float32, "is torch.float32"),
    ],
    ids=["another device", "sparse", "float8", "complex", "integers", "a module", "a dtype"],
)
def test_other_tensors_are_explained(tensor, words):
    with pytest.raises(ce.InputError, match=words) as error:
        ce.BinaryCrossEntropy().update(tensor(), [0, 1, 1])
    assert error.value.argument == "preds"


def test_a_bad_entry_of_a_bfloat16_tensor_is_named():
    x = torch.full((3, 2), 0.5).bfloat16()
    x[2, 1] = math.nan
    with pytest.raises(ce.InputError, match=r"^preds\[2, 1\] is nan"):
        ce.MulticlassCrossEntropy().update(x, torch.tensor([0, 1, 1]))


# ---- torch.set_flush_denormal ----


@pytest.fixture
def flushing():
    assert torch.set_flush_denormal(True)
    yield
    torch.set_flush_denormal(False)


TINY = {
    "probs": np.array([5e-324, 1e-310, 1e-300, 0.5, 1 - 2**-53]),
    "log_probs": np.array([-5e-324, -1e-310, -1e-3, -700.0, -745.0]),
    "logits": np.array([1e-310, 700.0, 740.0, -1e-320, 30.0]),
}


@pytest.mark.parametrize("kind", TINY)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_flushing_subnormals_to_zero_changes_no_bit(kind, dtype, request):
    preds = TINY[kind].astype(dtype)
    rows = np.stack([preds, np.roll(preds, 1)], axis=1)

    def states():
        yield ce.BinaryCrossEntropy(kind=kind, eps=0).update(preds, [0, 1, 0, 1, 1]).to_bytes()
        yield ce.BinaryCrossEntropy(kind=kind, eps=0, label_smoothing=0.1).update(preds, [0, 1, 0, 1, 1]).to_bytes()
        yield ce.MeanLoss().update(preds, weight=abs(preds)).to_bytes()
        if kind == "logits":
            yield ce.MulticlassCrossEntropy(kind=kind).update(rows, [0, 1, 0, 1, 1]).to_bytes()

    before = list(states())
    request.getfixturevalue("flushing")
    assert list(states()) == before


def test_flushing_subnormals_to_zero_changes_no_result(request):
    losses, times = np.array([5e-324, 1e-310, 3e-308, 0.1]), np.array([0.1, 1e5 + 1 / 3, 2e5, 3e5])
    preds, target = np.array([1e-310, 1e-300, 0.25, 0.75]), [0, 0, 1, 1]

    def results():
        decayed = ce.Decayed(ce.MeanLoss(), half_life="1d").update(losses, by_time=times)
        gan = ce.GANCrossEntropy(eps=0).update(real=preds, fake=preds)
        tiny = ce.MeanLoss().update([5e-324, 1e-323])
        entropy = ce.NormalizedEntropy(eps=0).update(preds, target)
        metrics = decayed, gan, tiny, entropy
        return [(each.to_bytes(), struct.pack("<d", each.compute()), str(each.summary())) for each in metrics]

    before = results()
    request.getfixturevalue("flushing")
    assert results() == before


def test_the_setting_of_the_caller_is_kept(flushing):
    ce.binary_cross_entropy([0.5], [1])
    assert torch.tensor(1e-310, dtype=torch.float64) * 1 == 0


# ---- gradients ----


def same_gradient(ours, theirs, x, **options):
    """Check for every reduction that the gradient is that of autograd, and that it does not change the loss."""
    for reduction in ("mean", "sum", "none"):
        x.grad = None
        loss = theirs(reduction)
        loss.sum().backward()
        found, grad = ours(x, reduction=reduction, grad=True, **options)
        assert np.array_equal(found, ours(x, reduction=reduction, **options))
        assert isinstance(grad, torch.Tensor)
        assert grad.dtype == x.dtype
        np.testing.assert_allclose(grad.numpy(), x.grad.numpy(), rtol=1e-12, atol=1e-12 * x.grad.abs().max().item())


@pytest.mark.parametrize("class_weight", [None, CLASS_WEIGHT], ids=["", "class weights"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("target", [LABELS, IGNORED, SOFT], ids=["all", "ignoring", "soft"])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_gradients_of_cross_entropy(target, label_smoothing, class_weight, scale):
    x = torch.tensor(LOGITS * scale, requires_grad=True)
    options = {"label_smoothing": label_smoothing, **({} if target is SOFT else {"ignore_index": -100})}
    w = None if class_weight is None else torch.tensor(class_weight)

    def ours(x, **more):
        return ce.cross_entropy(x, target, kind="logits", class_weight=class_weight, **more)

    def theirs(reduction):
        loss = functional.cross_entropy(x, torch.tensor(target), weight=w, reduction=reduction, **options)
        if target is not SOFT or reduction != "mean":
            return loss
        return loss * ROWS / (SOFT * (1 if class_weight is None else class_weight)).sum()  # torch divides by N

    same_gradient(ours, theirs, x, **options)


@pytest.mark.parametrize("shape", [(3,), (3, 4)])
def test_gradients_with_the_class_axis_in_the_middle(shape):
    x = torch.tensor(rng.normal(size=(6, 4, *shape)), requires_grad=True)
    y = torch.tensor(rng.integers(0, 4, (6, *shape)))
    same_gradient(
        lambda x, **more: ce.cross_entropy(x, y, kind="logits", axis=1, **more),
        lambda reduction: functional.cross_entropy(x, y, reduction=reduction),
        x,
    )


@pytest.mark.parametrize("each", [False, True])
def test_gradients_with_weights(each):
    weight = torch.tensor(rng.random((ROWS, CLASSES) if each else (ROWS, 1)))
    x, y = torch.tensor(MARGINS, requires_grad=True), torch.tensor(SHARES)

    def theirs(reduction):
        loss = weight * functional.binary_cross_entropy_with_logits(x, y, reduction="none")
        total = weight.expand(ROWS, CLASSES).sum()
        return {"none": loss, "sum": loss.sum(), "mean": loss.sum() / total}[reduction]

    same_gradient(
        lambda x, **more: ce.binary_cross_entropy(x, y, kind="logits", weight=weight if each else weight[:, 0], **more),
        theirs,
        x,
    )


@pytest.mark.parametrize("kind", ["probs", "log_probs"])
@pytest.mark.parametrize("target", [LABELS, SOFT], ids=["labels", "soft"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_gradients_of_probabilities_of_classes(kind, target, label_smoothing):
    given = torch.log_softmax(torch.tensor(LOGITS), 1)
    x = (given.exp() if kind == "probs" else given).clone().requires_grad_()
    y = torch.tensor(np.eye(CLASSES)[target] if target is LABELS else target)
    y = y * (1 - label_smoothing) + label_smoothing / CLASSES
    w = torch.tensor(CLASS_WEIGHT)

    def theirs(reduction):
        p = x.log() if kind == "probs" else x
        loss = -(w * y * p.clamp(min=math.log(1e-3))).sum(1)
        divisor = CLASS_WEIGHT[target].sum() if target is LABELS else (SOFT * CLASS_WEIGHT).sum()
        return {"none": loss, "sum": loss.sum(), "mean": loss.sum() / divisor}[reduction]

    def ours(x, **more):
        options = {"class_weight": CLASS_WEIGHT, "label_smoothing": label_smoothing, "eps": 1e-3}
        return ce.cross_entropy(x, target, kind=kind, **options, **more)

    same_gradient(ours, theirs, x)


@pytest.mark.parametrize("kind", ["probs", "log_probs", "logits"])
@pytest.mark.parametrize("target", [OUTCOMES, SHARES], ids=["outcomes", "soft"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_gradients_of_labels_with_every_weight(kind, target, label_smoothing):
    p = torch.sigmoid(torch.tensor(MARGINS))
    x = {"probs": p, "log_probs": p.log(), "logits": torch.tensor(MARGINS)}[kind].clone().requires_grad_()
    y = torch.tensor(target).double() * (1 - label_smoothing) + label_smoothing / 2
    w, positive = torch.tensor(CLASS_WEIGHT), torch.tensor(POS_WEIGHT)

    def theirs(reduction):
        one, zero = {
            "probs": lambda: (x.log(), (1 - x).log()),
            "log_probs": lambda: (x, torch.log(-torch.expm1(x))),
            "logits": lambda: (functional.logsigmoid(x), functional.logsigmoid(-x)),
        }[kind]()
        loss = -w * (positive * y * one + (1 - y) * zero)
        return {"none": loss, "sum": loss.sum(), "mean": loss.sum() / (ROWS * w.sum())}[reduction]

    options = {"class_weight": CLASS_WEIGHT, "pos_weight": POS_WEIGHT, "label_smoothing": label_smoothing, "eps": 0}
    same_gradient(lambda x, **more: ce.multilabel_cross_entropy(x, target, kind=kind, **options, **more), theirs, x)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_gradient_of_a_tensor_is_a_tensor_that_backward_takes(dtype):
    inputs = torch.tensor(rng.normal(size=(ROWS, 3)), dtype=dtype)
    layer = torch.nn.Linear(3, CLASSES).to(dtype)
    y = torch.tensor(LABELS)
    functional.cross_entropy(layer(inputs), y).backward()
    expected = layer.weight.grad.clone()
    layer.zero_grad()
    logits = layer(inputs)
    _, grad = ce.cross_entropy(logits, y, kind="logits", grad=True)
    assert (grad.dtype, grad.shape, grad.requires_grad) == (dtype, logits.shape, False)
    logits.backward(grad)
    torch.testing.assert_close(
        layer.weight.grad, expected, rtol=8 * torch.finfo(dtype).eps, atol=torch.finfo(dtype).eps
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_out_may_be_a_tensor(dtype):
    x = torch.tensor(LOGITS).to(dtype)
    _, expected = ce.cross_entropy(x, LABELS, kind="logits", grad=True)
    out = torch.zeros(CLASSES, ROWS, dtype=dtype).T
    assert ce.cross_entropy(x, LABELS, kind="logits", grad=True, out=out)[1] is out
    assert torch.equal(out, expected)
    ce.cross_entropy(x, LABELS, kind="logits", grad=True, out=x)
    assert torch.equal(x, expected)
    wide = np.zeros(LOGITS.shape)
    ce.cross_entropy(out, LABELS, kind="logits", grad=True, out=wide)
    assert wide.any()


def test_an_out_that_is_no_plain_tensor_is_explained():
    x = torch.tensor(LOGITS)
    for out, words in (
        (torch.zeros(LOGITS.shape, device="meta"), "a strided tensor on meta"),
        (torch._neg_view(torch.zeros(LOGITS.shape)), "is a view of negated numbers"),
        (torch.zeros(1, CLASSES).expand(ROWS, -1), "has overlapping memory"),
        (torch.zeros(LOGITS.shape, dtype=torch.int64), "has dtype int64"),
    ):
        with pytest.raises(ce.InputError, match=words) as error:
            ce.cross_entropy(x, LABELS, kind="logits", grad=True, out=out)
        assert error.value.argument == "out"


def test_difference_nothing_counted_has_a_gradient_of_0_also_where_weights_are_0():
    x = torch.tensor(LOGITS, requires_grad=True)
    loss, grad = ce.cross_entropy(x, LABELS, kind="logits", weight=np.zeros(ROWS), grad=True)
    assert math.isnan(loss)
    assert (grad == 0).all()
    functional.cross_entropy(x, torch.tensor(LABELS), weight=torch.zeros(CLASSES).double()).backward()
    assert x.grad.isnan().all()


def test_gradients_of_masked_classes():
    logits = torch.tensor([[0.0, -np.inf, 1.0]], dtype=torch.float64)
    for label in (0, 1):
        x = logits.clone().requires_grad_()
        functional.cross_entropy(x, torch.tensor([label])).backward()
        close(ce.cross_entropy(x, [label], kind="logits", grad=True)[1], x.grad)

"""Loss per word and per byte: a sequence counts with its whole text, or not at all if one of its tokens is invalid."""

import itertools
import math
from fractions import Fraction

import golden_states
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

import streamce as ce
from streamce.cli.main import main
from streamce.integrations import engines

# A token is a loss of n / 8, whose sums are exact, or one that does not count.
CAUSES = {"null": "invalid_null", "nan": "invalid_nan", "range": "invalid_range"}
LOG_PROBS = {"null": None, "nan": math.nan, "range": 0.5, "ignored": math.nan}
WEIGHT_CAUSES = {"null": "invalid_null", "nan": "invalid_weight", "negative": "invalid_weight", "inf": "invalid_weight"}
WEIGHTS = {"null": None, "nan": math.nan, "negative": -1.0, "inf": math.inf}


def log_prob(token):
    return LOG_PROBS[token] if isinstance(token, str) else -token / 8


def weight_of(sequence):
    weight = sequence["weight"]
    return WEIGHTS[weight] if isinstance(weight, str) else weight / 4


@st.composite
def sequences(draw, ignored=True, invalid_weights=True):
    """Draw sequences of tokens with weights, words and bytes."""
    losses = st.integers(0, 80)
    odd = st.sampled_from([*CAUSES, *["ignored"] * ignored])
    token = st.one_of(losses, losses, losses, odd)
    weight = st.integers(0, 9)
    if invalid_weights:
        weight = st.one_of(weight, weight, weight, st.sampled_from([*WEIGHTS]))
    each = st.fixed_dictionaries({
        "tokens": st.lists(token, max_size=5), "weight": weight, "words": st.integers(0, 3), "bytes": st.integers(0, 9),
        "document": st.sampled_from("abc"),
    })  # fmt: skip
    return draw(st.lists(each, max_size=6))


def expected_text(found, name, weighted):
    """Return what the summary per word or byte must hold, by plain arithmetic."""
    n, d, counts = Fraction(0), Fraction(0), {"samples": 0, "count": 0, "skipped": 0}
    counts |= dict.fromkeys({*CAUSES.values(), *WEIGHT_CAUSES.values()}, 0)
    for sequence in found:
        kept = [token for token in sequence["tokens"] if token != "ignored"]
        scored = [token for token in kept if not isinstance(token, str)]
        weight = sequence["weight"] if weighted else 4
        if isinstance(weight, str) and (kept or not sequence["tokens"]):
            cause = WEIGHT_CAUSES[weight]
            if kept and kept[0] == "null":  # a null token is reported before its weight
                cause = "invalid_null"
        else:
            cause = next((CAUSES[token] for token in kept if isinstance(token, str)), None)
        if cause is not None:
            counts["skipped"] += 1
            counts[cause] += 1
        elif scored or (not sequence["tokens"] and sequence[name] and weight):
            counts["samples"] += 1
            counts["count"] += len(scored)
            n += Fraction(weight, 4) * sum((Fraction(token, 8) for token in scored), Fraction(0))
            d += Fraction(weight, 4) * sequence[name]
    return {"total": float(n), "weight": float(d), **counts}, (float(n / d) if d else None)


def check_text(metric, found, weighted):
    for name, read in (("words", metric.per_word), ("bytes", metric.per_byte)):
        expected, mean = expected_text(found, name, weighted)
        summary = read()
        assert {field: getattr(summary, field) for field in expected} == expected
        if mean is not None:
            assert summary.mean == mean


def add(metric, found, layout, weighted, clustered=False, door="log_probs"):
    """Add sequences in a layout: "flat", or padded to "lengths", or by "mask"."""
    more = {"n_words": [each["words"] for each in found], "n_bytes": [each["bytes"] for each in found]}
    if weighted:
        more["weight"] = [weight_of(each) for each in found]
    if clustered:
        more["cluster"] = [each["document"] for each in found]
    lists = [[*map(log_prob, each["tokens"])] for each in found]
    kept = [[token != "ignored" for token in each["tokens"]] for each in found]
    if layout == "flat":
        more["offsets"] = np.cumsum([0, *map(len, lists)])
        lists, kept = [*itertools.chain(*lists)], [*itertools.chain(*kept)]
    else:
        longest = max(map(len, lists), default=0)
        if layout == "lengths":
            more["lengths"] = np.array([*map(len, lists)], dtype=int)
        elif any(not row for row in lists):
            return None  # a mask ignores all tokens of a row, so that the row is not empty
        lists = [row + [math.nan] * (longest - len(row)) for row in lists]
        kept = [row + [layout == "lengths"] * (longest - len(row)) for row in kept]
    shape = np.shape(np.array(lists, dtype=object)) if layout == "flat" else (len(found), longest)
    more["mask"] = np.array(kept, dtype=bool).reshape(shape)
    if not math.prod(shape):
        lists = np.zeros(shape)
    if door == "log_probs":
        return metric.update_token_log_probs(lists, **more)
    return metric.update(two_classes(lists, shape), np.zeros(shape, dtype=int), **more)


def two_classes(lists, shape):
    """Return lists of log-probabilities as those of two classes, in nested lists. A null is one of the first class."""

    def row(x):
        if x is None:
            return [None, -1.0]
        return [x, math.log(-math.expm1(x)) if x < 0 else -math.inf]

    if not math.prod(shape):
        return np.zeros((*shape, 2))
    return [row(x) for x in lists] if len(shape) == 1 else [[row(x) for x in inner] for inner in lists]


def empty(**options):
    return ce.SequenceCrossEntropy(**{"invalid": "skip", "eps": 0.0, "kind": "log_probs"} | options)


# ---- the arithmetic ----


def test_a_sequence_with_skipped_tokens_has_no_loss_per_byte():
    metric = empty().update_token_log_probs([[-1.0, None, -1.0, math.nan]], n_bytes=[4], n_words=[1])
    for text in (metric.per_byte(), metric.per_word()):
        assert math.isnan(text.mean)
        assert (text.samples, text.count, text.weight, text.skipped) == (0, 0, 0.0, 1)
        assert (text.invalid_null, text.invalid_nan) == (1, 0)  # the cause of the first invalid token
    assert (metric.compute(), metric.summary().count, metric.summary().skipped) == (1.0, 2, 2)
    metric.update_token_log_probs([[-2.0, -1.0]], n_bytes=[6], n_words=[3])
    assert (metric.per_byte().mean, metric.per_word().mean, metric.compute()) == (0.5, 1.0, 1.25)
    perplexity = ce.Perplexity(invalid="skip").update_token_log_probs([[-1.0, None], [-2.0, -2.0]], n_bytes=[1, 4])
    assert (perplexity.per_byte().mean, perplexity.per_byte().skipped) == (1.0, 1)
    assert perplexity.per_byte().value == perplexity.per_byte().perplexity


def test_ignored_and_padded_tokens_leave_the_text_in():
    where = {"mask": [[1, 0, 1], [0, 0, 1]], "lengths": [3, 2], "n_bytes": [4, 9]}
    metric = empty().update_token_log_probs([[-1.0, math.nan, -1.0], [math.nan, math.nan, math.nan]], **where)
    assert (metric.per_byte().mean, metric.per_byte().weight, metric.per_byte().skipped) == (0.5, 4.0, 0)


@given(
    found=sequences(), layout=st.sampled_from(["flat", "lengths", "mask"]), weighted=st.booleans(),
    clustered=st.booleans(), per=st.sampled_from(["token", "sequence"]), door=st.sampled_from(["log_probs", "preds"]),
    threads=st.sampled_from([1, 3]),
)  # fmt: skip
def test_per_word_and_per_byte_are_those_of_whole_sequences(found, layout, weighted, clustered, per, door, threads):
    metric = add(empty(per=per, threads=threads), found, layout, weighted, clustered, door)
    if metric is None:
        return
    check_text(metric, found, weighted)
    skipped = metric.summary().skipped
    assert skipped >= sum(any(token in CAUSES for token in each["tokens"]) for each in found)


@given(found=sequences(), weighted=st.booleans(), clustered=st.booleans(), at=st.integers(0, 6), data=st.data())
def test_the_state_does_not_depend_on_layout_cuts_or_order(found, weighted, clustered, at, data):
    whole = add(empty(), found, "lengths", weighted, clustered)
    flat = any(each["tokens"] for each in found)
    other = data.draw(st.sampled_from(["flat", "lengths"])) if flat else "lengths"
    assert add(empty(), found, other, weighted, clustered).to_bytes() == whole.to_bytes()
    assert add(empty(), found, other, weighted, clustered, "preds").to_bytes() == whole.to_bytes()
    one_by_one = empty()
    for each in data.draw(st.permutations(found)):
        add(one_by_one, [each], other, weighted, clustered)
    assert one_by_one.to_bytes() == whole.to_bytes()
    a = add(empty(), found[:at], "lengths", weighted, clustered)
    b = add(empty(), found[at:], other, weighted, clustered)
    assert (a + b).to_bytes() == whole.to_bytes()
    assert (whole - a).to_bytes() == b.to_bytes()
    assert ce.from_bytes(whole.to_bytes()) == whole


def test_clusters_of_the_text_are_those_of_whole_sequences():
    log_probs, n_bytes = [[-1.0, -1.0], [None, -1.0], [-3.0, -1.0], [-1.0, -2.0]], [1, 2, 3, 4]
    metric = empty().update_token_log_probs(log_probs, n_bytes=n_bytes, cluster=["a", "b", "c", "c"])
    some = [0, 2, 3]
    expected = empty().update_token_log_probs(
        [log_probs[i] for i in some], n_bytes=[n_bytes[i] for i in some], cluster=["a", "c", "c"]
    )
    assert (metric.summary().buckets, metric.per_byte().buckets) == (3, 2)
    assert metric.per_byte().stderr == expected.per_byte().stderr


def test_an_invalid_token_still_raises():
    metric = ce.SequenceCrossEntropy()
    with pytest.raises(ce.InputError, match=r"log_probs\[0, 1\] is null"):
        metric.update_token_log_probs([[-1.0, None]], n_bytes=[4])
    assert metric == ce.SequenceCrossEntropy()


def test_an_infinite_weight_of_no_words_gives_no_warning():
    metric = empty().update_token_log_probs([[-1.0]], weight=[math.inf], n_words=[0])
    assert (metric.per_word().skipped, metric.per_word().invalid_weight) == (1, 1)


def test_states_from_before_keep_their_text():
    """The golden state holds the losses of two of three tokens of a sequence, with all its words and bytes."""
    old = ce.load(golden_states.FOLDER / "1" / "perplexity.state")
    texts = old.per_word(), old.per_byte()
    assert [(text.samples, text.weight, text.skipped) for text in texts] == [(3, 4.0, 0), (3, 14.0, 0)]
    new = golden_states.CASES["perplexity"]()
    assert (new.per_byte().samples, new.per_byte().weight, new.per_byte().skipped) == (2, 11.0, 1)
    both = old + new
    assert (both.per_byte().samples, both.per_byte().weight, both.per_byte().skipped) == (5, 25.0, 1)
    assert (both - new).to_bytes() == old.to_bytes()


# ---- the other doors ----


def table_of(found):
    lists = [[*map(log_prob, each["tokens"])] for each in found]
    for i, each in enumerate(found):
        if each.get("null"):
            lists[i] = None
    return pa.table({
        "lp": pa.array(lists, pa.list_(pa.float64())), "w": pa.array([*map(weight_of, found)], pa.float64()),
        "words": pa.array([each["words"] for each in found], pa.int64()),
        "bytes": pa.array([each["bytes"] for each in found], pa.int64()),
    })  # fmt: skip


COLUMNS = {"preds": "lp", "weight": "w", "n_words": "words", "n_bytes": "bytes"}


@given(data=st.data())
def test_streams_files_and_engines_have_the_bits_of_arrays(tmp_path_factory, data):
    found = data.draw(sequences(ignored=False, invalid_weights=False))
    for each in found:
        each["null"] = data.draw(st.booleans()) and data.draw(st.booleans())
    table = table_of(found)
    for each in found:
        if each["null"]:  # a row without a list is one null token
            each["tokens"] = ["null"]
    expected = add(empty(), found, "lengths", True)
    check_text(expected, found, True)
    assert empty().update_from(table, **COLUMNS) == expected
    at = data.draw(st.integers(0, len(found)))
    assert empty().update_from([table.slice(0, at), table.slice(at)], **COLUMNS) == expected
    partial = engines.partial(empty(), [table], **COLUMNS)
    assert partial == expected.to_bytes()
    collection = ce.Collection({"all": empty(), "tail": empty(tail=True)}).update_from(table, **COLUMNS)
    assert collection["all"] == expected
    check_text(collection["tail"], found, True)
    folder = tmp_path_factory.mktemp("text")
    parquet.write_table(table, folder / "a.parquet")
    words = [
        *("eval", str(folder / "a.parquet"), "--task", "sequence", "--token-log-probs", "lp", "--weight", "w"),
        *("--n-words", "words", "--n-bytes", "bytes", "--invalid", "skip", "--eps", "0"),
        *("--state", str(folder / "state"), "--chunk-rows", data.draw(st.sampled_from(["1", "2", "100"]))),
    ]
    status = main(words)
    seen = expected.summary().seen
    assert status == (1 if seen and expected.summary().skipped == seen else 0)
    assert (folder / "state").read_bytes() == expected.to_bytes()


def test_a_row_with_null_bytes_is_skipped_in_both():
    table = pa.table({"lp": [[-1.0, -2.0], [-3.0]], "bytes": pa.array([None, 6], pa.int64())})
    metric = empty().update_from(table, preds="lp", n_bytes="bytes")
    assert (metric.summary().count, metric.summary().invalid_null) == (1, 2)
    assert (metric.per_byte().mean, metric.per_byte().samples, metric.per_byte().invalid_null) == (0.5, 1, 1)


# ---- what people see ----


def test_skipped_sequences_are_shown(tmp_path, capsys):
    table = pa.table({"lp": [[-1.0, None], [-2.0, -1.0]], "bytes": [1, 6]})
    parquet.write_table(table, tmp_path / "a.parquet")
    words = [
        *("eval", str(tmp_path / "a.parquet"), "--task", "sequence", "--token-log-probs", "lp"),
        *("--n-bytes", "bytes", "--invalid", "skip", "--state", str(tmp_path / "state")),
    ]
    assert main(words) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("bits per byte")]
    assert line.endswith("1 samples, 1 skipped")
    page = ce.load(tmp_path / "state").report()
    assert "A sequence with an invalid token is skipped here." in page
    assert "word perplexity" not in page


def test_text_of_which_no_sequence_is_left_is_shown(tmp_path, capsys):
    parquet.write_table(pa.table({"lp": [[-1.0, None]], "bytes": [1]}), tmp_path / "a.parquet")
    words = [
        *("eval", str(tmp_path / "a.parquet"), "--task", "sequence", "--token-log-probs", "lp"),
        *("--n-bytes", "bytes", "--invalid", "skip"),
    ]
    assert main(words) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("bits per byte")]
    assert line.endswith("0 samples, 1 skipped")
    assert main([*words, "--json"]) == 0
    assert '"per_byte": {"value": null' in capsys.readouterr().out

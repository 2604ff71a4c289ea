"""The Trainer logs the exact mean loss of the logits that its model returns, however the evaluation is cut up."""

import doctest
import json
import math
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pages
import pytest
import tokenizers
import torch
import trainer_cases as cases
import transformers
from imports import error_without
from paths import ROOT
from trainer_cases import BATCH_SIZES, MODELS, Rows, Stream, bert, collate, evaluate, items, one_by_one, tokens, trainer

import streamce as ce
import streamce.integrations.transformers
from streamce.integrations.transformers import EvalMetric

SEQUENCES = tokens()
metric = cases.sequence_metric


@pytest.fixture(scope="module")
def expected():
    """Return the metric of each model's logits, computed sequence by sequence without a Trainer."""
    return {name: one_by_one(make().eval(), SEQUENCES, metric()) for name, make in MODELS.items()}


@pytest.fixture(scope="module")
def means():
    """Return the token mean of each model."""
    return {name: oracle(make().eval(), SEQUENCES) for name, make in MODELS.items()}


def oracle(model, sequences):
    """Return the mean loss of all tokens, from the logits of each sequence alone, in float64."""
    losses = []
    with torch.no_grad():
        for ids in sequences:
            log_probs = model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
            losses += [-log_probs[t, token].item() for t, token in enumerate(ids[1:])]
    return math.fsum(losses) / len(losses)


# ---- the number ----


@pytest.mark.parametrize(("size", "accumulation"), [*((size, None) for size in BATCH_SIZES), (16, 1), (16, 2), (64, 3)])
@pytest.mark.parametrize("name", MODELS)
def test_the_token_mean_at_every_batch_size_and_accumulation(name, size, accumulation, expected, means):
    arguments = {"per_device_eval_batch_size": size, "eval_accumulation_steps": accumulation}
    logged, last = evaluate(MODELS[name](), items(SEQUENCES), metric(), **arguments)
    assert logged["eval_exact_loss"] == pytest.approx(means[name], rel=1e-6)
    assert logged["eval_exact_loss"] == last.compute()
    assert logged["eval_exact_count"] == sum(map(len, SEQUENCES)) - 203
    if name == "look_up":
        assert last.to_bytes() == expected[name].to_bytes()


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("size", BATCH_SIZES)
@pytest.mark.parametrize("name", MODELS)
def test_the_token_mean_on_two_ranks(name, size, rank, job, expected):
    logged = json.loads(job[f"{name} {size} rank {rank}.json"])
    assert logged["eval_exact_loss"] == pytest.approx(expected[name].compute(), rel=1e-6)
    if name == "look_up":
        assert job[f"{name} {size} rank {rank}.state"] == expected[name].to_bytes()


@pytest.mark.parametrize("case", ["seq2seq", "stream"])
def test_samples_that_fill_up_the_last_batch_do_not_count(case, job, expected):
    assert job[f"{case} rank 0.state"] == job[f"{case} rank 1.state"] == expected["look_up"].to_bytes()


def test_a_stream_whose_repeated_samples_are_unknown_is_an_error(job):
    for rank in (0, 1):
        error = job[f"stream_of_each_rank rank {rank}.error"].decode()
        assert error.startswith("eval_dataset is a stream of unknown length")


def test_invalid_logits_of_one_rank_are_an_error_on_all(job):
    errors = [job[f"nan_on_one_rank rank {rank}.error"].decode() for rank in (0, 1)]
    assert errors[0] == errors[1]
    assert errors[0].startswith("losses[16, 1] of the label")


def test_rows_that_are_gathered_as_objects_are_an_error(job):
    errors = {job[f"objects rank {rank}.error"].decode() for rank in (0, 1)}
    assert errors == {"eval_use_gather_object is True: expected False, because losses are gathered as tensors"}


@pytest.mark.parametrize("arguments", [{"include_for_metrics": ["inputs", "loss"]}, {"eval_use_gather_object": True}])
def test_other_arguments_of_the_trainer(arguments, expected):
    assert evaluate(MODELS["look_up"](), items(SEQUENCES), metric(), **arguments)[1] == expected["look_up"]


def test_a_stream_of_unknown_length(expected):
    assert evaluate(MODELS["look_up"](), Stream(items(SEQUENCES)), metric())[1] == expected["look_up"]


@pytest.mark.parametrize("make", [cases.TupleForCausalLM, partial(cases.LookUpForCausalLM)])
def test_outputs_of_several_tensors(make, expected):
    assert evaluate(make(), items(SEQUENCES), metric())[1] == expected["look_up"]


def test_padding_on_the_left(expected):
    """The first token has to be ignored, because the model predicts it from padding where there is any."""
    rows = [{"input_ids": ids, "labels": [-100, *ids[1:]]} for ids in SEQUENCES]
    collator = partial(collate, left=True)
    assert evaluate(MODELS["look_up"](), rows, metric(), collator=collator)[1] == expected["look_up"]


def test_masked_prompts_do_not_count():
    rows = [{"input_ids": ids, "labels": [-100, -100, *ids[2:]]} for ids in SEQUENCES]
    model = MODELS["look_up"]()
    reference = metric()
    for ids in SEQUENCES:
        reference.update(model.table.weight[None, ids[1:-1]].detach(), [ids[2:]])
    assert evaluate(model, rows, metric())[1] == reference


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_logits_of_half_precision(dtype):
    model = MODELS["look_up"]().to(dtype)
    assert evaluate(model, items(SEQUENCES), metric())[1] == one_by_one(model, SEQUENCES, metric())


def test_a_router_whose_loss_comes_first():
    torch.manual_seed(0)
    config = transformers.MixtralConfig(
        vocab_size=50, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, num_local_experts=2, output_router_logits=True,
    )  # fmt: skip
    model = transformers.MixtralForCausalLM(config).eval()
    logged, _ = evaluate(model, items(SEQUENCES), metric())
    assert logged["eval_exact_loss"] == pytest.approx(oracle(model, SEQUENCES), rel=1e-6)


def test_the_bits_do_not_depend_on_the_mode_of_the_processor(expected):
    torch.set_flush_denormal(True)
    try:
        assert evaluate(MODELS["look_up"](), items(SEQUENCES), metric())[1] == expected["look_up"]
    finally:
        torch.set_flush_denormal(False)


# ---- what is logged ----


def test_the_names_that_are_logged():
    model, rows = MODELS["look_up"](), items(SEQUENCES)
    token_bytes = np.arange(50) % 5
    exact = EvalMetric(metric(), token_bytes=token_bytes)
    logged = trainer(model, rows, exact).evaluate()
    summary = exact.summary()
    assert (logged["eval_exact_loss_low"], logged["eval_exact_loss_high"]) == summary.interval
    assert logged["eval_exact_perplexity"] == summary.perplexity == math.exp(logged["eval_exact_loss"])
    n_bytes = sum(int(token_bytes[ids[1:]].sum()) for ids in SEQUENCES)
    assert logged["eval_exact_byte_bits"] == pytest.approx(summary.total / n_bytes / math.log(2))
    assert logged["eval_exact_samples"] == 203
    assert logged["eval_loss"] != pytest.approx(logged["eval_exact_loss"], rel=1e-3)


def test_bytes_of_the_tokens_of_a_byte_level_vocabulary(tmp_path):
    """The lines of the page give the bytes of each token."""
    text = "Ein schöner Tag – 一 日 – naïve café"
    made = tokenizers.ByteLevelBPETokenizer()
    made.train_from_iterator([text] * 3, vocab_size=280, special_tokens=["<|end|>"], show_progress=False)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=made._tokenizer, eos_token="<|end|>")
    model = cases.LookUpForCausalLM(vocabulary=len(tokenizer))
    model.config.vocab_size = len(tokenizer) + 8  # models round the size of their vocabulary up
    lines = pages.fences(ROOT / "docs/integrations" / "transformers.md", "py")[0]
    names = {"tokenizer": tokenizer, "model": model, "ce": ce, "EvalMetric": EvalMetric}
    exec(lines, names)
    ids = tokenizer(text)["input_ids"]
    assert any(len(tokenizer.decode([each])) > 1 for each in ids)
    assert sum(names["token_bytes"][each] for each in [*ids, tokenizer.eos_token_id]) == len(text.encode())


def test_intervals_take_the_tokens_of_a_sequence_as_correlated():
    _, last = evaluate(MODELS["look_up"](), items(SEQUENCES), metric())
    flat = ce.MeanLoss()
    table = MODELS["look_up"]().table.weight.detach()
    for ids in SEQUENCES:
        flat.update(ce.cross_entropy(table[ids[:-1]], ids[1:], kind="logits", reduction="none"))
    assert last.compute() == flat.compute()
    assert last.summary().stderr > 1.2 * flat.summary().stderr


@pytest.mark.parametrize("options", [{"tail": True}, {"per": "sequence"}, {"per_position": True}, {"invalid": "skip"}])
def test_options_of_the_metric(options):
    model = MODELS["look_up"]()
    assert evaluate(model, items(SEQUENCES), metric(**options))[1] == one_by_one(model, SEQUENCES, metric(**options))


def test_perplexity_is_logged_beside_the_loss(expected):
    logged, last = evaluate(MODELS["look_up"](), items(SEQUENCES), ce.Perplexity(kind="logits"))
    assert logged["eval_exact_loss"] == expected["look_up"].compute()
    assert logged["eval_exact_value"] == logged["eval_exact_perplexity"] == last.compute()


def test_prefixes_of_several_evaluation_sets():
    sets = {"short": Rows(items(SEQUENCES[:5])), "long": Rows(items(SEQUENCES))}
    exact = EvalMetric(metric())
    logged = trainer(MODELS["look_up"](), sets, exact).evaluate()
    for name, rows in sets.items():
        reference = one_by_one(MODELS["look_up"](), [row["input_ids"] for row in rows.items], metric())
        assert logged[f"eval_{name}_exact_loss"] == reference.compute()
    assert exact.metric == one_by_one(MODELS["look_up"](), SEQUENCES, metric())


def test_predictions_are_losses(expected):
    exact = EvalMetric(metric())
    found = trainer(MODELS["look_up"](), items(SEQUENCES), exact).predict(Rows(items(SEQUENCES)))
    assert found.metrics["test_exact_loss"] == expected["look_up"].compute()
    assert found.predictions[found.label_ids[:, 1:] != -100].sum() == pytest.approx(exact.summary().total)


def test_predictions_without_labels_are_logits():
    exact = EvalMetric(metric())
    rows = Rows([{"input_ids": torch.tensor([1, 2, 3])}] * 3)
    found = trainer(MODELS["look_up"](), rows, exact, collator=transformers.default_data_collator).predict(rows)
    assert found.predictions.shape == (3, 3, 50)


def test_the_best_model_is_chosen_by_the_exact_loss():
    model, exact = MODELS["look_up"](), EvalMetric(metric())
    made = trainer(
        model, items(SEQUENCES), exact, eval_strategy="steps", save_strategy="steps", eval_steps=2, save_steps=2,
        max_steps=10, learning_rate=100.0, load_best_model_at_end=True, metric_for_best_model="exact_loss",
        greater_is_better=False, logging_strategy="no", per_device_train_batch_size=64,
    )  # fmt: skip
    made.train_dataset = Rows(items(SEQUENCES))
    made.train()
    logged = [entry["eval_exact_loss"] for entry in made.state.log_history if "eval_exact_loss" in entry]
    assert len(set(logged)) == 5
    assert made.state.best_metric == min(logged) < logged[-1]
    assert made.evaluate()["eval_exact_loss"] == min(logged)


# ---- evaluations one after the other ----


def test_each_evaluation_starts_anew(expected):
    exact = EvalMetric(metric())
    made = trainer(MODELS["look_up"](), items(SEQUENCES), exact)
    assert exact.metric == metric()
    assert made.evaluate()["eval_exact_loss"] == made.evaluate()["eval_exact_loss"] == expected["look_up"].compute()
    assert exact.metric == expected["look_up"]
    made.evaluate(Rows(items(SEQUENCES[:3])))
    assert exact.summary().samples == 3


class Interrupted(cases.LookUpForCausalLM):
    """A model whose third batch raises, once."""

    calls = 0

    def forward(self, input_ids, labels=None, attention_mask=None, **kwargs):
        self.calls += 1
        if self.calls == 3:
            raise KeyboardInterrupt
        return super().forward(input_ids, labels, attention_mask, **kwargs)


def test_batches_of_an_interrupted_evaluation_do_not_count(expected):
    made = trainer(Interrupted(), items(SEQUENCES), EvalMetric(metric()))
    with pytest.raises(KeyboardInterrupt):
        made.evaluate()
    assert made.evaluate()["eval_exact_loss"] == expected["look_up"].compute()


def test_batches_of_an_interrupted_evaluation_with_the_same_loader_are_noticed(expected):
    exact = EvalMetric(metric())
    made = trainer(Interrupted(), items(SEQUENCES), exact)
    loader = made.get_eval_dataloader()
    made.get_eval_dataloader = lambda *_: loader
    with pytest.raises(KeyboardInterrupt):
        made.evaluate()
    with pytest.raises(ce.InputError, match="earlier evaluation was interrupted: it has 14 batches of a loader of 13"):
        made.evaluate()
    assert made.evaluate()["eval_exact_loss"] == expected["look_up"].compute()


class PlainLoader(transformers.Trainer):
    """A Trainer whose loader of the evaluation was not prepared, as many examples on the web override it."""

    def get_eval_dataloader(self, eval_dataset=None):
        return torch.utils.data.DataLoader(self.eval_dataset, batch_size=16, collate_fn=collate)


def test_a_loader_that_was_not_prepared_is_an_error():
    """The Trainer asks for the result only at the end of a loader that accelerate has prepared."""
    made = trainer(MODELS["look_up"](), items(SEQUENCES), EvalMetric(metric()), cls=PlainLoader)
    with pytest.raises(ce.InputError) as caught:
        made.evaluate()
    assert str(caught.value) == (
        "eval_dataloader was not prepared: expected trainer.accelerator.prepare(loader) in get_eval_dataloader"
    )


@pytest.mark.parametrize("when", [{"eval_strategy": "epoch"}, {"eval_strategy": "steps", "eval_steps": 1}])
def test_a_loader_that_was_not_prepared_is_an_error_within_training(when):
    """The end that the Trainer asks accelerate for is that of the training data."""
    made = trainer(
        MODELS["look_up"](), items(SEQUENCES), EvalMetric(metric()), cls=PlainLoader, **when, max_steps=4,
        per_device_train_batch_size=64, learning_rate=0.0, logging_strategy="no", save_strategy="no",
    )  # fmt: skip
    made.train_dataset = Rows(items(SEQUENCES))
    with pytest.raises(
        ce.InputError, match="eval_dataloader was not prepared, or an earlier evaluation was interrupted"
    ):
        made.train()


def test_a_loader_that_was_prepared(expected):
    class Prepared(PlainLoader):
        def get_eval_dataloader(self, eval_dataset=None):
            return self.accelerator.prepare(super().get_eval_dataloader(eval_dataset))

    assert evaluate(MODELS["look_up"](), items(SEQUENCES), metric(), cls=Prepared)[1] == expected["look_up"]


def test_no_token_is_nan():
    rows = [{"input_ids": ids, "labels": [-100] * len(ids)} for ids in SEQUENCES[:5]]
    logged, last = evaluate(MODELS["look_up"](), rows, metric())
    assert math.isnan(logged["eval_exact_loss"])
    assert math.isnan(last.compute())


def test_without_rows_the_trainer_logs_no_loss():
    logged, last = evaluate(MODELS["look_up"](), [], metric())
    assert not {"eval_loss", "eval_exact_loss"} & set(logged)
    assert last == metric()


def test_sequences_of_one_token(expected):
    rows = items([*SEQUENCES, [3], [4]])
    assert evaluate(MODELS["look_up"](), rows, metric())[1].compute() == expected["look_up"].compute()


# ---- models that classify ----


def class_rows(label):
    return [{"input_ids": ids, "labels": label(ids)} for ids in SEQUENCES[:40]]


def class_logits(model, rows):
    """Return the logits of each row alone."""
    with torch.no_grad():
        return torch.cat([model(input_ids=torch.tensor([row["input_ids"]])).logits for row in rows])


@pytest.mark.parametrize(
    ("cls", "options", "label"),
    [
        (ce.MulticlassCrossEntropy, {"num_labels": 3}, lambda ids: len(ids) % 3),
        (ce.BinaryCrossEntropy, {"num_labels": 1}, lambda ids: float(len(ids) % 2)),
        (
            ce.MultilabelCrossEntropy,
            {"num_labels": 2, "problem_type": "multi_label_classification"},
            lambda ids: [1.0, float(len(ids) % 2)],
        ),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 40])
def test_models_that_classify(cls, options, label, size):
    model, rows = bert(**options).eval(), class_rows(label)
    labels = torch.tensor([row["labels"] for row in rows])
    reference = cls(kind="logits").update(class_logits(model, rows), labels)
    collator = cases.collate_classes
    logged, last = evaluate(
        model, rows, cls(kind="logits"), shift=False, collator=collator, per_device_eval_batch_size=size
    )
    assert logged["eval_exact_loss"] == pytest.approx(reference.compute(), rel=1e-6)
    assert last.summary().count == reference.summary().count


@pytest.mark.parametrize("kind", ["TokenClassification", "MaskedLM"])
def test_models_that_predict_their_own_position(kind):
    model = bert(kind, **({"num_labels": 50} if kind == "TokenClassification" else {})).eval()
    reference = metric()
    with torch.no_grad():
        for ids in SEQUENCES:
            ids = torch.tensor([ids])
            reference.update(model(input_ids=ids).logits, ids)
    logged, _ = evaluate(model, items(SEQUENCES), metric(), shift=False)
    assert logged["eval_exact_loss"] == pytest.approx(reference.compute(), rel=1e-6)


def seq2seq_model():
    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    return transformers.T5ForConditionalGeneration(
        transformers.T5Config(**sizes, decoder_start_token_id=0, pad_token_id=0)
    ).eval()


@pytest.mark.parametrize("size", [6, 19])  # the last batch of the second one has one row
def test_encoder_decoders(size):
    model, reference = seq2seq_model(), metric()
    with torch.no_grad():
        for ids in SEQUENCES[:20]:
            labels = torch.tensor([ids[::-1]])
            reference.update(model(input_ids=torch.tensor([ids]), labels=labels).logits, labels)
    rows = [{"input_ids": ids, "labels": ids[::-1]} for ids in SEQUENCES[:20]]
    arguments = {"cls": transformers.Seq2SeqTrainer, "per_device_eval_batch_size": size}
    logged, last = evaluate(model, rows, metric(), shift=False, **arguments)
    assert logged["eval_exact_loss"] == pytest.approx(reference.compute(), rel=1e-6)
    assert last.summary().count == sum(map(len, SEQUENCES[:20]))


def test_tokens_that_are_generated_have_no_loss():
    exact = EvalMetric(metric(), shift=False)
    made = trainer(
        seq2seq_model(), items(SEQUENCES[:3]), exact, cls=transformers.Seq2SeqTrainer, predict_with_generate=True,
        generation_max_length=8,
    )  # fmt: skip
    with pytest.raises(ce.InputError, match=r"logits has shape \(3, \d+\): expected shape \(B, T, V\)"):
        made.evaluate()


def test_label_smoothing_of_the_trainer_does_not_change_the_exact_loss(expected):
    assert (
        evaluate(MODELS["look_up"](), items(SEQUENCES), metric(), label_smoothing_factor=0.1)[1] == expected["look_up"]
    )


# ---- memory ----

MEMORY = """
import resource, torch, trainer_cases as cases

class Long(torch.utils.data.Dataset):
    def __init__(self, number): self.number = number
    def __len__(self): return self.number
    def __getitem__(self, index):
        if index >= self.number: raise IndexError
        ids = [(index + t) % 2000 for t in range(64)]
        return {"input_ids": ids, "labels": ids}

model = cases.LookUpForCausalLM(vocabulary=2000)
for number in (64, 64, 512):
    cases.evaluate(model, Long(number), cases.sequence_metric(), per_device_eval_batch_size=8)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_evaluation_set():
    """The logits of the larger set take 262 MB."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)])}
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], env=environment, capture_output=True, text=True, check=True, timeout=200
    )
    _, small, large = (int(line) for line in done.stdout.split("\n") if line.isdigit())
    assert large - small < 12_000


# ---- what is refused ----


@pytest.mark.parametrize(
    ("refused", "options", "text"),
    [
        (ce.CTCCrossEntropy(), {}, "metric is a CTCCrossEntropy, whose input the Trainer does not give: expected Seq"),
        (ce.MeanLoss(), {}, "metric is a MeanLoss, whose input the Trainer does not give"),
        (ce.Grouped(ce.BinaryCrossEntropy()), {}, "metric is a Grouped, whose input the Trainer does not give"),
        (
            ce.MulticlassCrossEntropy(kind="logits"),
            {},
            "shift is True with a MulticlassCrossEntropy: expected shift=Fa",
        ),
        (ce.SequenceCrossEntropy(), {}, "kind is 'probs': expected 'logits', which models return"),
        (metric(label_smoothing=0.1), {}, "label_smoothing is 0.1: expected none, because only the loss of each label"),
        (metric(class_weight=[1.0, 2.0]), {}, "class_weight is [1.0, 2.0]: expected none"),
        (metric(ignore_index=None), {}, "ignore_index is None: expected -100, with which the Trainer pads labels"),
        (metric(), {"shift": 1}, "shift is 1: expected True or False"),
        (metric(), {"token_bytes": [1.5]}, "token_bytes is [1.5]: expected one integer of 0 or more per token"),
        (
            ce.BinaryCrossEntropy(kind="logits"),
            {"token_bytes": [1], "shift": False},
            "token_bytes is given with a BinaryCrossEntropy: expected a SequenceCrossEntropy or Perplexity",
        ),
        ({"loss": 1}, {}, "metric is {'loss': 1}: expected a metric such as BinaryCrossEntropy()"),
        (metric().update(np.zeros((1, 2, 3)), [[0, 1]]), {}, "metric has samples already"),
        (ce.Sliding(metric(), samples=3), {}, "the last samples of two streams do not add up"),
    ],
)
def test_what_is_refused(refused, options, text):
    with pytest.raises(ce.InputError) as caught:
        EvalMetric(refused, **options)
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"batch_eval_metrics": False}, r"batch_eval_metrics is False: expected TrainingArguments"),
        ({"preprocess": False}, r"predictions are not the losses of tokens: expected Trainer"),
        ({"token_bytes": [1, 2]}, r"token_bytes has 2 tokens, and there is a label 49"),
        ({"label_names": ["labels", "attention_mask"]}, r"labels are 2 arrays: expected one: set label_names"),
    ],
)
def test_what_is_refused_while_evaluating(arguments, text):
    exact = EvalMetric(metric(), token_bytes=arguments.pop("token_bytes", None))
    preprocess = arguments.pop("preprocess", True)
    made = trainer(MODELS["look_up"](), items(SEQUENCES), exact, **arguments)
    if not preprocess:
        made.preprocess_logits_for_metrics = None
    with pytest.raises(ce.InputError, match=text):
        made.evaluate()


def test_logits_that_are_not_those_of_tokens():
    made = trainer(bert(num_labels=3), class_rows(len), EvalMetric(metric()), collator=cases.collate_classes)
    made.model.config.num_labels = 100
    with pytest.raises(ce.InputError, match=r"logits has shape \(16, 3\): expected shape \(B, T, V\)"):
        EvalMetric(metric()).preprocess(torch.zeros(16, 3), torch.zeros(16, dtype=torch.long))
    with pytest.raises(ce.InputError, match=r"logits has shape \(2, 5, 9\) and labels \(2, 4\): expected one row per"):
        EvalMetric(metric()).preprocess(torch.zeros(2, 5, 9), torch.zeros(2, 4, dtype=torch.long))


def test_invalid_tokens_are_skipped_and_counted():
    model = MODELS["look_up"]()
    with torch.no_grad():
        model.table.weight[7] = torch.nan
    logged, last = evaluate(model, items(SEQUENCES), metric(invalid="skip"))
    invalid = sum(ids[:-1].count(7) for ids in SEQUENCES)
    assert logged["eval_exact_invalid_nan"] == last.summary().skipped == invalid > 0
    with pytest.raises(ce.InputError, match=r"losses\[\d+, \d+\] of the label \d+ is nan: expected valid logits"):
        evaluate(model, items(SEQUENCES), metric())


def test_a_missing_package_is_named():
    error = error_without("streamce.integrations.transformers", "torch")
    assert error.endswith("needs transformers with accelerate and torch: pip install 'streamce[transformers]'")


def test_the_examples(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results = doctest.testmod(streamce.integrations.transformers, optionflags=doctest.ELLIPSIS)
    assert (results.failed, results.attempted > 5) == (0, True)


def test_the_page(tmp_path):
    pages.run(ROOT / "docs/integrations" / "transformers.md", tmp_path)

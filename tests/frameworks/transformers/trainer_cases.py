"""Models, data and evaluations that the tests and the ranks of a job share."""

import tempfile

import numpy as np
import torch
import transformers
from torch import nn
from torch.utils.data import Dataset, IterableDataset
from transformers.modeling_outputs import CausalLMOutput

import streamce as ce
from streamce.integrations.transformers import EvalMetric

VOCABULARY = 50
BATCH_SIZES = (1, 4, 16, 64, 203)


class Rows(Dataset):
    """A list of items."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class Stream(IterableDataset):
    """The same items, of unknown number."""

    def __init__(self, items):
        self.items = items

    def __iter__(self):
        return iter(self.items)


def tokens(number=203):
    """Return sequences of 3 to 60 tokens. The shorter a sequence is, the more of its tokens surprise the look-up."""
    random = np.random.default_rng(203)
    sequences = []
    for length in random.integers(3, 61, number):
        surprising = random.random(length) < (6 / length) ** 2
        sequence = [int(random.integers(VOCABULARY))]
        for jumps in surprising[1:]:
            sequence.append(int(random.integers(VOCABULARY)) if jumps else (sequence[-1] + 1) % VOCABULARY)
        sequences.append(sequence)
    return sequences


def items(sequences):
    return [{"input_ids": ids, "labels": ids} for ids in sequences]


def collate(rows, left=False, width=None):
    """Pad the items of a batch to the longest, or to a width."""
    width = width or max(len(row["input_ids"]) for row in rows)

    def padded(name, value):
        fills = [[value] * (width - len(row["input_ids"])) for row in rows]
        return torch.tensor(
            [fill + row[name] if left else row[name] + fill for row, fill in zip(rows, fills, strict=True)]
        )

    batch = {"input_ids": padded("input_ids", 0), "labels": padded("labels", -100)}
    return batch | {"attention_mask": (batch["labels"] != -100).long()}


def collate_classes(rows):
    """Pad the items of a batch that have one label each."""
    labels = torch.tensor([row["labels"] for row in rows])
    batch = collate([{"input_ids": row["input_ids"], "labels": row["input_ids"]} for row in rows])
    return batch | {"labels": labels}


class LookUpConfig(transformers.PreTrainedConfig):
    model_type = "look_up"


class LookUpForCausalLM(transformers.PreTrainedModel):
    """A model whose logits are rows of a table, so that they do not depend on the batch."""

    config_class = LookUpConfig

    def __init__(self, config=None, vocabulary=VOCABULARY):
        super().__init__(config or LookUpConfig())
        table = 16.0 * torch.roll(torch.eye(vocabulary), 1, dims=1)
        noise = torch.randn(vocabulary, vocabulary, generator=torch.Generator().manual_seed(0))
        self.table = nn.Embedding.from_pretrained(table + noise, freeze=False)
        self.vocabulary = vocabulary

    def forward(self, input_ids, labels=None, attention_mask=None, **kwargs):
        logits = self.table(input_ids)
        loss = None if labels is None else self.loss_function(logits, labels, vocab_size=self.vocabulary, **kwargs)
        return CausalLMOutput(loss=loss, logits=logits)


class TupleForCausalLM(LookUpForCausalLM):
    """The same model, which returns a tuple."""

    def forward(self, input_ids, labels=None, attention_mask=None, **kwargs):
        output = super().forward(input_ids, labels, attention_mask, **kwargs)
        return output.loss, output.logits, output.logits.sum(-1)


def llama():
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2
    )
    return transformers.LlamaForCausalLM(config)


def gpt2():
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=2, n_positions=64)
    return transformers.GPT2LMHeadModel(config)


def bert(kind="SequenceClassification", **options):
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        **options,
    )
    return getattr(transformers, f"BertFor{kind}")(config)


MODELS = {"look_up": LookUpForCausalLM, "llama": llama, "gpt2": gpt2}


def sequence_metric(**options):
    return ce.SequenceCrossEntropy(kind="logits", **options)


def trainer(model, rows, exact, *, cls=transformers.Trainer, collator=collate, **arguments):
    """Return a trainer that evaluates rows. ``arguments`` are those of TrainingArguments."""
    defaults = {
        "per_device_eval_batch_size": 16,
        "batch_eval_metrics": True,
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "remove_unused_columns": False,
    }
    made = (
        transformers.Seq2SeqTrainingArguments if cls is transformers.Seq2SeqTrainer else transformers.TrainingArguments
    )
    return cls(
        model,
        made(tempfile.mkdtemp(), **{**defaults, **arguments}),
        data_collator=collator,
        eval_dataset=rows if isinstance(rows, Dataset | IterableDataset | dict) else Rows(rows),
        compute_metrics=exact,
        preprocess_logits_for_metrics=exact.preprocess,
        callbacks=[],
    )


def evaluate(model, rows, metric, *, shift=True, **arguments):
    """Return what an evaluation logs, and the metric that it fills."""
    exact = EvalMetric(metric, shift=shift)
    logged = trainer(model, rows, exact, **arguments).evaluate()
    return logged, exact.metric


def one_by_one(model, sequences, metric):
    """Return the metric of the logits that a model gives for each sequence alone."""
    with torch.no_grad():
        for ids in sequences:
            ids = torch.tensor([ids])
            metric.update(*ce.shift_by_one(model(input_ids=ids).logits, ids))
    return metric

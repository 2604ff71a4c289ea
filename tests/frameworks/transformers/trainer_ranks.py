"""One rank of a job: ``torchrun trainer_ranks.py FOLDER``. Each case writes what it logs and its state to FOLDER."""

import json
import os
import sys
from functools import partial
from pathlib import Path

import torch
import trainer_cases as cases
import transformers
from trainer_cases import BATCH_SIZES, MODELS, Stream, bert, evaluate, items, sequence_metric, tokens

import streamce as ce


def models(name, batch_size):
    return evaluate(MODELS[name](), items(tokens()), sequence_metric(), per_device_eval_batch_size=batch_size)


def seq2seq():
    """Evaluate with the trainer that does not drop the samples that fill up the last batch."""
    return evaluate(MODELS["look_up"](), items(tokens()), sequence_metric(), cls=transformers.Seq2SeqTrainer)


def stream(**options):
    """Evaluate rows of unknown number, which one rank reads for all."""
    rows = Stream(items(tokens()))
    return evaluate(MODELS["look_up"](), rows, sequence_metric(), collator=partial(cases.collate, width=60), **options)


def stream_of_each_rank():
    """Evaluate rows of unknown number, which each rank reads. It repeats some to fill up its last batch."""
    return stream(accelerator_config={"dispatch_batches": False})


class NanOnOneRank(cases.LookUpForCausalLM):
    def forward(self, input_ids, labels=None, attention_mask=None, **kwargs):
        output = super().forward(input_ids, labels, attention_mask, **kwargs)
        if torch.distributed.get_rank() == 1:
            output.logits[0, 1] = torch.nan
        return output


def nan_on_one_rank():
    return evaluate(NanOnOneRank(), items(tokens()), sequence_metric())


def objects():
    return evaluate(MODELS["look_up"](), items(tokens()), sequence_metric(), eval_use_gather_object=True)


def classifier():
    """Evaluate a model that accepts ``num_items_in_batch`` and returns the mean of its batch."""
    model = bert(num_labels=3)
    rows = [{"input_ids": ids, "labels": len(ids) % 3} for ids in tokens(32)]
    metric = ce.MulticlassCrossEntropy(kind="logits")
    return evaluate(model, rows, metric, shift=False, collator=cases.collate_classes, per_device_eval_batch_size=16)


CASES = {f"{name} {size}": lambda name=name, size=size: models(name, size) for name in MODELS for size in BATCH_SIZES}
CASES |= {each.__name__: each for each in (seq2seq, stream, stream_of_each_rank, nan_on_one_rank, objects, classifier)}


def main(folder):
    for name, case in CASES.items():
        path = Path(folder, f"{name} rank {os.environ['RANK']}")
        try:
            logged, metric = case()
        except ce.InputError as error:
            path.with_suffix(".error").write_text(str(error))
        else:
            path.with_suffix(".json").write_text(json.dumps(logged))
            path.with_suffix(".state").write_bytes(metric.to_bytes())
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])

"""One process of a torch.distributed job: ``python limb_ranks.py SIZE RANK STORE FOLDER``. States go to FOLDER."""

import os
import sys
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import summands
import torch
from torch import distributed


def main(size, rank, store, folder):
    distributed.init_process_group(
        "gloo", store=distributed.FileStore(store, size), rank=rank, world_size=size, timeout=timedelta(seconds=60)
    )
    for name, empty in summands.FIXED.items():
        metric = empty.copy()
        for each in summands.metrics(name)[rank::size]:
            metric.merge(each)
        limbs = torch.from_numpy(metric.to_limbs())
        distributed.all_reduce(limbs)
        (folder / f"{rank}.{name}").write_bytes(empty.copy().load_limbs(limbs).to_bytes())
    distributed.barrier()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
    os._exit(0)  # the end of torch may abort

"""``jax.lax.psum`` over several devices merges states, with integers of 64 bits."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import jax, numpy as np, summands
from jax.sharding import PartitionSpec

assert len(jax.devices()) == summands.N
mesh = jax.make_mesh((summands.N,), ("worker",))
for name, empty in summands.FIXED.items():
    metrics = summands.metrics(name)
    arrays = np.stack([metric.to_limbs() for metric in metrics])
    spec = PartitionSpec("worker")
    add = lambda each: jax.lax.psum(each, "worker")
    total = jax.shard_map(add, mesh=mesh, in_specs=spec, out_specs=PartitionSpec())
    spread = jax.device_put(arrays, jax.NamedSharding(mesh, spec))
    found = empty.copy().load_limbs(total(spread)[0])
    assert found.to_bytes() == summands.merged(metrics).to_bytes(), name
print("equal")
"""


def test_psum_merges_states():
    support = Path(__file__).parents[1] / "support"
    jax = {"JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=7"}
    environment = os.environ | jax
    command = [sys.executable, "-c", SCRIPT, support]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (0, "equal\n"), done.stderr

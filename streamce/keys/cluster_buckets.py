"""The bucket of each cluster: the hash of its key, from which cluster-robust errors are computed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from streamce.core.grouping import key_index
from streamce.core.kernels.kernels import in_default_mode
from streamce.errors import InputError
from streamce.inputs.arrays import Array
from streamce.keys.key_columns import convert_columns, join_columns


class Buckets(NamedTuple):
    """The bucket of the cluster of each sample. An update computes it before it reads any other memory."""

    numbers: Array


def to_buckets(clusters: Any) -> Buckets | None:
    """Return the bucket of each cluster, the same on every machine. Buckets and None are returned unchanged."""
    return clusters if clusters is None or isinstance(clusters, Buckets) else Buckets(_hash(clusters))


@in_default_mode
def hash_clusters(clusters: Any) -> Array | None:
    """Return the bucket of each cluster as an array, which is all that the core knows of clusters; None for None."""
    buckets = to_buckets(clusters)
    return None if buckets is None else buckets.numbers


def _hash(clusters: Any) -> Array:
    keys = join_columns(convert_columns(clusters, "cluster"), "cluster")
    if keys.integers is not None:
        return key_index.buckets_of_integers(keys.integers)
    no_key = b"\0" * len(keys.kinds)
    if no_key in keys.distinct:
        index = (int(np.argmax(keys.codes == keys.distinct.index(no_key))),)
        raise InputError("cluster", "is None", "the id of a cluster", index=index)
    are_integers = len(keys.kinds) == 1 and keys.kinds[0] in key_index.INTEGERS
    numbers = [key_index.bucket_of(key, are_integers) for key in keys.distinct]
    return np.array(numbers, dtype=np.uint8)[keys.codes]

"""Labeled pairs in a file: an npz of plain arrays with its provenance inside, never a pickle."""

import json
import math
import os
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pbrl.errors import ConfigError
from pbrl.segments import Segments

FORMAT = "pbrl-preferences-1"
MOST_BYTES = 16 << 30
"""of a file's arrays, unpacked"""
_NOT_OURS = (
    *(OSError, ValueError, TypeError, KeyError, EOFError, RuntimeError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error, SyntaxError, RecursionError, AttributeError),
)


@dataclass(frozen=True)
class PreferenceFile:
    """What a preference file holds; the reward is present when the writer had it."""

    first: Segments
    second: Segments
    labels: Tensor
    "[N] float: P(second preferred), NaN where skipped or not labeled."
    provenance: dict[str, Any]
    "Where the pairs come from: environment, teacher, seed, versions."


def save(path: str | Path, pairs: PreferenceFile) -> None:
    """Write pairs as an npz of plain arrays, with the provenance as JSON inside, atomically."""
    path = Path(path)
    arrays: dict[str, Any] = {
        f"{side}.{name}": value.detach().cpu().numpy()
        for side, segments in (("first", pairs.first), ("second", pairs.second))
        for name, value in segments.tensors().items()
    }
    text = json.dumps({"format": FORMAT, **pairs.provenance}, sort_keys=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        np.savez(file, labels=pairs.labels.cpu().numpy(), provenance=text, **arrays)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load(path: str | Path, *, device: str | torch.device = "cpu") -> PreferenceFile:
    """Read what `save` wrote; never unpickles, and never unpacks over `MOST_BYTES`.

    Raises ConfigError when the file is missing, is not such an npz, is encrypted, holds pickled
    objects or too much, or when labels, pairs, widths, masks and types do not fit each other.
    """
    try:
        _check_archive(Path(path))
        with np.load(path, allow_pickle=False) as file:
            provenance = json.loads(str(file["provenance"]))
            if not isinstance(provenance, dict) or provenance.get("format") != FORMAT:
                raise ValueError("its provenance does not name that format")
            sides = {
                side: Segments(
                    **{
                        name.partition(".")[2]: torch.from_numpy(file[name])
                        for name in file.files
                        if name.startswith(side + ".")
                    }
                )
                for side in ("first", "second")
            }
            pairs = PreferenceFile(
                sides["first"], sides["second"], torch.from_numpy(file["labels"]), provenance
            )
        _check_fit(pairs)
    except _NOT_OURS as error:
        raise ConfigError(
            f"{path} is not a preference file ({error}); expected an npz of plain arrays of format "
            f"{FORMAT}, as pbrl.datasets.save writes it"
        ) from None
    return replace(
        pairs,
        first=pairs.first.to(device),
        second=pairs.second.to(device),
        labels=pairs.labels.to(device),
    )


def _check_archive(path: Path) -> None:
    """Look at the archive's and the arrays' headers before anything is unpacked."""
    if not zipfile.is_zipfile(path):
        raise ValueError("missing or no zip archive")
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        unpacked = sum(member.file_size for member in members)
        if unpacked > MOST_BYTES:
            raise ValueError(f"it unpacks to {unpacked:,} bytes, over the limit of {MOST_BYTES:,}")
        for member in members:
            if member.flag_bits & 1:
                raise ValueError(f"{member.filename} is encrypted")
            with archive.open(member) as file:
                major, _ = np.lib.format.read_magic(file)
                read = {1: np.lib.format.read_array_header_1_0}.get(
                    major, np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = read(file)
                needed = math.prod(shape) * dtype.itemsize
                if dtype.hasobject or file.tell() + needed != member.file_size:
                    raise ValueError(
                        f"{member.filename} says {list(shape)} of {dtype}, which is not what it "
                        "holds"
                    )


def _check_fit(pairs: PreferenceFile) -> None:
    """One label per pair, both segments of equal widths and lengths, every array of its type."""
    first, second, labels = pairs.first, pairs.second, pairs.labels
    if labels.ndim != 1 or not len(labels) == len(first) == len(second):
        raise ValueError(
            f"labels {list(labels.shape)} of {len(first)} first and {len(second)} second segments"
        )
    shapes = [{k: list(v.shape) for k, v in side.tensors().items()} for side in (first, second)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"first segments {shapes[0]} and second {shapes[1]} differ")
    if not labels.is_floating_point() or ((labels < 0) | (labels > 1)).any():
        raise ValueError("labels are P(second preferred): floats in [0, 1], or NaN")
    for side in (first, second):
        for name, value in side.tensors().items():
            flag = name in ("mask", "terminal")
            if (value.dtype != torch.bool) if flag else not value.is_floating_point():
                raise ValueError(f"{name} is {value.dtype}; expected {'bool' if flag else 'float'}")
            if not flag and not value.isfinite().all():
                raise ValueError(f"{name} is not finite everywhere")

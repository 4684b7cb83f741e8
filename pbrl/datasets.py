"""Labeled pairs in a file: an npz of plain arrays with its provenance inside, never a pickle."""

import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pbrl.errors import ConfigError
from pbrl.segments import Segments

FORMAT = "pbrl-preferences-1"


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
    """Read what `save` wrote; never unpickles.

    Raises ConfigError when the file is missing, is not such an npz, or holds pickled objects.
    """
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("missing or no zip archive")
        with np.load(path, allow_pickle=False) as file:
            provenance = json.loads(str(file["provenance"]))
            if provenance.get("format") != FORMAT:
                raise ValueError(f"its format is {provenance.get('format')!r}")
            sides = {
                side: Segments(
                    **{
                        name.partition(".")[2]: torch.from_numpy(file[name])
                        for name in file.files
                        if name.startswith(side + ".")
                    }
                ).to(device)
                for side in ("first", "second")
            }
            labels = torch.from_numpy(file["labels"]).to(device)
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigError(
            f"{path} is not a preference file ({error}); expected an npz of plain arrays of format "
            f"{FORMAT}, as pbrl.datasets.save writes it"
        ) from None
    return PreferenceFile(sides["first"], sides["second"], labels, provenance)

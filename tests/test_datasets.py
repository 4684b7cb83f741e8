"""Preference files: what is no such file, or could not be one, is refused in one line."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pbrl import datasets
from pbrl.errors import ConfigError


def arrays(**changes: Any) -> dict[str, Any]:
    """The arrays of a file of two pairs, three steps long."""
    side = {
        "obs": np.zeros((2, 3, 4), np.float32),
        "act": np.zeros((2, 3, 1), np.float32),
        "next_obs": np.zeros((2, 3, 4), np.float32),
        "terminal": np.zeros((2, 3), bool),
        "mask": np.ones((2, 3), bool),
    }
    made: dict[str, Any] = {f"{s}.{k}": v for s in ("first", "second") for k, v in side.items()}
    provenance = f'{{"format": "{datasets.FORMAT}"}}'
    return made | {"labels": np.array([0.0, np.nan]), "provenance": provenance} | changes


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"labels": np.zeros(3)}, r"labels \[3\] of 2 first and 2 second"),
        ({"labels": np.zeros((2, 1))}, r"labels \[2, 1\]"),
        ({"labels": np.array([0, 1])}, "floats in"),
        ({"labels": np.array([0.0, 2.0])}, "floats in"),
        ({"first.act": np.zeros((2, 3, 2), np.float32)}, "first segments .* and second .* differ"),
        ({"first.mask": np.ones((2, 4), bool)}, "segments need obs"),
        ({"first.mask": np.ones((2, 3))}, "mask is torch.float64; expected bool"),
        ({"first.obs": np.zeros((2, 3, 4), int)}, "obs is torch.int64; expected float"),
        ({"first.obs": np.full((2, 3, 4), np.inf)}, "obs is not finite"),
        ({"first.colour": np.zeros(2)}, "unexpected keyword argument 'colour'"),
        ({"provenance": "[]"}, "does not name that format"),
        ({"provenance": "{"}, "Expecting property name"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "pairs.npz", **arrays())
    assert len(datasets.load(tmp_path / "pairs.npz").labels) == 2
    np.savez(tmp_path / "pairs.npz", **arrays(**changes))
    with pytest.raises(ConfigError, match=f"not a preference file .*{reason}"):
        datasets.load(tmp_path / "pairs.npz")


def test_a_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(tmp_path / "pairs.npz", **arrays(more=np.zeros(1_000_000)))
    monkeypatch.setattr(datasets, "MOST_BYTES", 1_000_000)
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("unpacked"))
    with pytest.raises(ConfigError, match=r"unpacks to 8,0\d\d,\d\d\d bytes, over the limit"):
        datasets.load(tmp_path / "pairs.npz")


def test_a_header_that_lies_and_an_encrypted_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pairs.npz"
    np.savez(path, **arrays())
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"(2, 3, 4)", b"(9, 3, 4)", 1))
    with pytest.raises(ConfigError, match="not a preference file"):
        datasets.load(path)
    with zipfile.ZipFile(path, "w") as archive, archive.open("labels.npy", "w") as file:
        header = {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(ConfigError, match=r"labels.npy says \[1000000000000\] of float64"):
        datasets.load(path)
    secret = bytearray(whole)
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        secret[whole.index(mark) + place] |= 1
    path.write_bytes(secret)
    with pytest.raises(ConfigError, match="is encrypted"):
        datasets.load(path)

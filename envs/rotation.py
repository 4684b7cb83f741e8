"""From a rotation matrix to a quaternion, as scipy computes it for the tasks of Meta-World.

scipy 1.17 takes 50 us for one matrix, nearly all of it for arrays of other libraries. Here are its
operations in its order on plain numbers, so the same bits; a test compares them.
"""

from math import sqrt
from typing import Any

import numpy as np
from scipy.spatial import transform

LENGTH, ANGLE = 0.9e-5, 0.9e-12
"""How far rows may be from unit length and from right angles; what is near the limits of scipy,
which makes a matrix beyond them orthogonal first, goes to scipy."""


class Rotation:
    """The part of scipy's `Rotation` that tasks of Meta-World use: one matrix in, `as_quat` out."""

    def __init__(self, matrix: np.ndarray) -> None:
        self.matrix = matrix

    @classmethod
    def from_matrix(cls, matrix: Any) -> Any:
        """Of one matrix [3, 3] that is orthogonal; scipy's own object for any other."""
        if np.shape(matrix) != (3, 3) or not _is_rotation(*np.ravel(matrix).tolist()):
            return transform.Rotation.from_matrix(matrix)
        return cls(matrix)

    def as_quat(self) -> np.ndarray:
        """[4]: x, y, z, w (Markley 2008: the largest of four candidates, normalized)."""
        m = self.matrix.tolist()
        trace = m[0][0] + m[1][1] + m[2][2]
        candidates = [m[0][0], m[1][1], m[2][2], trace]
        i = candidates.index(max(candidates))
        if i == 3:
            quat = [m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1], 1 + trace]
        else:
            j, k = (i + 1) % 3, (i + 2) % 3
            quat = [0.0] * 4
            quat[i] = 1 - trace + 2 * m[i][i]
            quat[j], quat[k] = m[j][i] + m[i][j], m[k][i] + m[i][k]
            quat[3] = m[k][j] - m[j][k]
        x, y, z, w = quat
        norm = sqrt(x * x + y * y + z * z + w * w)
        return np.array([x / norm, y / norm, z / norm, w / norm])


def _is_rotation(
    a: float, b: float, c: float, d: float, e: float, f: float, g: float, h: float, i: float
) -> bool:
    """Whether rows (a, b, c), (d, e, f), (g, h, i) are orthonormal and right-handed."""
    return (
        abs(a * a + b * b + c * c - 1) < LENGTH
        and abs(d * d + e * e + f * f - 1) < LENGTH
        and abs(g * g + h * h + i * i - 1) < LENGTH
        and abs(a * d + b * e + c * f) < ANGLE
        and abs(a * g + b * h + c * i) < ANGLE
        and abs(d * g + e * h + f * i) < ANGLE
        and a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g) > 0.5
    )

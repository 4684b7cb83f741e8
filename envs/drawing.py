"""Frames of the small environments, drawn with numpy alone.

Points are (x, y) in [-1, 1], x to the right and y upwards; lengths are in the same unit.
"""

import numpy as np

SIZE = 256
INK, PALE, ACCENT = (40, 44, 52), (222, 225, 230), (213, 94, 0)

Color = tuple[int, int, int]
Point = tuple[float, float]


def canvas(color: Color = (255, 255, 255)) -> np.ndarray:
    """An empty frame, uint8 [256, 256, 3]."""
    return np.full((SIZE, SIZE, 3), color, np.uint8)


def disk(frame: np.ndarray, center: Point, radius: float, color: Color) -> None:
    """Fill a disk."""
    segment(frame, center, center, 2 * radius, color)


def segment(frame: np.ndarray, start: Point, end: Point, width: float, color: Color) -> None:
    """Draw a line with round ends."""
    x, y = _pixels()
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = ((x - start[0]) * dx + (y - start[1]) * dy) / max(dx * dx + dy * dy, 1e-12)
    along = np.clip(along, 0.0, 1.0)
    distance = np.hypot(x - start[0] - along * dx, y - start[1] - along * dy)
    frame[distance <= width / 2] = color


def rectangle(frame: np.ndarray, low: Point, high: Point, color: Color) -> None:
    """Fill the rectangle between two corners."""
    x, y = _pixels()
    frame[(x >= low[0]) & (x <= high[0]) & (y >= low[1]) & (y <= high[1])] = color


def _pixels() -> tuple[np.ndarray, np.ndarray]:
    centers = (np.arange(SIZE) + 0.5) * 2 / SIZE - 1
    return centers[None, :], -centers[:, None]

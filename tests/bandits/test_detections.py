"""Which changes a monitor noticed, and which alarms were false."""

import numpy as np

from bandits.detector import detections


def test_alarms_are_matched_to_changes_within_the_span() -> None:
    changes = np.array([100, 200, 300])
    resets = np.array([50, 130, 160, 290, 305])
    delays, false_alarms, missed = detections(resets, changes, 40)
    assert delays.tolist() == [30, 5]
    assert (false_alarms, missed) == (3, 1)


def test_without_a_change_every_alarm_is_false() -> None:
    delays, false_alarms, missed = detections(np.array([10, 20]), np.array([], np.int64), 40)
    assert (delays.size, false_alarms, missed) == (0, 2, 0)

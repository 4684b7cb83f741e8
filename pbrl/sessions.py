"""When a method asks for labels and how many: known before a run starts, and checked there.

B-Pref's "10,000-label" Meta-World runs have room for 9,900 labels (reference: its released code);
a budget that cannot be spent is refused instead.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

from pbrl.errors import ConfigError

Kind = Literal["constant", "decay", "growth"]
SPREAD = 0.75  # of the steps after the first session: where the last is, if no interval is given


SESSIONS = 10_000
"""Sessions of one run at most."""


@lru_cache(maxsize=4096)
def sessions(
    *,
    steps: int,
    first: int,
    interval: int | None,
    per_session: int,
    labels: int,
    kind: Kind = "constant",
) -> tuple[tuple[int, int], ...]:
    """(step, number of queries) of every feedback session, until the budget is spent.

    Sessions are at first, first + interval, ... strictly below `steps`. The size at step t of N is
    per_session times 1 (constant), (N - t) / N (decay) or N / (N - t + 1) (growth), rounded down,
    and the last one is cut to what is left (B-Pref, `train_PEBBLE.py`). An interval of None is the
    longest that spends the budget over the first SPREAD of the steps, 1 if none does.

    Raises ConfigError unless interval and per_session are at least 1, and for over 10,000 sessions.
    """
    if interval is None:
        return _spread(steps, first, per_session, labels, kind)
    if interval < 1 or per_session < 1:
        raise ConfigError(
            f"label_interval = {interval}, labels_per_session = {per_session}; expected at least 1"
        )
    found, left = [], labels
    for number, step in enumerate(range(first, steps, interval)):
        if left == 0:
            break
        if number == SESSIONS:
            raise ConfigError(
                f"label_interval = {interval} makes {len(range(first, steps, interval)):,} "
                f"sessions; expected at most {SESSIONS:,}: raise it, or labels_per_session"
            )
        factors = {"constant": 1.0, "decay": (steps - step) / steps}
        factors["growth"] = steps / (steps - step + 1)
        size = min(int(per_session * factors[kind]), left)
        if size > 0:
            found.append((step, size))
            left -= size
    return tuple(found)


def _spread(
    steps: int, first: int, per_session: int, labels: int, kind: Kind
) -> tuple[tuple[int, int], ...]:
    end = first + int(SPREAD * (steps - first))
    sizes = {"per_session": per_session, "labels": labels, "kind": kind}

    def planned(interval: int) -> tuple[tuple[int, int], ...]:
        return sessions(steps=steps, first=first, interval=interval, **sizes)

    def fits(interval: int) -> bool:
        if steps - first > interval * SESSIONS:
            return True  # the sessions are too many, not too few
        found = planned(interval)
        return bool(found) and sum(size for _, size in found) == labels and found[-1][0] <= end

    low, high = 1, max(2, steps - first)  # the longest interval that fits is in [low, high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return planned(low)


def is_scheduled(config: Mapping[str, Any]) -> bool:
    """Whether a method's settings are those of a schedule: it may ask by another rule."""
    return {"steps", "labels", "labels_per_session", "label_interval"} <= config.keys()


def sessions_of(config: Mapping[str, Any]) -> tuple[tuple[int, int], ...]:
    """The sessions of a method's settings: steps, labels, labels_per_session, label_interval.

    The first is when seed_steps and unsup_steps, where the method has them, are over.
    """
    return sessions(
        steps=config["steps"],
        first=config.get("seed_steps", 0) + config.get("unsup_steps", 0),
        interval=config["label_interval"],
        per_session=config["labels_per_session"],
        labels=config["labels"],
        kind=config.get("label_schedule", "constant"),
    )


def spendable(config: Mapping[str, Any]) -> int:
    """How many of a method's labels its sessions can spend."""
    return sum(size for _, size in sessions_of(config))

"""From battles to a preference matrix: who beat whom, how often, and what that leaves open.

    from bandits.battles import preferences, read_battles

    battles = read_battles("arena.csv")             # a, b, outcome in every line
    p, notes = preferences(battles, fit="davidson")  # p [K, K] of the arms battles.arms

A file is a table with cells between commas, semicolons or tabs, or else between blanks; lines
starting with # are comments. It has one of three layouts:

    battles   a, b, outcome: the outcome is 1, win or a when the first of the two won; 0, loss or b
              when the second did; 0.5, tie or draw when nobody did. model_a, model_b and
              "tie (bothbad)" are taken as well.
    counts    a, b, wins_a, wins_b and, if any battle was tied, ties. A pair may have many lines.
    matrix    a row and a column per arm: how often the row's arm beat the column's. NaN, - or an
              empty cell: the two never met. The diagonal does not matter.

The columns of battles and counts may be named in a first line, in any order and beside others;
that of a matrix may name the arms, and its rows may begin with their names.

Without a fit, p_ij is the share of their battles that i won, a tie being half a win to each. A fit
also says what pairs that never met would do, from one strength per arm, theta:

    bradley-terry   P(i beats j) = 1/(1 + exp(theta_j - theta_i)); a tie is half a win to each
    davidson        P(i wins) : P(tie) : P(j wins) = e^g : e^lambda : e^-g with
                    g = (theta_i - theta_j)/2 (Davidson 1970, his nu = e^lambda);
                    p_ij = P(i wins) + P(tie)/2, since the simulator decides a tie by a fair coin

Both maximize the likelihood by Newton's method. Where it has no finite maximum (Ford 1957: the arms
must not fall into two sides of which one never lost to the other) the arms are named; `prior` > 0
is the remedy: so many imagined battles of every arm, half won and half lost, against one of
strength 0. It pulls all strengths together, so nothing is imagined unless asked for.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

Layout = Literal["battles", "counts", "matrix"]
Fit = Literal["none", "bradley-terry", "davidson"]

OUTCOMES = {
    **dict.fromkeys(("1", "1.0", "win", "a", "model_a"), 1.0),
    **dict.fromkeys(("0", "0.0", "loss", "b", "model_b"), 0.0),
    **dict.fromkeys(("0.5", "tie", "draw", "tie (bothbad)"), 0.5),
}
# A column and what else it may be called.
COLUMNS = {
    "a": ("a", "model_a"),
    "b": ("b", "model_b"),
    "outcome": ("outcome", "winner", "result"),
    "wins_a": ("wins_a",),
    "wins_b": ("wins_b",),
    "ties": ("ties",),
}
NEEDED = {"battles": ("a", "b", "outcome"), "counts": ("a", "b", "wins_a", "wins_b")}
NEVER = ("", "-", "nan", "na")  # in a matrix: the two never met
SHOWN = 5  # arms or pairs that a message names before it says how many more there are


@dataclass(frozen=True)
class Battles:
    """How the battles of K arms ended.

    arms  names, in order of first appearance
    wins  float64 [K, K]   how often i beat j
    ties  float64 [K, K]   how often they tied, symmetric

    Raises ValueError for one arm, numbers below 0 or not finite, an arm that fought itself, ties
    that are not symmetric, or no battle at all.
    """

    arms: tuple[str, ...]
    wins: np.ndarray
    ties: np.ndarray

    def __post_init__(self) -> None:
        shape = (len(self.arms),) * 2
        if len(self.arms) < 2:
            raise ValueError(f"found battles of {len(self.arms)} arm; expected at least two arms")
        for name, found in (("wins", self.wins), ("ties", self.ties)):
            if found.shape != shape or not (np.isfinite(found) & (found >= 0)).all():
                raise ValueError(f"{name} must be {shape} numbers of at least 0")
            if np.diag(found).any():
                raise ValueError(f"{name}: an arm fought itself; expected 0 on the diagonal")
        if not np.array_equal(self.ties, self.ties.T):
            raise ValueError("ties must be symmetric: i tied with j as often as j with i")
        if not self.met.any():
            raise ValueError("found no battle between two arms; expected at least one")

    @property
    def met(self) -> np.ndarray:
        """Battles of every pair, float64 [K, K], 0 on the diagonal."""
        return self.wins + self.wins.T + self.ties


def read_battles(path: str | Path, layout: Layout = "battles") -> Battles:
    """The battles in a file of that layout.

    Raises ValueError, with the line, for a file that is missing, another layout, or a bad cell.
    """
    lines = _lines(path)
    if layout == "matrix":
        return _of_matrix(path, lines)
    return _of_rows(path, lines, layout)


def _lines(path: str | Path) -> list[tuple[int, list[str]]]:
    """The table's (line number, cells)."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}; give a text file") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not text; give a file of comma-separated cells") from None
    kept = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    kept = [(n, line) for n, line in kept if not line.lstrip().startswith("#")]
    if not kept:
        raise ValueError(f"{path} holds no battles")
    separator = next((s for s in "\t,;" if s in kept[0][1]), None)
    if separator is None:
        return [(n, line.split()) for n, line in kept]
    return [(n, _cells(line, separator)) for n, line in kept]


def _cells(line: str, separator: str) -> list[str]:
    (row,) = csv.reader([line], delimiter=separator, skipinitialspace=True)
    return [cell.strip() for cell in row]


def _of_rows(path: str | Path, lines: list[tuple[int, list[str]]], layout: str) -> Battles:
    needed, head = NEEDED[layout], lines[0][0]
    first = [cell.lower() for cell in lines[0][1]]
    named = {
        column: first.index(alias)
        for column, aliases in COLUMNS.items()
        for alias in aliases
        if alias in first
    }
    if set(needed) <= named.keys():
        lines = lines[1:]
    else:
        named = {column: k for k, column in enumerate((*needed, "ties")[: len(first)])}
        if len(first) not in ((3,) if layout == "battles" else (4, 5)):
            raise ValueError(
                f"{path}, line {head} has {len(first)} cells; expected {', '.join(needed)}"
                f"{', ties' if layout == 'counts' else ''}, or a first line that names them "
                "(or layout: battles, counts or matrix)"
            )
    index: dict[str, int] = {}
    found: list[tuple[int, int, float, float, float]] = []
    for number, cells in lines:
        where = f"{path}, line {number}"
        if len(cells) <= max(named.values()):
            raise ValueError(f"{where} has {len(cells)} cells; expected as many as in line 1")
        a, b = cells[named["a"]], cells[named["b"]]
        if not a or not b or a == b:
            raise ValueError(f"{where}: {a!r} against {b!r}; expected the names of two arms")
        i, j = (index.setdefault(name, len(index)) for name in (a, b))
        if layout == "battles":
            given = cells[named["outcome"]]
            outcome = OUTCOMES.get(given.lower())
            if outcome is None:
                raise ValueError(
                    f"{where}: outcome {given!r}; expected 1, win or a; 0, loss or b; 0.5 or tie"
                    f"{' (or a first line that names a, b and outcome)' * (number == head)}"
                )
            found.append((i, j, float(outcome == 1), float(outcome == 0), float(outcome == 0.5)))
        else:
            a_wins, b_wins, ties = (
                _number(cells[named[column]], f"{where}: {column}") if column in named else 0.0
                for column in ("wins_a", "wins_b", "ties")
            )
            found.append((i, j, a_wins, b_wins, ties))
    wins, ties_ = np.zeros((len(index),) * 2), np.zeros((len(index),) * 2)
    for i, j, a_wins, b_wins, ties in found:
        wins[i, j] += a_wins
        wins[j, i] += b_wins
        ties_[i, j] += ties
        ties_[j, i] += ties
    return _made(path, tuple(index), wins, ties_)


def _of_matrix(path: str | Path, lines: list[tuple[int, list[str]]]) -> Battles:
    head, K = lines[0][1], len(lines)
    arms: list[str] | None = None
    if not all(_is_count(cell) for cell in head[1:]):
        lines, K = lines[1:], K - 1
        arms = head[len(head) - K :] if len(head) >= K else head
    words = arms is not None or not any(_is_count(cells[0]) for _, cells in lines)
    named = words and all(len(cells) == K + 1 for _, cells in lines)
    rows = [(number, cells[named:]) for number, cells in lines]
    for number, cells in rows:
        if len(cells) != K:
            raise ValueError(
                f"{path}, line {number} has {len(cells)} entries, but there are {K} rows; expected "
                "a row and a column per arm"
            )
    if arms is None:
        arms = [cells[0] if named else str(k) for k, (_, cells) in enumerate(lines)]
    if len(set(arms)) < K or len(arms) != K:
        raise ValueError(f"{path}: the arms are named {', '.join(arms)}; expected {K} names")
    wins = np.zeros((K, K))
    for i, (number, cells) in enumerate(rows):
        for j, cell in enumerate(cells):
            if i != j and cell.lower() not in NEVER:
                wins[i, j] = _number(cell, f"{path}, line {number}: entry {j + 1}")
    return _made(path, tuple(arms), wins, np.zeros((K, K)))


def _made(path: str | Path, arms: tuple[str, ...], wins: np.ndarray, ties: np.ndarray) -> Battles:
    try:
        return Battles(arms, wins, ties)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _number(cell: str, where: str) -> float:
    try:
        found = float(cell)
    except ValueError:
        found = math.nan
    if not (math.isfinite(found) and found >= 0):
        raise ValueError(f"{where} is {cell!r}; expected a number of battles, at least 0")
    return found


def _is_count(cell: str) -> bool:
    try:
        return bool(float(cell) == float(cell)) or cell.lower() in NEVER
    except ValueError:
        return cell.lower() in NEVER


# --- what is known of the arms ------------------------------------------------------------------


def groups(battles: Battles) -> list[list[int]]:
    """The arms by who met whom, directly or by way of others; one group if all are connected."""
    return _components(battles.met > 0, "weak")


def ranks(battles: Battles) -> list[list[int]]:
    """The arms in sets no two of which exchanged victories both ways, ties being victories to both.

    A single one is what a maximum-likelihood fit needs (Ford 1957).
    """
    return _components(battles.wins + battles.ties > 0, "strong")


def _components(edges: np.ndarray, connection: str) -> list[list[int]]:
    count, label = connected_components(csr_array(edges), connection=connection)
    found = [np.flatnonzero(label == k).tolist() for k in range(count)]
    return sorted(found, key=lambda group: (-len(group), group))


def describe(battles: Battles) -> list[str]:
    """In words: which arms, how many battles, pairs that never met, and groups that did not."""
    K, arms, met = len(battles.arms), battles.arms, battles.met
    total, ties = met.sum() / 2, battles.ties.sum() / 2
    found = [
        f"{total:,.0f} battles of {K} arms ({ties:,.0f} tied): "
        + ", ".join(f"{k} {name}" for k, name in enumerate(arms[:20]))
        + (f" and {K - 20} more" if K > 20 else "")
    ]
    never = np.argwhere(np.triu(met == 0, 1))
    if len(never):
        pairs = [f"{arms[i]} and {arms[j]}" for i, j in never[:SHOWN]]
        more = f" and {len(never) - SHOWN:,} more" if len(never) > SHOWN else ""
        found.append(
            f"{len(never):,} of {K * (K - 1) // 2:,} pairs never met: {', '.join(pairs)}{more}"
        )
    apart = groups(battles)
    if len(apart) > 1:
        found.append(f"{len(apart)} groups of arms never met each other: {_sets(arms, apart)}")
    return found


def _sets(arms: Sequence[str], sets: list[list[int]]) -> str:
    shown = []
    for one in sets[:SHOWN]:
        names = ", ".join(arms[k] for k in one[:SHOWN])
        shown.append(f"{{{names}{f', {len(one) - SHOWN} more' if len(one) > SHOWN else ''}}}")
    return ", ".join(shown) + (f" and {len(sets) - SHOWN} more" if len(sets) > SHOWN else "")


# --- matrices -----------------------------------------------------------------------------------


def preferences(
    battles: Battles, fit: Fit = "none", prior: float = 0.0
) -> tuple[np.ndarray, list[str]]:
    """(p [K, K] with p_ij = P(i beats j), what to know of it: pairs that never met, the fit used).

    Raises ValueError when pairs never met and there is no fit to complete them, when a fit has no
    finite answer, and for a negative prior or one without a fit.
    """
    if not (prior >= 0 and math.isfinite(prior)) or (prior and fit == "none"):
        raise ValueError(
            f"prior = {prior:g} with fit {fit}; expected at least 0, and 0 without fit"
        )
    notes = describe(battles)
    if fit == "none":
        if len(notes) > 1:
            raise ValueError(
                f"{'; '.join(notes[1:])}; no share of their battles is known: set fit to "
                "bradley-terry or davidson, or leave out arms until all pairs have met"
            )
        share = battles.wins + battles.ties / 2
        p = np.divide(share, battles.met, out=np.full(share.shape, 0.5), where=battles.met > 0)
        return p, notes
    theta, strength_of_ties = strengths(battles, fit, prior)
    gap = np.subtract.outer(theta, theta) / 2
    win, tie = _chances(gap, strength_of_ties)
    imagined = f", with {prior:g} imagined battles of every arm" if prior else ""
    notes.append(f"p is that of a {fit} fit{imagined}, not the share of battles won")
    return win + tie / 2, notes


def strengths(
    battles: Battles, fit: Literal["bradley-terry", "davidson"], prior: float = 0.0
) -> tuple[np.ndarray, float]:
    """(theta [K], lambda) of greatest likelihood; lambda is -inf where ties play no part.

    Without a prior theta has mean 0. Raises ValueError, naming the arms, when there is no maximum.
    """
    wins, ties = battles.wins, battles.ties
    if fit == "bradley-terry" or not ties.any():
        wins, ties = wins + ties / 2, np.zeros_like(ties)
    _refuse_unbounded(battles, ties, prior)
    return _newton(wins, ties, prior)


def _refuse_unbounded(battles: Battles, ties: np.ndarray, prior: float) -> None:
    remedy = "set prior to a number of imagined battles, such as 1, or leave out arms"
    apart, sets = groups(battles), ranks(battles)
    if prior == 0 and len(apart) > 1:
        raise ValueError(
            f"{len(apart)} groups of arms never met each other: {_sets(battles.arms, apart)}; no "
            f"fit compares their strengths: {remedy}"
        )
    if prior == 0 and len(sets) > 1:
        raise ValueError(
            "no finite strengths fit: between these sets of arms all victories go one way: "
            f"{_sets(battles.arms, sets)}; {remedy}"
        )
    if ties.any() and not (battles.wins.any() if prior else _ties_are_bounded(battles)):
        raise ValueError(
            "no finite share of ties fits: victories never outweigh ties around a circle of arms; "
            f"set fit to bradley-terry{'' if prior else ', or ' + remedy}"
        )


def _ties_are_bounded(battles: Battles) -> bool:
    """Whether some circle of arms holds more victories than ties.

    If none does, the likelihood of Davidson's model grows along theta + s d, lambda + s for ever,
    where d has d_i - d_j >= 2 for every victory of i over j and |d_i - d_j| <= 2 for every tie.
    Such a d is a system of differences; it has a solution unless a circle weighs more than 0.
    """
    won, tied = battles.wins > 0, battles.ties > 0
    if (won & won.T).any():
        return True
    weight = np.where(won, 1.0, np.where(tied, -1.0, -np.inf))
    longest = np.zeros(len(weight))
    for _ in range(len(weight) + 1):
        longer = np.maximum(longest, (weight + longest[None, :]).max(axis=1))
        if (longer == longest).all():
            return False
        longest = longer
    return True


def _chances(gap: np.ndarray, lam: float) -> tuple[np.ndarray, np.ndarray]:
    """P(i wins) and P(tie) for gap = (theta_i - theta_j)/2."""
    top = np.maximum(np.abs(gap), lam)
    win, loss, tie = np.exp(gap - top), np.exp(-gap - top), np.exp(lam - top)
    total = win + loss + tie
    return win / total, tie / total


def _newton(wins: np.ndarray, ties: np.ndarray, prior: float) -> tuple[np.ndarray, float]:
    K, n = len(wins), wins + wins.T + ties
    with_ties = bool(ties.any())
    x = np.zeros(K + with_ties)  # theta, and lambda if there are ties
    value = _likelihood(x, wins, ties, prior)
    for _ in range(200):
        theta, lam = x[:K], float(x[K]) if with_ties else -math.inf
        gap = np.subtract.outer(theta, theta) / 2
        win, tie = _chances(gap, lam)
        lead = win - win.T
        alone = expit(theta)
        gradient, hessian = np.zeros(len(x)), np.zeros((len(x),) * 2)
        gradient[:K] = (wins - wins.T - n * lead).sum(axis=1) / 2 + prior * (0.5 - alone)
        curvature = n * (win + win.T - lead**2) / 4
        hessian[:K, :K] = np.diag(curvature.sum(axis=1) + prior * alone * (1 - alone)) - curvature
        if with_ties:
            gradient[K] = (ties - n * tie).sum() / 2
            hessian[:K, K] = hessian[K, :K] = -(n * lead * tie).sum(axis=1) / 2
            hessian[K, K] = (n * tie * (1 - tie)).sum() / 2
        if prior == 0:  # strengths are known up to a constant: keep their sum
            hessian[:K, :K] += curvature.sum() / K**2
        step = np.linalg.solve(hessian, gradient)
        decrement, size = float(gradient @ step), 1.0
        while (better := _likelihood(x + size * step, wins, ties, prior)) < value and size > 1e-9:
            size /= 2
        if decrement < 1e-12 * max(1.0, abs(value)) or size <= 1e-9:
            return x[:K] - (0 if prior else x[:K].mean()), lam
        x, value = x + size * step, better
    raise ValueError("the fit did not converge in 200 steps; raise prior")


def _likelihood(x: np.ndarray, wins: np.ndarray, ties: np.ndarray, prior: float) -> float:
    K = len(wins)
    gap = np.subtract.outer(x[:K], x[:K]) / 2
    lam = float(x[K]) if len(x) > K else -math.inf
    total = np.logaddexp(np.logaddexp(gap, -gap), lam)
    value = (wins * (gap - total)).sum()
    if len(x) > K:
        value += (ties * (lam - total)).sum() / 2
    return float(value - prior / 2 * np.logaddexp(0, [x[:K], -x[:K]]).sum())

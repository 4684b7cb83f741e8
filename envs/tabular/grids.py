"""Boards of cells with goals, sheep, coins and roadblocks: the delivery grid and random worlds.

Dynamics, rewards and generators are those of Knox et al. (arXiv 2206.02231 and 2310.02456). A state
is a cell, an action a move up, down, left or right; a move off the board or into a house stays.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le

from envs.registry import world
from envs.tabular import solvers
from envs.tabular.world import World, pruned

ROAD, GOAL, HOUSE, SHEEP, COIN, ROADBLOCK = range(6)
BRICK = 6  # added to the code of an object that stands on brick
FEATURES = ("road", "goal", "sheep", "coin", "roadblock", "brick")
OBJECTS = {GOAL: "goal", SHEEP: "sheep", COIN: "coin", ROADBLOCK: "roadblock"}
SURFACE = np.array([1, 0, 0, 0, 0, 1])
MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))
GAMMA = 0.999  # of the papers' value iteration and evaluation

DELIVERY_WEIGHTS = (-1.0, 50.0, -50.0, 1.0, -1.0, -2.0)
DELIVERY = """\
..x.......
....c....#
..S....###
c.x.HSS##.
##........
#.c.......
#H.SxH....
.c.....C##
..x....##G
......x..c
"""
CODES = {".": ROAD, "S": SHEEP, "c": COIN, "x": ROADBLOCK, "H": HOUSE}
CODES |= {"#": BRICK + ROAD, "C": BRICK + COIN, "G": BRICK + GOAL}

Discount = Annotated[float, Ge(0), Le(1)]


def board(text: str) -> np.ndarray:
    """A board [rows, columns] of codes from text, a line a row."""
    return np.array([[CODES[cell] for cell in line] for line in text.split()])


def entered(code: int) -> np.ndarray:
    """Features of a step that enters a cell: its surface and its object; of an end, that alone."""
    found = np.zeros(len(FEATURES))
    thing = OBJECTS.get(code % BRICK)
    if thing is not None:
        found[FEATURES.index(thing)] = 1
    if thing not in ("goal", "sheep"):
        found[FEATURES.index("brick" if code >= BRICK else "road")] = 1
    return found


def tables(codes: np.ndarray) -> dict[str, np.ndarray]:
    """Transitions, features, start, terminal and places of a board, deterministic.

    The start is uniform over all cells in which an episode goes on. Features depend on the cell
    that is entered; a step that stays has its surface alone.
    """
    places = np.argwhere(codes % BRICK != HOUSE)
    number = np.full(codes.shape, -1)
    number[tuple(places.T)] = np.arange(len(places))
    kinds = codes[tuple(places.T)] % BRICK
    terminal = (kinds == GOAL) | (kinds == SHEEP)
    size = len(places)
    transitions = np.zeros((size, len(MOVES), size))
    for action, move in enumerate(MOVES):
        target = places + move
        inside = ((target >= 0) & (target < codes.shape)).all(1)
        to = np.where(inside, number[tuple(target.clip(0, np.array(codes.shape) - 1).T)], -1)
        to = np.where((to < 0) | terminal, np.arange(size), to)
        transitions[np.arange(size), action, to] = 1
    of_cell = np.array([entered(code) for code in codes[tuple(places.T)]])
    between = np.broadcast_to(of_cell, (size, *of_cell.shape)).copy()  # s, s', d
    between[np.arange(size), np.arange(size)] *= SURFACE
    between[terminal] = 0
    features = np.broadcast_to(between[:, None], (size, len(MOVES), *of_cell.shape))
    start = ~terminal / (~terminal).sum()
    return {
        "transitions": transitions, "features": features, "start": start, "terminal": terminal,
        "places": places,
    }  # fmt: skip


def from_board(codes: np.ndarray, weights: np.ndarray, gamma: float) -> World:
    """The deterministic world of a board, without ends that nothing leads to."""
    return World(**pruned(tables(codes)), gamma=gamma, weights=np.asarray(weights, np.float64))


@world("delivery")
def delivery(gamma: Discount = GAMMA) -> World:
    """The 10 x 10 delivery grid on which Knox et al. asked people for preferences, 92 starts."""
    return from_board(board(DELIVERY), np.array(DELIVERY_WEIGHTS), gamma)


class Drawn:
    """A family of worlds: `sample(rng)` draws one, anew for each repetition of a study."""

    def __init__(self, draw: Callable[[np.random.Generator, float], World], gamma: float) -> None:
        self.draw, self.gamma = draw, gamma

    def sample(self, rng: np.random.Generator) -> World:
        return self.draw(rng, self.gamma)


@world("random-mdp")
def random_mdp(
    kind: Literal["deterministic", "stochastic"] = "deterministic", gamma: Discount = GAMMA
) -> Drawn:
    """The random worlds of Knox et al.: boards of 3 x 5 to 15 x 10 with random items and rewards.

    `stochastic`: some actions jump to the goal once in ten, a coin may turn out to be a double
    roadblock, and entering the goal may lead to the worst cell instead.
    """
    return Drawn(_draw if kind == "deterministic" else _draw_stochastic, gamma)


def random_board(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Codes and weights of one random world, as the released generator draws them."""
    height, width = rng.choice([3, 6, 10, 15]), rng.choice([5, 6, 10])
    sheep = rng.choice([0, 0.1, 0.3])
    bad, good = rng.choice([0, 0.1, 0.5, 0.8]), rng.choice([0, 0.1, 0.2])
    while sheep + bad >= 1:
        bad = rng.choice([0, 0.1, 0.5, 0.8])
    while sheep + bad + good >= 1:
        good = rng.choice([0, 0.1, 0.2])
    codes = np.full(height * width, ROAD)
    order, used = rng.permutation(height * width), 0
    for share, code in ((sheep, SHEEP), (bad, ROADBLOCK), (good, COIN)):
        n = int(share * height * width)
        codes[order[used : used + n]] = code
        used += n
    codes[rng.integers(height * width)] = GOAL
    weights = [-1, rng.choice([0, 1, 5, 10, 50]), rng.choice([-5, -10, -50, -100]), 1]
    weights += [rng.choice([-2, -5, -10]), rng.choice([-1, -2, -3])]
    return codes.reshape(height, width), np.array(weights, np.float64)


def _draw(rng: np.random.Generator, gamma: float) -> World:
    return from_board(*random_board(rng), gamma)


JUMPS, JUMP, TRAP, TELEPORT = 0.75, 0.1, 0.05, 0.01  # shares and probabilities of the generator


def _draw_stochastic(rng: np.random.Generator, gamma: float) -> World:
    codes, weights = random_board(rng)
    made = World(**pruned(with_traps(tables(codes), codes)), gamma=gamma, weights=weights)
    return with_jumps(with_teleport(made), rng)


def with_traps(found: dict[str, np.ndarray], codes: np.ndarray) -> dict[str, np.ndarray]:
    """Each coin has a twin in the same place, a double roadblock, entered once in twenty."""
    coins = np.flatnonzero(codes[tuple(found["places"].T)] % BRICK == COIN)
    size, twins = len(found["places"]), np.arange(len(coins)) + len(found["places"])
    origin = np.concatenate([np.arange(size), coins])
    transitions = np.zeros((len(origin), len(MOVES), len(origin)))
    transitions[:, :, :size] = found["transitions"][origin]
    features = found["features"][origin][:, :, origin].copy()
    trap = features[:, :, coins].copy()
    trap[..., FEATURES.index("coin")] = 0
    trap[..., FEATURES.index("roadblock")] = 2
    features[:, :, twins] = trap
    features[found["terminal"][origin]] = 0
    for coin, twin in zip(coins, twins, strict=True):
        for s in (coin, twin):  # a step that stays enters nothing
            stays = transitions[s, :, coin] == 1
            transitions[s, stays, coin], transitions[s, stays, s] = 0, 1
            features[s, :, s] = found["features"][coin, :, coin]
        entering = transitions[:, :, coin] == 1
        entering[[coin, twin]] = False
        transitions[entering, coin], transitions[entering, twin] = 1 - TRAP, TRAP
    return {
        "transitions": transitions,
        "features": features,
        "start": np.concatenate([found["start"], np.zeros(len(coins))]),
        "terminal": found["terminal"][origin],
        "places": found["places"][origin],
    }


def with_teleport(made: World) -> World:
    """Entering the goal leads to the cell of the worst value instead, once in a hundred."""
    values, _ = solvers.optimal(made, made.expected_rewards)
    worst = int(np.where(made.terminal, np.inf, values).argmin())
    transitions = made.transitions.copy()
    for goal in np.flatnonzero(_goals(made)):
        enters = transitions[:, :, goal] * ~made.terminal[:, None]
        transitions[:, :, goal] -= TELEPORT * enters
        transitions[:, :, worst] += TELEPORT * enters
    return replace(made, transitions=transitions)


def with_jumps(made: World, rng: np.random.Generator) -> World:
    """Three in four actions may jump to the goal once in ten, where no best action changes by it.

    (The released code tests the opposite by mistake.)
    """
    goals = np.flatnonzero(_goals(made))
    if not goals.size:
        return made
    goal, transitions = int(goals[0]), made.transitions.copy()
    pays = made.features[:, :, goal] @ made.weights
    alive = np.flatnonzero(~made.terminal)
    pairs = [(int(s), a) for s in alive for a in range(made.actions)]
    values, action_values = solvers.optimal(made, made.expected_rewards)
    best = solvers.greedy(action_values) > 0
    for index in rng.permutation(len(pairs))[: int(JUMPS * len(pairs))]:
        s, a = pairs[index]
        before = transitions[s, a].copy()
        transitions[s, a] *= 1 - JUMP
        transitions[s, a, goal] += JUMP
        if not best[s, a]:  # where it is still worth less than the best, no value changes
            jumped = (1 - JUMP) * action_values[s, a] + JUMP * pays[s, a]
            if jumped < values[s] - solvers.TIE * max(1.0, float(np.abs(values).max())):
                action_values[s, a] = jumped
                continue
        else:
            changed = replace(made, transitions=transitions)
            new = solvers.optimal(changed, changed.expected_rewards)
            if ((solvers.greedy(new[1]) > 0) == best).all():
                values, action_values = new
                continue
        transitions[s, a] = before
    return replace(made, transitions=transitions)


def _goals(made: World) -> np.ndarray:
    """[S] bool: the cells that pay the goal's reward when they are entered."""
    paid = (made.transitions > 0) & (made.features[..., FEATURES.index("goal")] > 0)
    return np.asarray(paid.any((0, 1)))


@world("loop-mdp")
def loop_mdp(looping_pays: bool = False, gamma: Discount = GAMMA) -> Drawn:
    """Tiny worlds, 3 or 5 cells high and 1 or 2 wide, in which loops decide (arXiv 2310.02456).

    A step costs 1, and finishing is best; with `looping_pays` it pays 1, and never finishing is.
    """

    def draw(rng: np.random.Generator, gamma: float) -> World:
        while True:
            codes = np.full(int(rng.choice([3, 5])) * int(rng.choice([1, 2])), ROAD)
            height = len(codes) if len(codes) in (3, 5) else len(codes) // 2
            places = rng.permutation(len(codes))
            codes[places[1 : 1 + rng.integers(len(codes) // 3 + 1)]] = SHEEP
            codes[places[0]] = GOAL
            step = 1.0 if looping_pays else -1.0
            weights = np.array([step, rng.choice([0, 1.5, 10]), rng.choice([-5, -10]), 0, 0, 0])
            made = from_board(codes.reshape(height, -1), weights, gamma)
            values = solvers.optimal(made, made.expected_rewards)[0]
            # Where a wall of sheep hides the goal, finishing there is not what is best.
            if _goals(made).any() and (looping_pays or values.min() > -2 * len(codes)):
                return made

    return Drawn(draw, gamma)


@world("gamble")
def gamble(win: Annotated[float, Ge(-50), Le(1000)] = 100.0, gamma: Discount = GAMMA) -> Drawn:
    """5 x 5 boards where each bad end is a gamble: -50 or `win`, equally likely (arXiv 2206.02231).

    Noise-free preferences over returns tell the order of outcomes and not whether to gamble.
    """

    def draw(rng: np.random.Generator, gamma: float) -> World:
        codes = np.full(25, ROAD)
        places = rng.permutation(25)
        codes[places[1 : 1 + int(rng.choice([0.05, 0.1, 0.3]) * 25)]] = SHEEP
        codes[places[0]] = GOAL
        found = tables(codes.reshape(5, 5))
        lost = np.flatnonzero(codes[[*range(25)]] == SHEEP)
        won = np.arange(len(lost)) + 25
        origin = np.concatenate([np.arange(25), lost])
        transitions = np.zeros((len(origin), len(MOVES), len(origin)))
        transitions[:, :, :25] = found["transitions"][origin]
        features = found["features"][origin][:, :, origin].copy()
        features[:, :, won] = np.eye(len(FEATURES))[FEATURES.index("coin")]
        features[found["terminal"][origin]] = 0
        transitions[:, :, won] = transitions[:, :, lost] / 2
        transitions[:, :, lost] /= 2
        for end in (*lost, *won):
            transitions[end] = np.eye(len(origin))[end]
        tables_ = {
            "transitions": transitions, "features": features, "places": found["places"][origin],
            "start": np.append(found["start"], np.zeros(len(won))),
            "terminal": found["terminal"][origin],
        }  # fmt: skip
        weights = np.array([-1, 50, -50, win, 0, 0.0])
        return World(**pruned(tables_), gamma=gamma, weights=weights)

    return Drawn(draw, gamma)

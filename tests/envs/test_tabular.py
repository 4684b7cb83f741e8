"""Tabular worlds: the reference's numbers, laws of the solvers, what is refused."""

import dataclasses

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.registry import WORLDS
from envs.tabular import chains, grids, solvers, starc
from envs.tabular.environment import TabularEnv, named
from envs.tabular.world import World

DELIVERY = grids.delivery()
V_STAR = """
34 34 35 36 36 36 37 38 39 40
35 35 36 37 36 37 38 39 40 42
36 36  0 38 37 38 39 41 42 44
36 37 39 39  0  0  0 43 44 45
37 39 40 40 41 42 43 44 45 46
39 40 40 41 42 43 44 45 46 47
39  0 40  0 42  0 45 46 47 48
40 40 41 42 43 44 45 46 48 50
40 41 42 43 44 45 46 48 50  0
41 42 43 44 45 46 48 49 50 50
"""
FAMILIES = {
    "random-mdp": grids.random_mdp(),
    "stochastic": grids.random_mdp("stochastic"),
    "loops": grids.loop_mdp(),
    "endless loops": grids.loop_mdp(looping_pays=True),
    "gamble": grids.gamble(),
}


def random_world(seed: int, *, states: int = 6, actions: int = 3, ends: int = 1) -> World:
    """Dirichlet transitions, normal features, the last `ends` states terminal."""
    rng = np.random.default_rng(seed)
    transitions = rng.dirichlet(np.ones(states), (states, actions))
    features = rng.normal(size=(states, actions, states, 4))
    terminal = np.arange(states) >= states - ends
    transitions[terminal], features[terminal] = np.eye(states)[terminal][:, None], 0
    start = ~terminal / (~terminal).sum()
    return World(transitions, features, start, terminal, 0.95, weights=rng.normal(size=4))


# --- the reference's numbers --------------------------------------------------------------------


def test_the_delivery_grid_is_the_published_one() -> None:
    assert (DELIVERY.start > 0).sum() == 92
    values, _ = solvers.optimal(DELIVERY, DELIVERY.expected_rewards, 1.0)
    assert DELIVERY.start @ values == pytest.approx(41.5326, abs=5e-5)
    found = np.zeros((10, 10))
    found[tuple(DELIVERY.places.T)] = values
    np.testing.assert_allclose(found, np.array(V_STAR.split(), float).reshape(10, 10), atol=1e-9)
    discounted, _ = solvers.optimal(DELIVERY, DELIVERY.expected_rewards)
    assert DELIVERY.start @ discounted == pytest.approx(41.2079, abs=5e-5)
    uniform = solvers.uniform(DELIVERY)
    assert solvers.mean_return(DELIVERY, uniform) == pytest.approx(-71.2574, abs=5e-5)
    assert solvers.mean_return(DELIVERY, uniform, 1.0) == pytest.approx(-73.9246, abs=5e-5)


def test_a_return_of_30_on_the_delivery_grid_is_near_optimal_by_a_hair() -> None:
    scale = solvers.Scale(DELIVERY)
    assert (30 - scale.floor) / (scale.best - scale.floor) == pytest.approx(0.9003, abs=5e-5)
    assert scale(solvers.uniform(DELIVERY)) == pytest.approx(0)
    _, q = solvers.optimal(DELIVERY, DELIVERY.expected_rewards)
    assert scale(solvers.greedy(q)) == pytest.approx(1)


@pytest.mark.parametrize("world", [DELIVERY, grids.random_mdp().sample(np.random.default_rng(3))])
def test_advantages_telescope_on_all_segments_of_deterministic_worlds(world: World) -> None:
    gamma = 1.0 if world is DELIVERY else world.gamma
    values, action_values = solvers.optimal(world, world.expected_rewards, gamma)
    advantage = action_values - values[:, None]
    to = world.transitions.argmax(-1)
    steps = np.array(np.meshgrid(*[range(4)] * 3)).reshape(3, -1)
    state = start = np.repeat(np.flatnonzero(world.start), steps.shape[1])
    total, regret, weight = np.zeros(len(start)), np.zeros(len(start)), 1.0
    for action in np.tile(steps, (1, len(start) // steps.shape[1])):
        regret += weight * advantage[state, action]
        total += weight * world.expected_rewards[state, action]
        state, weight = to[state, action], weight * gamma
    np.testing.assert_allclose(regret, total + weight * values[state] - values[start], atol=1e-9)
    assert regret.max() < 1e-9


def test_riverswim_has_the_published_returns() -> None:
    world = chains.riverswim()
    r = world.expected_rewards
    side = {a: np.eye(2)[[a] * 6] for a in (chains.LEFT, chains.RIGHT)}

    def start_value(policy: np.ndarray | None = None) -> float:
        return solvers.finite_horizon(world, r, 50, policy)[-1, 0]

    assert start_value() == pytest.approx(9.64330, abs=5e-6)
    assert start_value(side[chains.RIGHT]) == pytest.approx(9.64322, abs=5e-6)
    assert start_value(side[chains.LEFT]) == pytest.approx(0.25)
    assert start_value(solvers.uniform(world)) == pytest.approx(0.10414, abs=5e-6)


def hypervolume(points: np.ndarray) -> float:
    """Area that points of two objectives dominate above (0, 0)."""
    points, total, high = points[points[:, 0].argsort()[::-1]], 0.0, 0.0
    for x, y in points:
        total += x * max(y - high, 0)
        high = max(high, y)
    return total


def test_deep_sea_treasure_has_the_published_front() -> None:
    world = chains.deep_sea_treasure()
    to = world.transitions.argmax(-1)
    fronts: dict[float, set[tuple[float, float]]] = {0.99: set(), 1.0: set()}
    for treasure in np.linspace(0.01, 1, 100):
        r = world.expected_features @ np.array([treasure, 1 - treasure])
        choice = solvers.optimal(world, r)[1].argmax(-1)
        for gamma, front in fronts.items():
            state, found, weight = 0, np.array([0.0, 19.0]), 1.0
            while not world.terminal[state]:
                found += weight * world.expected_features[state, choice[state]]
                state, weight = to[state, choice[state]], weight * gamma
            front.add((round(found[0], 9), round(found[1], 9)))
    assert [len(front) for front in fronts.values()] == [10, 10]
    assert hypervolume(np.array([*fronts[0.99]])) == pytest.approx(241.7331, abs=5e-5)
    assert hypervolume(np.array([*fronts[1.0]])) == pytest.approx(259.60, abs=5e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_families_draw_valid_worlds_the_same_from_the_same_stream(family: str) -> None:
    sizes = set()
    for seed in range(3 if family == "stochastic" else 12):
        one, again = (FAMILIES[family].sample(np.random.default_rng(seed)) for _ in range(2))
        assert np.array_equal(one.transitions, again.transitions)
        assert np.array_equal(one.weights, again.weights)
        sizes.add(one.states)
        assert solvers.Scale(one).best >= solvers.Scale(one).floor - 1e-9
    assert len(sizes) > 1


def test_random_boards_have_the_published_shares() -> None:
    draws = [grids.random_board(np.random.default_rng(seed)) for seed in range(300)]
    assert {codes.shape[0] for codes, _ in draws} == {3, 6, 10, 15}
    assert {codes.shape[1] for codes, _ in draws} == {5, 6, 10}
    assert all((codes == grids.GOAL).sum() == 1 for codes, _ in draws)
    sheep = np.array([(codes == grids.SHEEP).mean() for codes, _ in draws])
    assert np.abs(sheep[:, None] - [0, 0.1, 0.3]).min(1).max() < 0.1  # one may be the goal's
    goal = np.array([weights[1] for _, weights in draws])
    assert [abs((goal == g).mean() - 0.2) < 0.09 for g in (0, 1, 5, 10, 50)] == [True] * 5


def test_jumps_of_stochastic_worlds_leave_every_best_action_as_it_is() -> None:
    rng = np.random.default_rng(1)
    codes, weights = grids.random_board(rng)
    plain = grids.from_board(codes, weights, 0.999)
    jumping = grids.with_jumps(plain, rng)
    changed = (jumping.transitions != plain.transitions).any(-1)
    assert 0.3 < changed[~plain.terminal].mean() <= 0.75
    best = [solvers.greedy(solvers.optimal(w, w.expected_rewards)[1]) > 0 for w in (plain, jumping)]
    assert (best[0] == best[1])[~plain.terminal].all()


# --- laws ---------------------------------------------------------------------------------------

SEEDS = st.integers(0, 10**6)


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_every_way_to_solve_a_world_finds_the_same_optimum(seed: int) -> None:
    world = random_world(seed)
    r = world.expected_rewards
    values, action_values = solvers.optimal(world, r)
    np.testing.assert_allclose(solvers.value_iteration(world, r)[0], values, atol=1e-8)
    np.testing.assert_allclose(action_values.max(-1), values, atol=1e-9)
    best, visits = solvers.linear_program(world, r)
    assert best == pytest.approx(world.start @ values, abs=1e-7)
    assert (visits * r).sum() == pytest.approx(best, abs=1e-7)
    policy = solvers.greedy(action_values)
    np.testing.assert_allclose(solvers.evaluate(world, policy, r), values, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_successor_features_and_occupancies_give_the_return(seed: int) -> None:
    world = random_world(seed)
    rng = np.random.default_rng(seed)
    policy = rng.dirichlet(np.ones(3), (2, 6))  # two at once
    psi = solvers.successor_features(world, policy)
    values = solvers.evaluate(world, policy, world.expected_rewards)
    np.testing.assert_allclose(psi @ world.weights, values, atol=1e-9)
    for one, value in zip(policy, values, strict=True):
        visits = solvers.occupancy(world, one)
        assert (visits * world.expected_rewards).sum() == pytest.approx(world.start @ value)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.floats(0.1, 100))
def test_starc_sees_neither_shaping_nor_spread_nor_scale(seed: int, scale: float) -> None:
    world = random_world(seed)
    rng = np.random.default_rng(seed + 1)
    potential = rng.normal(size=world.states)
    shaped = world.rewards + world.gamma * potential - potential[:, None, None]
    assert starc.distance(world, world.rewards, shaped) < 1e-8
    spread = world.rewards + rng.normal(size=world.rewards.shape)
    spread -= ((spread - world.rewards) * world.transitions).sum(-1)[..., None]
    assert starc.distance(world, world.rewards, spread) < 1e-8
    assert starc.distance(world, world.rewards, scale * world.rewards) < 1e-8
    assert starc.distance(world, world.rewards, world.expected_rewards) < 1e-8
    assert starc.distance(world, world.rewards, -world.rewards) == pytest.approx(2)


def test_a_reward_that_is_all_shaping_has_no_direction() -> None:
    world = random_world(0)
    potential = np.random.default_rng(0).normal(size=world.states)
    shaping = np.broadcast_to(world.gamma * potential - potential[:, None, None], (6, 3, 6))
    assert starc.distance(world, world.rewards, shaping) == pytest.approx(1)
    assert starc.distance(world, shaping, np.zeros((6, 3))) == 0


def test_policies_that_never_end_have_no_value_at_gamma_1() -> None:
    stay = np.eye(4)[np.zeros(DELIVERY.states, int)]  # up, into the wall
    with pytest.raises(ValueError, match="every episode must end; lower gamma"):
        solvers.evaluate(DELIVERY, stay, DELIVERY.expected_rewards, 1.0)
    with pytest.raises(ValueError, match="reward can be collected without end"):
        solvers.optimal(chains.riverswim(), chains.riverswim().expected_rewards, 1.0)


# --- as environments ----------------------------------------------------------------------------


@pytest.mark.parametrize("world", ["delivery", "riverswim", "deep-sea-treasure"])
def test_a_world_is_a_gymnasium_environment(world: str) -> None:
    check_env(named(world), skip_render_check=True)


def test_the_environment_walks_by_the_tables() -> None:
    world = chains.riverswim()
    env: gymnasium.Env = TabularEnv(world)
    counts = np.zeros_like(world.transitions)
    state, _ = env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(10_000):
        action = int(rng.random() < 0.9)
        new, reward, terminated, _, _ = env.step(action)
        counts[state, action, new] += 1
        assert reward == world.rewards[state, action, new]
        assert not terminated
        state = new
    assert (counts[world.transitions == 0] == 0).all()
    often = counts.sum(-1) > 100
    error = np.abs(counts[often] / counts[often].sum(-1, keepdims=True) - world.transitions[often])
    assert error.max() < 0.15


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gamma": 1.5}, r"gamma = 1.5; expected a number in \[0, 1\]"),
        ({"weights": np.ones(3)}, r"weights: found shape \[3\]"),
        ({"start": np.ones(6)}, "start: rows sum to 1"),
        ({"terminal": np.ones(6, bool)}, "terminal states must lead to themselves alone"),
        ({"transitions": np.full((6, 3, 6), 0.5)}, "transitions: rows sum to 1"),
        ({"features": np.full((6, 3, 6, 4), np.nan)}, "features"),
    ],
)
def test_tables_that_are_no_world_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(random_world(0), **change)


def test_a_state_that_nothing_leads_to_is_named() -> None:
    world = random_world(0, ends=0)
    transitions = world.transitions.copy()
    transitions[:, :, 4] = 0
    transitions /= transitions.sum(-1, keepdims=True)
    start = np.eye(6)[0]
    with pytest.raises(ValueError, match="1 of 6 states cannot be reached, such as state 4"):
        dataclasses.replace(world, transitions=transitions, start=start)


def test_a_learner_sees_no_reward() -> None:
    hidden = DELIVERY.without_reward()
    assert not hasattr(hidden, "weights")
    assert not hasattr(hidden, "rewards")
    assert type(hidden).__name__ == "Dynamics"


def test_a_name_that_is_taken_is_refused() -> None:
    from envs.registry import world

    with pytest.raises(ValueError, match=r"world 'delivery' of .* is already registered"):
        world("delivery")(lambda: None)
    assert WORLDS["delivery"] is grids.delivery


def test_boards_hold_the_published_shares_of_each_item() -> None:
    """One item may lie under the goal; what each share is comes up, and nothing else."""
    g = np.random.default_rng(0)
    shares = {grids.SHEEP: (0, 0.1, 0.3), grids.ROADBLOCK: (0, 0.1, 0.5, 0.8)}
    shares[grids.COIN] = (0, 0.1, 0.2)
    seen: dict[int, set[float]] = {code: set() for code in shares}
    for _ in range(500):
        codes, _ = grids.random_board(g)
        for code, allowed in shares.items():
            n = int((codes == code).sum())
            fits = {s for s in allowed if n in (int(s * codes.size), int(s * codes.size) - 1)}
            assert fits, (code, n, codes.shape)
            seen[code] |= fits
    assert seen == {code: set(allowed) for code, allowed in shares.items()}


def test_a_coin_is_a_double_roadblock_once_in_twenty() -> None:
    codes = grids.board("...\n.cG")
    found = grids.with_traps(grids.tables(codes), codes)
    above, coin, twin, down = 1, 4, 6, 1
    chances = found["transitions"][above, down]
    assert chances[[coin, twin]].tolist() == pytest.approx([0.95, 0.05])
    assert found["features"][above, down, coin].tolist() == [1, 0, 0, 1, 0, 0]
    assert found["features"][above, down, twin].tolist() == [1, 0, 0, 0, 2, 0]

"""The built-in environments, as tables: reading them imports no simulator.

A test makes every entry and compares what is said here with what the environment does.
"""

from math import inf
from typing import Annotated

from annotated_types import Ge, Le

from envs.registry import EnvSpec, register

# dm_control 1.0.28, domains and tasks of the Control Suite (Tassa et al. 2018, and the later
# quadruped and dog domains); every task lasts 1000 control steps and pays a reward in [0, 1]. Left
# out: `lqr` (unbounded actions and rewards, no time limit) and `humanoid-run_pure_state`.
DM_CONTROL = {
    "acrobot": ["swingup", "swingup_sparse"],
    "ball_in_cup": ["catch"],
    "cartpole": [
        "balance",
        "balance_sparse",
        "swingup",
        "swingup_sparse",
        "two_poles",
        "three_poles",
    ],
    "cheetah": ["run"],
    "dog": ["fetch", "run", "stand", "trot", "walk"],
    "finger": ["spin", "turn_easy", "turn_hard"],
    "fish": ["swim", "upright"],
    "hopper": ["hop", "stand"],
    "humanoid": ["run", "stand", "walk"],
    "humanoid_CMU": ["run", "stand", "walk"],
    "manipulator": ["bring_ball", "bring_peg", "insert_ball", "insert_peg"],
    "pendulum": ["swingup"],
    "point_mass": ["easy", "hard"],
    "quadruped": ["escape", "fetch", "run", "walk"],
    "reacher": ["easy", "hard"],
    "stacker": ["stack_2", "stack_4"],
    "swimmer": ["swimmer6", "swimmer15"],
    "walker": ["run", "stand", "walk"],
}

# Meta-World 3.1.1 (Yu et al. 2020; rewards of its second version, in [0, 10]).
META_WORLD = (
    "assembly basketball bin-picking box-close button-press button-press-topdown "
    "button-press-topdown-wall button-press-wall coffee-button coffee-pull coffee-push dial-turn "
    "disassemble door-close door-lock door-open door-unlock drawer-close drawer-open faucet-close "
    "faucet-open hammer hand-insert handle-press handle-press-side handle-pull handle-pull-side "
    "lever-pull peg-insert-side peg-unplug-side pick-out-of-hole pick-place pick-place-wall "
    "plate-slide plate-slide-back plate-slide-back-side plate-slide-side push push-back push-wall "
    "reach reach-wall shelf-place soccer stick-pull stick-push sweep sweep-into window-close "
    "window-open"
)


def _dm_control(domain: str, task: str) -> EnvSpec:
    return EnvSpec(
        name=f"{domain}-{task}".lower().replace("_", "-"),
        horizon=1000,
        reward_range=(0.0, 1.0),
        success_key=None,
        summary=f"dm_control suite, domain {domain}, task {task}.",
        entry_point="envs.dm_control:SuiteEnv",
        parameters={"action_repeat": (Annotated[int, Ge(1), Le(1000)], 1)},
        fixed={"domain": domain, "task": task},
    )


def _meta_world(task: str) -> EnvSpec:
    return EnvSpec(
        name=f"{task}-v3",
        horizon=500,
        reward_range=(0.0, 10.0),
        success_key="success",
        summary=f"Meta-World, task {task}, a new goal each episode, visible by default.",
        entry_point="envs.meta_world:MetaWorldEnv",
        parameters={"goal_visible": (bool, True)},
        fixed={"task": f"{task}-v3"},
    )


def _gym_mujoco(name: str) -> EnvSpec:
    body = name.removesuffix("-v5")
    return EnvSpec(
        name=name,
        horizon=1000,
        reward_range=(-inf, inf),
        success_key=None,
        summary=f"gymnasium {body}: a fall ends the episode, so its length leaks the reward unless "
        "terminate_when_unhealthy=false; rewards can be negative.",
        entry_point="envs.gym_mujoco:GymMujocoEnv",
        parameters={"terminate_when_unhealthy": (bool, True)},
        fixed={"task": name},
        early_termination=True,
    )


SMALL = [
    EnvSpec(
        name="pointmass",
        horizon=100,
        reward_range=(0.0, 1.0),
        success_key="success",
        summary="A damped point in a plane that must reach a goal; exact, microseconds a step.",
        entry_point="envs.pointmass:PointMass",
    ),
    EnvSpec(
        name="gridworld",
        horizon=50,
        reward_range=(0.0, 1.0),
        success_key="success",
        summary="A slippery grid with a goal in the corner, whose optimal value is known exactly.",
        entry_point="envs.gridworld:GridWorld",
        parameters={
            "size": (Annotated[int, Ge(2), Le(32)], 5),
            "slip": (Annotated[float, Ge(0), Le(1)], 0.1),
        },
        exact=True,
    ),
    EnvSpec(
        name="pendulum",
        horizon=200,
        reward_range=(-16.2736045, 0.0),
        success_key=None,
        summary="gymnasium Pendulum-v1: swing up and hold; every reward is a cost.",
        entry_point="envs.classic:Pendulum",
    ),
    EnvSpec(
        name="mountaincar-continuous",
        horizon=999,
        reward_range=(-0.1, 100.0),
        success_key="success",
        summary="gymnasium MountainCarContinuous-v0, whose goal holds the car to the horizon.",
        entry_point="envs.classic:MountainCar",
    ),
]


def _tabular(name: str, horizon: int, rewards: tuple[float, float], summary: str) -> EnvSpec:
    return EnvSpec(
        name=name,
        horizon=horizon,
        reward_range=rewards,
        success_key=None,
        summary=summary,
        entry_point="envs.tabular.environment:named",
        fixed={"world": name},
        early_termination=name != "riverswim",
        actions="discrete",
        exact=True,
    )


TABULAR = [
    _tabular(
        "delivery",
        1000,
        (-50.0, 50.0),
        "The delivery grid of Knox et al. with its exact tables; ends at the goal or at a sheep.",
    ),
    _tabular("riverswim", 50, (0.0, 1.0), "A river to swim up, six states with exact tables."),
    _tabular(
        "deep-sea-treasure",
        100,
        (-5.5, 11.35),
        "A submarine among ten treasures with exact tables; value and time weigh the same.",
    ),
]


for _spec in [
    *(_dm_control(domain, task) for domain, tasks in DM_CONTROL.items() for task in tasks),
    *map(_meta_world, META_WORLD.split()),
    _gym_mujoco("hopper-v5"),
    _gym_mujoco("walker2d-v5"),
    _gym_mujoco("ant-v5"),
    *SMALL,
    *TABULAR,
]:
    register(_spec)

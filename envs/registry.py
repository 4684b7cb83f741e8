"""Names of environments, with what a benchmark must know about each before running it.

Plain Python: neither gymnasium nor a simulator is imported until an environment is made, so that
listing and planning answer at once. Built-ins are listed in `envs.catalog`; a user's own file puts
the decorator `env` over a `gymnasium.Env` class or over a function that returns one.
"""

import inspect
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from math import ceil
from typing import Annotated, Any, get_args, get_origin

REQUIRED = "<required>"


@dataclass(frozen=True)
class EnvSpec:
    """What is known about an environment without making it.

    Attributes:
        name: what a suite file says.
        horizon: agent steps after which an episode is truncated.
        reward_range: lowest and highest reward of one agent step. Teachers whose thresholds are
            a share of the return (Skip, Equal) need a finite lowest one, and shift a negative one
            to 0.
        success_key: the entry of `info` that says 1 when the task is done, or None.
        summary: one sentence for listings.
        entry_point: a class or function, or "module:attribute" of one, giving a `gymnasium.Env`.
        parameters: name -> (type, default) of what a suite file may set.
        fixed: arguments that this entry always gives to its entry point.
        early_termination: True when an episode may end before the horizon. Segments are then
            masked, but the length of an episode alone tells a reward learner how good it was
            (falling ends it), so that a method can look better than the preferences made it:
            compare methods on fixed-horizon tasks first.
        actions: "box" or "discrete"; a method says which it takes.
        exact: True when it has tables from which its optimal values are known exactly.
    """

    name: str
    horizon: int
    reward_range: tuple[float, float]
    success_key: str | None
    summary: str
    entry_point: str | Callable[..., Any]
    parameters: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    early_termination: bool = False
    actions: str = "box"
    exact: bool = False

    def resolve(self, parameters: Mapping[str, Any]) -> "EnvSpec":
        """This spec as it is with `parameters` set.

        `action_repeat` divides the horizon (rounded up) and multiplies the reward range;
        `terminate_when_unhealthy=False` makes the horizon fixed. Raises ValueError for an unknown
        or missing parameter, and for a value that is not of its type or outside its range.
        """
        for key in parameters:
            if key not in self.parameters:
                raise ValueError(
                    f"environment {self.name!r} has no parameter {key!r}; "
                    f"{_near(key, self.parameters, none='it takes none')}"
                )
        given = {key: parameters.get(key, default) for key, (_, default) in self.parameters.items()}
        for key, value in given.items():
            if value is REQUIRED:
                raise ValueError(f"environment {self.name!r} needs a value for {key!r}; found none")
            _check_value(f"environment {self.name!r}: {key}", value, self.parameters[key][0])
        repeat = given.get("action_repeat", 1)
        low, high = self.reward_range
        return replace(
            self,
            horizon=ceil(self.horizon / repeat),
            reward_range=(low * repeat, high * repeat),
            early_termination=self.early_termination
            and bool(given.get("terminate_when_unhealthy", True)),
        )

    def factory(self) -> Callable[..., Any]:
        """The class or function itself, importing its module."""
        if callable(self.entry_point):
            return self.entry_point
        module, _, attribute = self.entry_point.partition(":")
        return getattr(import_module(module), attribute)


ENVS: dict[str, EnvSpec] = {}


def register(spec: EnvSpec) -> EnvSpec:
    """Add a spec under its name. Raises ValueError when the name is taken or the spec is wrong."""
    known = ENVS.get(spec.name)
    if known is not None and known.__module__ != spec.__module__:
        raise ValueError(
            f"environment {spec.name!r} of {spec.__module__} is already registered by "
            f"{known.__module__}; choose another name"
        )
    if spec.horizon < 1:
        raise ValueError(
            f"environment {spec.name!r}: horizon = {spec.horizon}; expected at least 1"
        )
    low, high = spec.reward_range
    if not low < high:
        raise ValueError(
            f"environment {spec.name!r}: reward_range = ({low}, {high}); expected (lowest, highest)"
        )
    if spec.actions not in ("box", "discrete"):
        raise ValueError(
            f"environment {spec.name!r}: actions = {spec.actions!r}; expected 'box' or 'discrete'"
        )
    ENVS[spec.name] = spec
    return spec


def env(
    name: str,
    *,
    horizon: int,
    reward_range: tuple[float, float],
    success_key: str | None = None,
    early_termination: bool = False,
    actions: str = "box",
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator over a `gymnasium.Env` class, or a function returning one, that registers it.

    Its arguments become the parameters a suite file may set; the first sentence of its docstring
    becomes the summary. The meaning of the keywords is that of the fields of `EnvSpec`.
    """

    def decorate(factory: Callable[..., Any]) -> Callable[..., Any]:
        summary = " ".join(inspect.cleandoc(factory.__doc__ or "").split("\n\n")[0].split())
        spec = EnvSpec(
            name,
            horizon,
            reward_range,
            success_key,
            summary,
            factory,
            signature_parameters(factory),
            early_termination=early_termination,
            actions=actions,
        )
        # Where the user wrote it, so that a clash of names can say who has the name.
        object.__setattr__(spec, "__module__", factory.__module__)
        register(spec)
        return factory

    return decorate


def signature_parameters(factory: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """Name -> (type, default) of each named argument of a factory."""
    return {
        p.name: (
            Any if p.annotation is p.empty else p.annotation,
            REQUIRED if p.default is p.empty else p.default,
        )
        for p in inspect.signature(factory, eval_str=True).parameters.values()
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }


WORLDS: dict[str, Callable[..., Any]] = {}


def world(name: str, **meta: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator over a function that makes a tabular world (`envs.tabular.world.World`).

    What it returns may instead have `sample(rng)`, and is then drawn anew in each repetition of a
    study. Raises ValueError when the name is taken.
    """

    def decorate(factory: Callable[..., Any]) -> Callable[..., Any]:
        known = WORLDS.get(name)
        if known is not None and known.__module__ != factory.__module__:
            raise ValueError(
                f"world {name!r} of {factory.__module__} is already registered by "
                f"{known.__module__}; choose another name"
            )
        factory.meta = meta  # type: ignore[attr-defined]
        WORLDS[name] = factory
        return factory

    return decorate


TYPES: dict[Any, tuple[Any, str]] = {
    int: (int, "a whole number"),
    float: ((int, float), "a number"),
    bool: (bool, "true or false"),
    str: (str, "text"),
}
BOUNDS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "ge": (operator.ge, "at least"),
    "gt": (operator.gt, "over"),
    "le": (operator.le, "at most"),
    "lt": (operator.lt, "under"),
}


def _check_value(whose: str, value: Any, annotation: Any) -> None:
    """Refuse a value of another type than a plain annotated one, or outside its range."""
    kind = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    types, words = TYPES.get(kind, (object, ""))
    if not isinstance(value, types) or (kind in (int, float) and isinstance(value, bool)):
        raise ValueError(f"{whose} = {value!r}; expected {words}")
    for mark in getattr(annotation, "__metadata__", ()):
        for bound, (holds, limited) in BOUNDS.items():
            limit = getattr(mark, bound, None)
            if limit is not None and not holds(value, limit):
                raise ValueError(f"{whose} = {value!r}; expected {limited} {limit:g}")


def names() -> list[str]:
    """All registered names, sorted."""
    return sorted(ENVS)


def spec(name: str, **parameters: Any) -> EnvSpec:
    """The spec of a registered environment as it is with `parameters` set.

    Raises ValueError for an unknown name or parameter, with the near matches.
    """
    if name not in ENVS:
        raise ValueError(f"unknown environment {name!r}; {_near(name, ENVS)}")
    return ENVS[name].resolve(parameters)


def _near(found: str, known: Mapping[str, Any], none: str = "none is registered") -> str:
    from difflib import get_close_matches

    near = get_close_matches(found, known, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(repr(n) for n in near)}?"
    if not known:
        return none
    listed = sorted(known)
    return f"expected one of: {', '.join(listed[:12])}{', ...' if len(listed) > 12 else ''}"

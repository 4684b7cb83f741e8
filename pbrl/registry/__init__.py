"""Names of everything that can stand in a suite: found, described, checked and made.

finding.py      the decorators; names of built-ins and plug-ins, without importing what they need
source.py       what a Python file declares, read without running it
describing.py   summary and settings of a name, with types, defaults and ranges
annotations.py  what a type and a range take, in words; whether a value is that
checking.py     what a suite gives for a name, filled in, checked, and made of it
"""

from bandits.registry import Names, problem
from bandits.registry import algorithm as bandit
from envs.registry import REQUIRED, env, world
from pbrl.registry.annotations import takes_list
from pbrl.registry.checking import check_parameters, make, split, with_defaults
from pbrl.registry.describing import Entry, Parameter, config_class, describe
from pbrl.registry.finding import (
    KINDS,
    learner,
    load_plugin,
    loss,
    method,
    names,
    plugins,
    query,
    resolve,
    teacher,
    temporarily,
)

__all__ = [
    "KINDS",
    "REQUIRED",
    "Entry",
    "Names",
    "Parameter",
    "bandit",
    "check_parameters",
    "config_class",
    "describe",
    "env",
    "learner",
    "load_plugin",
    "loss",
    "make",
    "method",
    "names",
    "plugins",
    "problem",
    "query",
    "resolve",
    "split",
    "takes_list",
    "teacher",
    "temporarily",
    "with_defaults",
    "world",
]

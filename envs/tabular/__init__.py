"""Worlds small enough to be solved exactly, and what solves them.

world.py      a world: transitions, features of each transition, what a feature is worth
grids.py      boards of cells; the delivery grid and the random worlds of Knox et al.
chains.py     RiverSwim, deep sea treasure
solvers.py    values, occupancies, successor features, the linear program
starc.py      how far apart two rewards are
environment.py  a world as a gymnasium environment

Registered with `envs.registry.world`, as a plug-in's would be.
"""

"""One cell being computed: what a method gets, the environment it acts in, bandit cells."""

from pbrl.run.run import Run, execute

__all__ = ["Run", "execute"]

"""The names of all built-ins of every kind, read before any test file registers its own."""

from pbrl import registry

NAMES = {kind: registry.names(kind) for kind in (*registry.KINDS, "base bandit")}

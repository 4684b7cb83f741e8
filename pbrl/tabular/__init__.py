"""Learning from preferences in tabular worlds, where everything can be measured exactly.

walks.py      pairs of walks through a world, as learners and as teachers see them
learner.py    what a learner is given and gives back
logistic.py   logistic regression on weighted, aggregated pairs
partial_return.py  the learner that takes preferences for comparisons of reward
regret.py     the learner that takes them for comparisons of regret (successor features, GPI)
advantage.py  learners of the optimal advantage: greedy on it, or mistaking it for a reward
measures.py   how good what was learned is
people.py     which model of a preference explains the answers of people
"""

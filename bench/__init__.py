"""Figures: how fast three local nodes publish, how soon they go on when the leader is killed, what a backlog costs.

Performance is measured here and nowhere else; no timed figure stands in a test. The load generator shares the
machine with the nodes, so compare ratios measured in one run, not rates from different days.
"""

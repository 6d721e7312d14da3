"""Chaos: break a real cluster on a seeded schedule while clients use it, and prove that nothing was lost.

A run writes down all that it saw (`history`), and pure code judges it afterwards (`checker`); nothing here imports
the node's own code to decide what is right.
"""

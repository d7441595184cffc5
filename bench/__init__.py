"""Measures Bridle beside the real programs, on this machine, at this moment: ``python -m bench``.

Nothing here asserts a time. A run fails when an answer is wrong or a program of ours does not start, never
because of speed. It is no part of the wheel, and starts the real programs with the tests' support package.
"""

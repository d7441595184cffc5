"""Captured exchanges with the real programs, replayed against ours."""

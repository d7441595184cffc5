"""What the tests and the benchmark share: real programs, started and stopped within bounds."""

"""The kit a daemon is built on: configuration life cycle, common commands, status, shutdown."""

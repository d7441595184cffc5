"""Example daemons: small programs with a control channel."""

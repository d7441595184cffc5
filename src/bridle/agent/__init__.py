"""The control agent: one HTTP endpoint in front of the daemons of a site."""

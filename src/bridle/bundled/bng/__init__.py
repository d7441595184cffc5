"""The session daemon: BNG Blaster's sessions, without the packets."""

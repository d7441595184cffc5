"""Who may do what: authentication and transport security, used by servers and the agent alike."""

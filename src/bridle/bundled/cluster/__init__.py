"""An imagined cluster with real state, behind the names of Pacemaker's daemons."""

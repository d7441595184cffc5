"""libqb's IPC: carries whole messages between processes of one machine, as Pacemaker's do."""

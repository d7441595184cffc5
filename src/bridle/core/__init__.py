"""What a command is: messages, results and errors, signatures, the command manager, events.

Nothing here reads a byte, knows a dialect, or waits.
"""

"""The command lines: ``bridle``, and those that operators' fingers know."""

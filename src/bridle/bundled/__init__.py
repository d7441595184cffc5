"""The daemons that come with Bridle: small, but real behind the wire."""

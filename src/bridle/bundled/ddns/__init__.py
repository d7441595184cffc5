"""D2: the daemon that carries DHCP's name changes into DNS."""

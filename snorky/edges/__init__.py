"""What all ways in share and no server owns: handshakes, sessions, the rules of the back end."""

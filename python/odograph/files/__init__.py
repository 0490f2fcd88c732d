"""How files are opened and written: those a recording names, and those the user names."""

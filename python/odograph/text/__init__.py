"""Text for people: what a terminal may be shown, counts with their nouns, the standard streams."""

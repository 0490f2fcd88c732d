"""Histories: every executed instruction, the saved index of one, live traces, and stacks over time."""

"""What lies in memory: images of code, memory to read, object files, and what a process has mapped.

Out of scope: which files were mapped in a recording (`recording` says that), and names (`symbols`).
"""

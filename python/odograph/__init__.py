"""Odograph: the history of every instruction a program executed, from Intel Processor Trace."""

from odograph._native import __version__

__all__ = ["__version__"]

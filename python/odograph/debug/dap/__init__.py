"""The Debug Adapter Protocol over a recorded history: what editors speak.

https://microsoft.github.io/debug-adapter-protocol/specification
"""

from __future__ import annotations

from odograph.debug.dap.server import listen, serve, serve_port
from odograph.debug.dap.session import Session

__all__ = ["Session", "listen", "serve", "serve_port"]

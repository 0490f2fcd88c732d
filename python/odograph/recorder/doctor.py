"""What this machine can record with, and what to install or set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from odograph.recorder import hardware, ptrace, qemu

__all__ = ["Finding", "Report", "doctor"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One recorder: ``advice`` is empty if it works, else why not and what to do.

    ``program`` is what it runs, where there is a choice.
    """

    backend: str
    what: str
    available: bool
    advice: str
    program: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All recorders, best first."""

    findings: tuple[Finding, ...]

    @property
    def best(self) -> str | None:
        """The recorder that is used unless another is asked for."""
        return next((one.backend for one in self.findings if one.available), None)

    def to_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return {
            "best": self.best,
            "recorders": [
                {
                    "name": one.backend,
                    "what": one.what,
                    "available": one.available,
                    "advice": one.advice,
                    "program": one.program,
                }
                for one in self.findings
            ],
        }

    def __str__(self) -> str:
        lines = []
        for one in self.findings:
            where = f" ({one.program})" if one.available and one.program is not None else ""
            lines.append(f"{'yes' if one.available else 'no':4} {one.backend:7} {one.what}{where}")
            if one.advice:
                lines.append(f"{'':12} {one.advice}")
        best = self.best
        lines.append(f"record uses {best}" if best else "nothing can record here")
        return "\n".join(lines)


def doctor() -> Report:
    """Let every recorder record a tiny program here."""
    recorders = (
        ("perf", "Intel PT of this processor, at nearly full speed", hardware.unavailable, None),
        (
            "qemu",
            "QEMU user mode, some ten times slower than the program alone",
            qemu.unavailable,
            qemu.qemu_path(),
        ),
        ("ptrace", "single steps, ten thousand times slower; nothing to install", ptrace.unavailable, None),
    )
    findings = []
    for backend, what, unavailable, program in recorders:
        reason = unavailable()
        findings.append(Finding(backend, what, reason is None, reason or "", program))
    return Report(tuple(findings))

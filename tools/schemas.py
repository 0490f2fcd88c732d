"""Writes the JSON schemas of the commands' output to docs/schemas. ``--check`` only compares."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from odograph.cli.schemas import OUTPUTS

DIRECTORY = Path(__file__).resolve().parents[1] / "docs" / "schemas"


def closed(schema: Any) -> Any:
    """A schema whose objects have no other fields than those it names."""
    if isinstance(schema, dict):
        schema = {key: closed(value) for key, value in schema.items()}
        if "properties" in schema:
            schema["additionalProperties"] = False
    elif isinstance(schema, list):
        schema = [closed(value) for value in schema]
    return schema


def schemas() -> dict[str, str]:
    """The text of each file by its name."""
    found = {}
    for name, output in OUTPUTS.items():
        head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"odograph/{name}/1"}
        found[f"{name}.json"] = json.dumps(head | closed(msgspec.json.schema(output)), indent=2) + "\n"
    return found


def main(words: list[str]) -> int:
    """Writes or compares; gives the exit status."""
    different = 0
    for name, text in schemas().items():
        path = DIRECTORY / name
        if not path.exists() or path.read_text() != text:
            different += 1
            if "--check" in words:
                print(f"{path} differs; run python tools/schemas.py", file=sys.stderr)
            else:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
    return 1 if different and "--check" in words else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

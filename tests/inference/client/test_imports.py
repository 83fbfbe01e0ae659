"""The web processes never load torch; what crosses the boundary needs nothing at all."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from inference import contract


def test_the_client_loads_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, inference.client\n"
        "heavy = {'torch', 'transformers', 'safetensors'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_crosses_the_boundary_is_made_of_the_standard_library_and_msgspec() -> None:
    """import-linter can forbid packages by name, but not all there are."""
    imported: set[str] = set()
    for path in Path(contract.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module or "")
    others = {name for name in imported if not name.startswith("inference.contract")}
    assert others
    assert {name.split(".")[0] for name in others} <= sys.stdlib_module_names | {"msgspec"}

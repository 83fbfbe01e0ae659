"""The web processes never load torch."""

from __future__ import annotations

import subprocess
import sys


def test_the_client_loads_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, inference.client\n"
        "heavy = {'torch', 'transformers', 'safetensors'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

"""Print the pins of pyproject.toml for pip: `pins.py` for the site, `pins.py dev` for more.

So nothing is built and nothing of the project itself lands in the environment.
"""

import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def pins(*extras: str) -> list[str]:
    """The direct requirements, and those of the named extras."""
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    chosen = (project["optional-dependencies"][extra] for extra in extras)
    return [*project["dependencies"], *(pin for group in chosen for pin in group)]


if __name__ == "__main__":
    print("\n".join(pins(*sys.argv[1:])))

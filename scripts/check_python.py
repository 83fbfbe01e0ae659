"""One clear sentence when this Python can't run the site. Runs on any Python 3."""

import sys

if not (3, 11) <= sys.version_info[:2] < (3, 14):
    have = ".".join(map(str, sys.version_info[:3]))
    sys.exit(
        "chatsite needs Python 3.11, 3.12 or 3.13, and this is " + have + ". "
        "Name another one: make up PYTHON=python3.12"
    )

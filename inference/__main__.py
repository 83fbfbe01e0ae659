"""The engine without the site: `python -m inference chat|bench|info|fidelity --model …`."""

from __future__ import annotations

import argparse
import os
import sys

from inference.command import bench, chat, fidelity, info
from inference.command.session import CommandError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit status. A CommandError is printed as its sentence."""
    parser = argparse.ArgumentParser(prog="python -m inference", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="chat|bench|info|fidelity")
    for command in (chat, bench, info, fidelity):
        command.add_parser(commands)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except CommandError as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader, `head` for example, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

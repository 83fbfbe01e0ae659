#!/usr/bin/env python
"""Run Django's management commands; `manage.py up` starts the whole site."""

import os
import sys

if __name__ == "__main__":
    if sys.argv[1:] == ["down"]:
        from chatsite.supervisor.down import down

        print(down())
        sys.exit()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatsite.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    from inference.env import InvalidVariable

    try:
        execute_from_command_line(sys.argv)
    except (ImproperlyConfigured, InvalidVariable) as error:  # the text names the variable
        sys.exit(str(error))

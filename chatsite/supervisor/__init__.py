"""Starts and watches the processes of one machine: `manage.py up`."""

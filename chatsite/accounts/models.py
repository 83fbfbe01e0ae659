"""Who uses the site."""

from django.contrib.auth.models import AbstractUser


class User(AbstractUser):
    """A person. The first administrator comes by a one-time link, not by signing up first."""

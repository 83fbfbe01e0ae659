from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class GenerationConfig(AppConfig):
    name = "chatsite.generation"
    verbose_name = _("Requests")
    label = "metrics"  # what its tables have been called since the first version

from django.apps import AppConfig


class GenerationConfig(AppConfig):
    name = "chatsite.generation"
    label = "metrics"  # what its tables have been called since the first version

"""The same models for programs: OpenAI-compatible HTTP."""

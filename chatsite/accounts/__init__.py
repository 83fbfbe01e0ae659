"""Users, sign-in, API keys, quotas."""

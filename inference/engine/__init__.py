"""The engine: one thread that schedules, runs, samples and detokenises many requests at once."""

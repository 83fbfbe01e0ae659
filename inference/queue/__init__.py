"""Redis between site and workers: a queue per model, leases, and a stream per answer."""

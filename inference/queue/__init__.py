"""Redis between site and workers: a stream per answer, and a ledger of requests with leases."""

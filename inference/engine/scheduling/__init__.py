"""Which requests run next: the queue, the blocks of keys and values, the pace of prefill."""

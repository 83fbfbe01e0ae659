"""A Redis channel layer that outlives its Redis.

channels_redis raises out of `receive` when the connection breaks, which ends the consumer and its
socket. Here waiting goes on until Redis is back; what was sent meanwhile is lost, which pages know
how to bear.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from channels_redis.core import RedisChannelLayer
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)
RETRY_S = 0.5


class PatientRedisChannelLayer(RedisChannelLayer):
    """RedisChannelLayer whose `receive` waits for an absent Redis instead of raising."""

    async def receive(self, channel: str) -> Any:
        while True:
            try:
                return await super().receive(channel)
            except (RedisError, OSError) as error:
                logger.warning("channel layer: %s (%s); trying again", type(error).__name__, error)
                await asyncio.sleep(RETRY_S)

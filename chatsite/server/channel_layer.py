"""The channel layer, which a page's socket needn't wait for.

Channels makes a channel for each socket before it calls the consumer, and channels_redis subscribes
to it in Redis: with Redis away no page could open its socket, and so none could send what the
outbox keeps. Here a channel is a queue in this process and nothing else. Messages go to groups
alone; a consumer joins its group when Redis is there (chat/consumers.py tries again until it is).
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from channels_redis.pubsub import RedisPubSubChannelLayer, RedisPubSubLoopLayer
from channels_redis.utils import _wrap_close


class GroupLoopLayer(RedisPubSubLoopLayer):
    """One event loop's part: channels without a subscription of their own."""

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Unsupported: no other process could reach a channel of this one."""
        raise RuntimeError("messages go to groups: use group_send")

    async def new_channel(self, prefix: str = "specific.") -> str:
        """A channel of this process; at once, also while Redis is away."""
        channel = f"{self.prefix}{prefix}{uuid.uuid4().hex}"
        self.channels[channel] = asyncio.Queue()
        return channel

    async def receive(self, channel: str) -> Any:
        """The next message to a group that the channel has joined.

        Cancelled when its consumer ends: the channel is gone then.
        """
        try:
            message = await self.channels[channel].get()
        except (asyncio.CancelledError, GeneratorExit):
            self.channels.pop(channel, None)
            raise
        return self.channel_layer.deserialize(message)


class GroupChannelLayer(RedisPubSubChannelLayer):
    """channels_redis' pub/sub layer for groups."""

    def _get_layer(self) -> GroupLoopLayer:
        loop = asyncio.get_running_loop()
        if loop not in self._layers:
            self._layers[loop] = GroupLoopLayer(*self._args, **self._kwargs, channel_layer=self)
            _wrap_close(self, loop)
        layer: GroupLoopLayer = self._layers[loop]
        return layer

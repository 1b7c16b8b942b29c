"""The GraphQL gateway: queries over HTTP, subscriptions over WebSocket and server-sent events.

It reads through ``shared.stores``, ``shared.warehouse`` and ``shared.messaging`` and writes nothing but its
own ephemeral Pub/Sub subscriptions. It never imports a function or a Google library.
"""

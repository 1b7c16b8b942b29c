"""HTTP, server-sent events and WebSocket: GraphQL over each."""

"""The web side: calls that a carrier brings as a media stream over a WebSocket."""

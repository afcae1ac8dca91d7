"""A stream's incoming audio: numbered packets in as they come, 20 ms out at each tick."""

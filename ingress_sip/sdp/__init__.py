"""SDP without I/O: `session` reads and writes descriptions, `offer_answer` decides on media."""

"""SIP without I/O: bytes and time in, bytes and events out (RFC 3261).

Read it in this order: `message` and `parse` (what is on the wire), `transactions` (who resends
what, and for how long), `dialog` (who talks to whom), `core` (the user agent that joins them).
Nothing here opens a socket, reads a clock or draws a random number.
"""

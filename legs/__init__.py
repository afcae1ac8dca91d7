"""A call's leg, as every ingress has it: the 20 ms ticker, audio to and from the bus, the playout
queue with its ledger, barge-in. Knows no SIP and no WebSocket.
"""

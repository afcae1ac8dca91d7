"""The phone side: SIP signalling, SDP and RTP as pure cores, and the asyncio shell around them."""

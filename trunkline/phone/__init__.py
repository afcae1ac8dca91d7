"""A light phone of our own: many calls at once in one asyncio process, and every packet kept.

It shares no SIP and no RTP with the ingress, so that one cannot be wrong in the same way as the
other. It knows what a caller on one network needs: no registration, no authentication, no proxies;
UDP, PCMU, 20 ms.

    uac.py      SIP: a call placed and ended
    line.py     RTP: frames out, packets in
    caller.py   who says what when: a person who lets the other side finish
    clock.py    the 20 ms beat of all callers
    heard.py    what came: audio on its media clock, holes, waits
"""

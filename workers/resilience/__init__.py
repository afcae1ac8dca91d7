"""Providers that may be slow or fail: one behind the other, each with the time it is given.

What stands here are the ports of `workers.ports` again, around a chain of providers: whoever uses
one sees a single provider, which fails only when all of them do.
"""

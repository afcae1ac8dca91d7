"""Trunks and phones: who they are (`config`), who of them calls (`policy`), which trunk a call
goes out by, and the life of their registrations (`keeper`).

All but `keeper` is pure.
"""

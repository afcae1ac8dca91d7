"""The contract between the processes: topics, typed events, audio streams, leases.

The only importer of redis. FastStream carries jobs and lifecycle; audio and the call log, which
are 50 entries a second and direction, go through raw pipelined commands (docs/adr/0003).
"""

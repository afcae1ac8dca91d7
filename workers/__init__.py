"""The pools that listen, think, speak and record: each a process that scales by itself."""

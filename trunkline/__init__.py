"""The composition root: settings, the command line, and the one-machine stack."""

from importlib.metadata import version as _version_of

#: Of this installation.
version = _version_of("trunkline")

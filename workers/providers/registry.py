"""Finds the provider that an agent names, whoever wrote it.

Providers are entry points: ours are declared in this package's metadata, others in that of the
packages they come with, and both are loaded alike. A provider that an agent names and that cannot
be had stops the start-up, with the reason and what to do.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from workers.ports import Ask, ProviderError, Responder, Synthesizer, Transcriber

TRANSCRIBERS = "trunkline.transcribers"
RESPONDERS = "trunkline.responders"
SYNTHESIZERS = "trunkline.synthesizers"


def load_transcriber(ask: Ask) -> Transcriber:
    """Make the agent's transcriber.

    Raises:
        ProviderError: it is unknown, not installed, or refuses its options.
    """
    transcriber: Transcriber = _load(TRANSCRIBERS, "asr", ask.agent.asr.provider, ask)
    return transcriber


def load_responder(ask: Ask) -> Responder:
    """Make the agent's responder.

    Raises:
        ProviderError: it is unknown, not installed, or refuses its options.
    """
    responder: Responder = _load(RESPONDERS, "llm", ask.agent.llm.provider, ask)
    return responder


def load_synthesizer(ask: Ask) -> Synthesizer:
    """Make the agent's synthesizer.

    Raises:
        ProviderError: it is unknown, not installed, or refuses its options.
    """
    synthesizer: Synthesizer = _load(SYNTHESIZERS, "tts", ask.agent.tts.provider, ask)
    return synthesizer


def _load(group: str, stage: str, name: str, ask: Ask) -> Any:
    where = f"agent {ask.agent.name!r}: {stage}.provider {name!r}"
    known = {point.name: point for point in entry_points(group=group)}
    if name not in known:
        raise ProviderError(
            f"{where} is unknown; installed are: {', '.join(sorted(known)) or 'none'}",
            error_type="refused",
        )
    return _factory(known[name], where)(ask)


def _factory(point: EntryPoint, where: str) -> Callable[[Ask], Any]:
    try:
        factory: Callable[[Ask], Any] = point.load()
    except ImportError as error:
        raise ProviderError(
            f"{where} needs a package that is not installed ({error}); {_remedy(point)}",
            error_type="refused",
        ) from error
    except AttributeError as error:
        raise ProviderError(
            f"{where} is declared as {point.value!r}, which is not there: {error}",
            error_type="refused",
        ) from error
    return factory


#: Which extra of this package brings what a provider imports.
_EXTRAS = {
    "workers.providers.pocketsphinx": "embedded",
    "workers.providers.espeak": "embedded",
}


def _remedy(point: EntryPoint) -> str:
    if (extra := _EXTRAS.get(point.module)) is not None:
        return f"install it with: pip install 'trunkline[{extra}]'"
    package = point.dist.name if point.dist is not None else point.module
    return f"see how {package!r} is to be installed"

"""A stage's providers, one behind the other, and how a piece of work goes down the line.

An attempt that fails before it gave anything is made once more where that may help, after a short
pause, and then goes to the next in line that is not known to be dead. May help: the provider was
`unavailable`, or took too long and there is nobody else. (Where there is somebody, the caller has
waited for one time-out already.) Who refuses will refuse again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Generic, Protocol, TypeVar

import structlog

from telemetry import metrics
from workers.ports import ProviderError
from workers.resilience.breaker import Breaker, Permit
from workers.resilience.patience import Patience


class Closable(Protocol):
    """What all providers have in common."""

    async def close(self) -> None: ...


C = TypeVar("C", bound=Closable)

_log = structlog.get_logger(__name__)

#: The pause before another try is drawn from this, s: callers who failed together come back apart.
RETRY_S: Final = (0.1, 0.3)


@dataclass(frozen=True, slots=True)
class Link(Generic[C]):
    """One provider in line."""

    #: For people: the provider, with its model and service where it has them.
    name: str
    provider: C
    timeout_ms: int
    breaker: Breaker


@dataclass(slots=True)
class Attempt(Generic[C]):
    """One provider at work. `with attempt:` tells its breaker how that went."""

    link: Link[C]
    stage: str
    _permit: Permit | None
    #: Has it given anything? Then nobody else may begin anew.
    given: bool = False

    @property
    def provider(self) -> C:
        return self.link.provider

    def patience(self) -> Patience:
        """For one stream of waits."""
        ms = self.link.timeout_ms
        return Patience(
            ms / 1000,
            f"{self.link.name}: nothing came within {ms} ms; if it is that slow, raise its "
            f"timeout_ms under `{self.stage}` in agents.yaml",
        )

    def settle(self, error: BaseException | None = None) -> None:
        """Say how it went; only the first word counts."""
        if (permit := self._permit) is None:
            return
        self._permit = None
        breaker = self.link.breaker
        if isinstance(error, ProviderError):
            metrics.PROVIDER_FAILURES.labels(self.stage, self.link.name, error.error_type).inc()
            refused = error.error_type == "refused"
            (breaker.succeeded if refused else breaker.failed)(permit)
        elif error is None or self.given:
            breaker.succeeded(permit)
        else:
            breaker.abandoned(permit)

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.settle(error)


@dataclass(slots=True)
class Course(Generic[C]):
    """One piece of work, and who has tried it."""

    chain: Chain[C]
    #: Who comes next: a place in line.
    _at: int = 0
    _tries: int = 0
    #: The last of each provider.
    _errors: dict[str, ProviderError] = field(default_factory=dict)

    async def attempt(self) -> Attempt[C]:
        """Who is to try now. Waits before a second try.

        Raises:
            ProviderError: nobody is left.
        """
        if self._tries:
            await asyncio.sleep(self.chain.pause_s())
        while self._at < len(self.chain.links):
            link = self.chain.links[self._at]
            if (permit := link.breaker.enter()) is not None:
                if self._at and not self._tries:
                    metrics.PROVIDER_FALLBACKS.labels(self.chain.stage, link.name).inc()
                return Attempt(link, self.chain.stage, permit)
            self._pass_over(link)
        raise self._nobody()

    def failed(self, link: Link[C], error: ProviderError) -> None:
        """That provider did not do it: choose who is next."""
        self._errors[link.name] = error
        last = self._at + 1 == len(self.chain.links)
        again = error.error_type == "unavailable" or (error.error_type == "timeout" and last)
        if again and not self._tries:
            self._tries = 1
            metrics.PROVIDER_RETRIES.labels(self.chain.stage, link.name).inc()
            then = "it is asked once more"
        else:
            self._tries, self._at = 0, self._at + 1
            then = "nobody is left" if last else f"{self.chain.links[self._at].name} stands in"
        _log.warning(
            "provider.failed",
            stage=self.chain.stage,
            provider=link.name,
            error_type=error.error_type,
            error=str(error),
            then=then,
        )

    def _pass_over(self, link: Link[C]) -> None:
        if not self._tries:
            self._errors[link.name] = ProviderError(
                f"{link.name} failed again and again, and is asked again in "
                f"{link.breaker.rest_s:.0f} s",
                error_type="unavailable",
            )
        self._tries, self._at = 0, self._at + 1

    def _nobody(self) -> ProviderError:
        errors = list(self._errors.values())
        if len(errors) == 1:
            return errors[0]
        said = "; ".join(str(error) for error in errors)
        return ProviderError(
            f"all providers of {self.chain.stage} failed: {said}", error_type=errors[-1].error_type
        )


class Chain(Generic[C]):
    """A stage's providers in the order in which they are asked."""

    def __init__(
        self, stage: str, links: Sequence[Link[C]], jitter: Callable[[], float] = random.random
    ) -> None:
        """`jitter` gives a number in 0..1."""
        assert links
        self.stage = stage
        self.links = tuple(links)
        self._jitter = jitter

    def course(self) -> Course[C]:
        """Begin a piece of work."""
        return Course(self)

    def pause_s(self) -> float:
        """How long to wait before another try, s."""
        shortest, longest = RETRY_S
        return shortest + (longest - shortest) * self._jitter()

    async def close(self) -> None:
        """Close all of them."""
        for link in self.links:
            await link.provider.close()

"""A stage's options, checked once when the process starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from workers.ports import ProviderError


class Options(BaseModel):
    """What every provider's options have in common: unknown names are refused, not ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Model = TypeVar("Model", bound=Options)


def parse(model: type[Model], options: Mapping[str, Any], *, where: str) -> Model:
    """Check a stage's options against a provider's model.

    `where` names the stage in agents.yaml, like "agent 'clinic': llm.options".

    Raises:
        ProviderError: one line for each option that is wrong, each with its path.
    """
    try:
        return model.model_validate(dict(options))
    except ValidationError as error:
        lines = [
            f"{where}.{'.'.join(str(part) for part in problem['loc'])}: {_reason(problem['msg'])}"
            if problem["loc"]
            else f"{where}: {_reason(problem['msg'])}"
            for problem in error.errors(include_url=False, include_input=False)
        ]
        raise ProviderError("\n".join(lines), error_type="refused") from error


def _reason(message: str) -> str:
    return message.removeprefix("Value error, ")

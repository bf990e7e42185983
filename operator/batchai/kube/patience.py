"""Asks again while the API server does not answer, or refuses: what can only be waited for."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from batchai.errors import KubeApiError

T = TypeVar("T")

_log = logging.getLogger(__name__)

_PAUSE_SECONDS = 2.5
_SAY_SECONDS = 60.0


async def insist(ask: Callable[[], Awaitable[T]], what: str) -> T:
    """The answer, however long it takes.

    Why there is none yet is logged at once and then once a minute, because some refusals never end.
    """
    say = time.monotonic()
    while True:
        try:
            return await ask()
        except KubeApiError as error:
            if time.monotonic() >= say:
                _log.warning("%s fails and is tried again: %s", what, error)
                say = time.monotonic() + _SAY_SECONDS
        await asyncio.sleep(_PAUSE_SECONDS)

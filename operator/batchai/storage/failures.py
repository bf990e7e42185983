"""Azure's exceptions as StorageError: one sentence, without headers, bodies or credentials."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)

from batchai.errors import StorageError
from batchai.storage.account import StorageAccount

CLIENT_OPTIONS: dict[str, Any] = {
    # The SDK's defaults wait 15 s before the first retry, too long for somebody at a terminal.
    "retry_total": 2,
    "initial_backoff": 1,
    "increment_base": 2,
    "random_jitter_range": 1,
    "connection_timeout": 10,
    "read_timeout": 60,
}


def credential(account: StorageAccount) -> Any:
    """What the SDK's clients take as `credential`."""
    if account.key:
        return {"account_name": account.name, "account_key": account.key}
    return account.sas_token


@contextmanager
def translated(account: StorageAccount, endpoint: str, what: str) -> Iterator[None]:
    """Raises StorageError for any AzureError; `what` names the file or folder that was asked for."""
    try:
        yield
    except ResourceNotFoundError as error:
        raise StorageError(f"{what} does not exist in storage account '{account.name}'", not_found=True) from error
    except ClientAuthenticationError as error:
        raise StorageError(
            f"storage account '{account.name}' does not accept the {_said(account)}: {_code(error)}", denied=True
        ) from error
    except (ServiceRequestError, ServiceResponseError) as error:
        raise StorageError(f"the endpoint {endpoint} of storage account '{account.name}' cannot be reached") from error
    except HttpResponseError as error:
        raise StorageError(
            f"storage account '{account.name}' refused {what}: {_code(error)} (HTTP {error.status_code})",
            retry_after=_retry_after(error),
        ) from error
    except AzureError as error:
        raise StorageError(f"storage account '{account.name}': {type(error).__name__}") from error


def _said(account: StorageAccount) -> str:
    """What a credential is called, with the end of a SAS token, which tells one that has expired."""
    if account.key or not account.sas_token:
        return "key"
    end = parse_qs(account.sas_token).get("se")
    return f"SAS token, which is valid until {end[0]}" if end else "SAS token"


def _retry_after(error: HttpResponseError) -> float | None:
    """The seconds of the header; Azure's services send no dates there."""
    headers = getattr(error.response, "headers", {})  # the library's type of a response has none
    text = headers.get("Retry-After", "")
    return float(text) if text.isdigit() else None


def _code(error: HttpResponseError) -> str:
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or error.reason or "no reason given")

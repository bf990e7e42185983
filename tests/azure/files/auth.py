"""Azure Files' SharedKey, service SAS and account SAS. Pure: a request's parts in, a verdict out."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote

_STANDARD_HEADERS = (
    "Content-Encoding",
    "Content-Language",
    "Content-Length",
    "Content-MD5",
    "Content-Type",
    "Date",
    "If-Modified-Since",
    "If-Match",
    "If-None-Match",
    "If-Unmodified-Since",
    "Range",
)
_SAS_PERMISSION = {"GET": "r", "HEAD": "r", "PUT": "w", "DELETE": "d"}


class Refused(Exception):  # noqa: N818 - an answer
    """403 with Azure's code."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


@dataclass(frozen=True)
class Account:
    """A storage account; key is base64 text."""

    name: str
    key: str

    def sign(self, text: str) -> str:
        """HMAC-SHA256 with the key, base64."""
        digest = hmac.new(base64.b64decode(self.key), text.encode(), hashlib.sha256).digest()
        return base64.b64encode(digest).decode()


@dataclass(frozen=True)
class Request:
    """method; path exactly as sent, percent-encoded; query and headers decoded, headers in any case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


def check(request: Request, account: Account, now: datetime) -> None:
    """Raises Refused unless the request is signed by the account's key, or by a SAS that allows it."""
    if "sig" in request.query:
        _check_sas(request, account, now)
        return
    scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
    name, _, signature = rest.partition(":")
    if scheme != "SharedKey" or name != account.name:
        raise Refused("AuthenticationFailed")
    if not hmac.compare_digest(signature, account.sign(shared_key_text(request, account.name))):
        raise Refused("AuthenticationFailed")


def shared_key_text(request: Request, account: str) -> str:
    """What a SharedKey signature signs."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    standard = [headers.get(name.lower(), "") for name in _STANDARD_HEADERS]
    if standard[2] == "0":
        standard[2] = ""
    if "x-ms-date" in headers:
        standard[5] = ""
    own = [f"{name}:{' '.join(value.split())}" for name, value in sorted(headers.items()) if name.startswith("x-ms-")]
    query = [f"{name.lower()}:{value}" for name, value in sorted(request.query.items())]
    return "\n".join([request.method, *standard, *own, f"/{account}{request.path}", *query])


def _check_sas(request: Request, account: Account, now: datetime) -> None:
    query = request.query
    text = _account_sas_text(request, account.name) if "ss" in query else _service_sas_text(request, account.name)
    if not hmac.compare_digest(query["sig"], account.sign(text)):
        raise Refused("AuthenticationFailed")
    begins, ends = query.get("st"), query.get("se", "")
    if (begins and now < _time(begins)) or now >= _time(ends):
        raise Refused("AuthenticationFailed")
    listing = query.get("comp") == "list"
    needed = "l" if listing else _SAS_PERMISSION.get(request.method, "w")
    if needed not in query.get("sp", ""):
        raise Refused("AuthorizationPermissionMismatch")


def _service_sas_text(request: Request, account: str) -> str:
    query = request.query
    share, _, path = unquote(request.path).strip("/").partition("/")
    resource = query.get("sr", "")
    if resource not in {"f", "s"}:
        raise Refused("AuthenticationFailed")
    signed = f"/file/{account}/{share}" + (f"/{path}" if resource == "f" else "")
    fields = ("sp", "st", "se"), ("si", "sip", "spr", "sv", "rscc", "rscd", "rsce", "rscl", "rsct")
    return "\n".join(
        [*(query.get(name, "") for name in fields[0]), signed, *(query.get(name, "") for name in fields[1])]
    )


def _account_sas_text(request: Request, account: str) -> str:
    """Of all services, containers and objects of an account."""
    query = request.query
    depth = len([part for part in unquote(request.path).strip("/").split("/") if part])
    needed = ("s", "c", "o")[min(depth, 2)]
    if "f" not in query["ss"] or needed not in query.get("srt", ""):
        raise Refused("AuthorizationResourceTypeMismatch")
    values = [query.get(name, "") for name in ("sp", "ss", "srt", "st", "se", "sip", "spr", "sv", "ses")]
    return "\n".join([account, *values, ""])


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Refused("AuthenticationFailed") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

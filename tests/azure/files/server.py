"""Azure Files' REST interface over a directory: <root>/<share>/<path>. What a node mounts is the same directory.

Only what clients of a file share need: shares, directories, files, ranges, listings. No leases, snapshots or
properties that a plain file system does not have.
"""

import re
import shutil
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import unquote
from xml.sax.saxutils import escape, quoteattr

from aiohttp import web

from files.auth import Account, Refused, Request, check

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_SHARE = re.compile(r"[a-z0-9](?:-?[a-z0-9]){2,62}")
_PIECE = 1 << 20


class Problem(Exception):  # noqa: N818 - an answer
    """An answer with Azure's error code."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        self.status = status
        self.code = code
        self.message = message or code
        super().__init__(code)


def application(root: Path, account: Account) -> web.Application:
    """The server of one account's shares."""
    root.mkdir(parents=True, exist_ok=True)

    async def handle(request: web.Request) -> web.StreamResponse:
        return await _answer(request, root, account)

    app = web.Application(client_max_size=8 << 20)
    app.router.add_route("*", "/{path:.*}", handle)
    return app


async def _answer(request: web.Request, root: Path, account: Account) -> web.StreamResponse:
    try:
        if request.path == "/healthz":
            return web.Response(text="ok")
        if _is_busy(root):
            busy = _error(request, Problem(503, "ServerBusy", "The server is busy."))
            busy.headers["Retry-After"] = "1"
            return busy
        path = request.raw_path.partition("?")[0]
        asked = Request(request.method, path, request.query, request.headers)
        check(asked, account, datetime.now(UTC))
        share, _, inner = unquote(path).strip("/").partition("/")
        return await _dispatch(request, root, share, inner.strip("/"))
    except Refused as refused:
        return _error(request, Problem(403, refused.code))
    except Problem as problem:
        return _error(request, problem)
    except NotADirectoryError:
        return _error(request, Problem(404, "ParentNotFound"))


def _is_busy(root: Path) -> bool:
    """Whether this answer is one of those that `<root>/.busy` says are to be refused; it holds how many are left."""
    switch = root / ".busy"
    if not switch.exists():
        return False
    left = int(switch.read_text()) - 1
    if left > 0:
        switch.write_text(str(left))
    else:
        switch.unlink()
    return True


async def _dispatch(request: web.Request, root: Path, share: str, inner: str) -> web.StreamResponse:
    comp, kind = request.query.get("comp"), request.query.get("restype")
    if not share:
        if comp == "list":
            return _list_shares(request, root)
        raise Problem(400, "InvalidUri")
    base = root / share
    if kind == "share" and not inner:
        return _on_share(request, base)
    if not base.is_dir():
        raise Problem(404, "ShareNotFound", "The specified share does not exist.")
    target = (base / inner).resolve()
    if base.resolve() not in (target, *target.parents):
        raise Problem(400, "InvalidResourceName")
    if kind == "directory":
        return _list(request, base, target, inner) if comp == "list" else _on_directory(request, base, target)
    handlers: dict[tuple[str, str | None], Callable[[web.Request, Path], Awaitable[web.StreamResponse]]] = {
        ("PUT", None): _create_file,
        ("PUT", "range"): _put_range,
        ("PUT", "properties"): _set_properties,
        ("PUT", "metadata"): _set_properties,
        ("HEAD", None): _properties,
        ("GET", None): _download,
        ("DELETE", None): _delete_file,
    }
    handler = handlers.get((request.method, comp))
    if handler is None:
        raise Problem(400, "UnsupportedOperation", f"{request.method} comp={comp} is not part of this stand-in")
    return await handler(request, target)


# --- shares ---------------------------------------------------------------------------------------------------


def _on_share(request: web.Request, base: Path) -> web.Response:
    if request.method == "PUT":
        if not _SHARE.fullmatch(base.name):
            raise Problem(400, "InvalidResourceName")
        if base.exists():
            raise Problem(409, "ShareAlreadyExists", "The specified share already exists.")
        base.mkdir()
        base.chmod(0o777)
        return web.Response(status=201, headers=_stamps(base))
    if not base.is_dir():
        raise Problem(404, "ShareNotFound", "The specified share does not exist.")
    if request.method == "DELETE":
        shutil.rmtree(base)
        return web.Response(status=202)
    return web.Response(headers={**_stamps(base), "x-ms-share-quota": "5120", "x-ms-has-immutability-policy": "false"})


def _list_shares(request: web.Request, root: Path) -> web.Response:
    prefix = request.query.get("prefix", "")
    shares = "".join(
        f"<Share><Name>{escape(path.name)}</Name><Properties><Last-Modified>{_http_time(path)}</Last-Modified>"
        f"<Etag>{escape(_etag(path))}</Etag><Quota>5120</Quota></Properties></Share>"
        for path in sorted(root.iterdir())
        if path.is_dir() and path.name.startswith(prefix)
    )
    return _xml(f"<EnumerationResults><Shares>{shares}</Shares><NextMarker /></EnumerationResults>")


# --- directories ------------------------------------------------------------------------------------------------


def _on_directory(request: web.Request, base: Path, target: Path) -> web.Response:
    if request.method == "PUT":
        if target.exists():
            raise Problem(409, "ResourceAlreadyExists", "The specified resource already exists.")
        _need_parent(target)
        target.mkdir()
        target.chmod(0o777)
        return web.Response(status=201, headers={**_stamps(target), **_smb(target)})
    if not target.is_dir():
        raise Problem(404, "ResourceNotFound", "The specified resource does not exist.")
    if request.method == "DELETE":
        if target == base.resolve() or any(target.iterdir()):
            raise Problem(409, "DirectoryNotEmpty", "The specified directory is not empty.")
        target.rmdir()
        return web.Response(status=202)
    return web.Response(headers={**_stamps(target), **_smb(target), "x-ms-server-encrypted": "true"})


def _list(request: web.Request, base: Path, target: Path, inner: str) -> web.Response:
    if not target.is_dir():
        raise Problem(404, "ResourceNotFound", "The specified resource does not exist.")
    query = request.query
    limit = min(int(query.get("maxresults", "5000")), 5000)
    include = query.get("include", "").lower()
    names = sorted(path.name for path in target.iterdir() if path.name.startswith(query.get("prefix", "")))
    names = [name for name in names if name >= query.get("marker", "")]
    page, rest = names[:limit], names[limit:]
    entries = "".join(_entry(target / name, times="timestamps" in include, etag="etag" in include) for name in page)
    marker = f"<NextMarker>{escape(rest[0])}</NextMarker>" if rest else "<NextMarker />"
    return _xml(
        f"<EnumerationResults ShareName={quoteattr(base.name)} DirectoryPath={quoteattr(inner)}>"
        f"<Entries>{entries}</Entries>{marker}</EnumerationResults>"
    )


def _entry(path: Path, *, times: bool, etag: bool) -> str:
    try:
        status = path.stat()
    except FileNotFoundError:
        return ""
    properties = "" if path.is_dir() else f"<Content-Length>{status.st_size}</Content-Length>"
    if times:
        iso = datetime.fromtimestamp(status.st_mtime, UTC).isoformat(timespec="microseconds").replace("+00:00", "0Z")
        properties += (
            f"<CreationTime>{iso}</CreationTime><LastAccessTime>{iso}</LastAccessTime>"
            f"<LastWriteTime>{iso}</LastWriteTime><ChangeTime>{iso}</ChangeTime>"
            f"<Last-Modified>{_http_time(path)}</Last-Modified>"
        )
    if etag:
        properties += f"<Etag>{escape(_etag(path))}</Etag>"
    kind = "Directory" if path.is_dir() else "File"
    return (
        f"<{kind}><Name>{escape(path.name)}</Name><FileId>{status.st_ino}</FileId>"
        f"<Properties>{properties}</Properties></{kind}>"
    )


# --- files ----------------------------------------------------------------------------------------------------


async def _create_file(request: web.Request, target: Path) -> web.Response:
    if target.is_dir():
        raise Problem(409, "ResourceTypeMismatch")
    _need_parent(target)
    with target.open("wb") as file:
        file.truncate(int(request.headers["x-ms-content-length"]))
    target.chmod(0o777)
    return web.Response(
        status=201, headers={**_stamps(target), **_smb(target), "x-ms-request-server-encrypted": "true"}
    )


async def _put_range(request: web.Request, target: Path) -> web.Response:
    _need_file(target)
    match = _RANGE.fullmatch(request.headers.get("x-ms-range", request.headers.get("Range", "")))
    if match is None or not match[2]:
        raise Problem(400, "InvalidHeaderValue")
    begin, end = int(match[1]), int(match[2])
    if end >= target.stat().st_size:
        raise Problem(416, "InvalidRange", "The range specified is invalid for the current size of the resource.")
    data = bytes(end - begin + 1) if request.headers.get("x-ms-write") == "clear" else await request.read()
    if len(data) != end - begin + 1:
        raise Problem(400, "InvalidInput")
    with target.open("r+b") as file:
        file.seek(begin)
        file.write(data)
    return web.Response(status=201, headers={**_stamps(target), "x-ms-request-server-encrypted": "true"})


async def _set_properties(_request: web.Request, target: Path) -> web.Response:
    _need_file(target)
    return web.Response(headers={**_stamps(target), **_smb(target)})


async def _properties(_request: web.Request, target: Path) -> web.Response:
    _need_file(target)
    headers = {**_stamps(target), **_smb(target), "x-ms-type": "File", "x-ms-server-encrypted": "true"}
    return web.Response(headers={**headers, "Content-Length": str(target.stat().st_size)})


async def _download(request: web.Request, target: Path) -> web.StreamResponse:
    _need_file(target)
    size = target.stat().st_size
    asked = request.headers.get("x-ms-range", request.headers.get("Range"))
    begin, end, status = 0, size - 1, 200
    headers = {**_stamps(target), **_smb(target), "x-ms-type": "File", "Accept-Ranges": "bytes"}
    if asked:
        match = _RANGE.fullmatch(asked)
        if match is None or int(match[1]) >= size:
            raise Problem(416, "InvalidRange", "The range specified is invalid for the current size of the resource.")
        begin = int(match[1])
        end = min(int(match[2] or size - 1), size - 1)
        status = 206
        headers["Content-Range"] = f"bytes {begin}-{end}/{size}"
    response = web.StreamResponse(status=status, headers=headers)
    response.content_type = "application/octet-stream"
    response.content_length = end - begin + 1
    await response.prepare(request)
    with target.open("rb") as file:
        file.seek(begin)
        left = end - begin + 1
        while left and (piece := file.read(min(_PIECE, left))):
            left -= len(piece)
            await response.write(piece)
    await response.write_eof()
    return response


async def _delete_file(_request: web.Request, target: Path) -> web.Response:
    _need_file(target)
    target.unlink()
    return web.Response(status=202)


# --- pieces ---------------------------------------------------------------------------------------------------


def _need_parent(target: Path) -> None:
    if not target.parent.is_dir():
        raise Problem(404, "ParentNotFound", "The specified parent path does not exist.")


def _need_file(target: Path) -> None:
    if not target.is_file():
        raise Problem(404, "ResourceNotFound", "The specified resource does not exist.")


def _etag(path: Path) -> str:
    status = path.stat()
    return f'"0x{status.st_mtime_ns:X}{status.st_size:X}"'


def _http_time(path: Path) -> str:
    return format_datetime(datetime.fromtimestamp(int(path.stat().st_mtime), UTC), usegmt=True)


def _stamps(path: Path) -> dict[str, str]:
    return {"ETag": _etag(path), "Last-Modified": _http_time(path)}


def _smb(path: Path) -> dict[str, str]:
    status = path.stat()
    moment = datetime.fromtimestamp(status.st_mtime, UTC).isoformat(timespec="microseconds").replace("+00:00", "0Z")
    return {
        "x-ms-file-permission-key": "1*1",
        "x-ms-file-attributes": "Directory" if path.is_dir() else "Archive",
        "x-ms-file-creation-time": moment,
        "x-ms-file-last-write-time": moment,
        "x-ms-file-change-time": moment,
        "x-ms-file-id": str(status.st_ino),
        "x-ms-file-parent-id": str(path.parent.stat().st_ino),
    }


def _xml(body: str, status: int = 200) -> web.Response:
    text = f'<?xml version="1.0" encoding="utf-8"?>{body}'
    return web.Response(status=status, body=text.encode(), content_type="application/xml")


def _error(request: web.Request, problem: Problem) -> web.Response:
    body = f"<Error><Code>{problem.code}</Code><Message>{escape(problem.message)}</Message></Error>"
    response = _xml(body, problem.status)
    if request.method == "HEAD":
        response = web.Response(status=problem.status)
    response.headers["x-ms-error-code"] = problem.code
    return response

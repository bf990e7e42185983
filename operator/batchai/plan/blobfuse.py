"""blobfuse mountOptions of a job as the inline volumes of the Blob CSI driver take them.

Batch AI mounted with blobfuse 1. The driver runs blobfuse 2, which stops at options that it does not know, and refuses
flags in inline volumes that would reach beyond the mount. What only tuned blobfuse 1 is left out, what would change
the mount's meaning is refused here, before any node is taken.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from batchai.errors import SpecError

DEFAULTS = (
    "-o allow_other",
    "-o attr_timeout=240",
    "-o entry_timeout=240",
    "-o negative_timeout=120",
    "--cancel-list-on-mount-seconds=10",
    "--log-level=LOG_WARNING",
)
"""The service's defaults that still mean something (reference §6.4)."""

_NAMES = """
allow-other attr-cache-max-size-mb attr-cache-timeout attr-timeout background-download basic-remount-check
block-cache block-cache-block-size block-cache-disk-size block-cache-disk-timeout block-cache-parallelism
block-cache-pool-size block-cache-prefetch block-cache-prefetch-on-open block-cache-strong-consistency block-size-mb
cache-on-list cache-poll-timeout-msec cache-size-mb cap-iops cap-mbps-read cleanup-on-start cpk-enabled
disable-compression disable-kernel-cache disable-version-check disable-writeback-cache cancel-list-on-mount-seconds
empty-dir-check entry-timeout file-cache-policy file-cache-timeout file-cache-timeout-in-seconds filter foreground
hard-limit high-disk-threshold honour-acl ignore-open-flags ignore-sync invalidate-on-sync kernel-list-cache-timeout
lazy-write list-cache-timeout log-goroutine-id log-level log-type low-disk-threshold max-blocks-per-file
max-concurrency max-eviction max-retry max-retry-interval-in-seconds negative-timeout no-symlinks pool-size
pre-mount-validate preserve-acl read-only required-free-space-mb retry-delay-factor set-content-type stream-cache-mb
streaming subdirectory sync-to-flush telemetry upload-modified-only use-adls use-attr-cache virtual-directory
wait-for-mount workers
"""
_FLAGS = frozenset(f"--{name}" for name in _NAMES.split())
"""What the driver admits in inline volumes (kubernetes-sigs/blob-csi-driver, 1.27.6 and later)."""
_DROPPED_FLAGS = re.compile(r"--tmp-path(=.*)?|--use-https(=true)?")
"""The driver chooses the place of the cache and speaks HTTPS."""
_REMEDIES = {
    "--use-https": "mounts use HTTPS; an endpoint without it is the operator's to name in BATCHAI_STORAGE_SERVERS",
    "--container-name": "containerName names the container",
    "--config-file": "name the account's Secret in credentials.secretRef",
}
# What blobfuse 2 itself takes behind -o; it reads umask as a decimal number.
_FUSE = re.compile(
    r"allow_other|allow_root|(attr|entry|negative)_timeout=\d+|ro|nonempty|[ug]id=\d+|direct_io|default_permissions|rw"
    r"|(no)?(dev|suid|auto|user|exec)|delay_connect"
)
_UMASK = re.compile(r"umask=([0-7]{1,4})")
# libfuse 2's, which blobfuse 1 handed on: they tuned its cache or named its mounts.
_DROPPED_FUSE = re.compile(
    r"big_writes|(max_read|max_write|max_readahead|max_background|congestion_threshold|fsname|subtype|remember)=.*"
    r"|(no_)?splice_(read|write|move)|kernel_cache|auto_cache|(no)?atime|noforget|a?sync(_read)?|intr|hard_remove"
    r"|use_ino|readdir_ino|no_remote_lock"
)


@dataclass(frozen=True)
class Options:
    """The options of a mount, and the words of the job's text that were left out of them."""

    kept: tuple[str, ...]
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Word:
    """An option as it was written, and what is mounted with: None for nothing. refused: why it cannot be."""

    text: str
    value: str | None = None
    refused: str | None = None


def translate(mount_options: str | None, field: str) -> Options:
    """The options of the mount; none in the text means the service's defaults.

    field: where the text stands. Raises SpecError for text that does not split into options, and for an option that
    inline volumes refuse.
    """
    if not mount_options or not mount_options.strip():
        return Options(DEFAULTS)
    try:
        words = list(_words(shlex.split(mount_options)))
    except ValueError as error:
        raise SpecError(field, f"cannot be read: {error}") from None
    for word in words:
        if word.refused is not None:
            raise SpecError(field, f"'{word.text}' cannot be used: {word.refused}")
    return Options(
        tuple(word.value for word in words if word.value is not None),
        tuple(word.text for word in words if word.value is None),
    )


def dropped(mount_options: str | None) -> tuple[str, ...]:
    """The words that `translate` leaves out; none of a text that it refuses."""
    try:
        return translate(mount_options, "").dropped
    except SpecError:
        return ()


def _words(words: list[str]) -> Iterator[_Word]:
    remaining = iter(words)
    for word in remaining:
        if word == "-o":
            yield from _fuse_options(next(remaining, ""))
        elif word.startswith("-o"):
            yield from _fuse_options(word[2:])
        else:
            yield _flag(word)


def _flag(word: str) -> _Word:
    name, _, value = word.partition("=")
    if _DROPPED_FLAGS.fullmatch(word):
        return _Word(word)
    if name not in _FLAGS:
        return _Word(word, refused=_REMEDIES.get(name, "the driver of blob containers does not take it; remove it"))
    if "," in value or any(character.isspace() for character in value):
        return _Word(word, refused="its value may have no comma and no white space")
    if name == "--block-cache-parallelism" and not (value.isdecimal() and 1 <= int(value) <= 128):
        return _Word(word, refused="its value must be from 1 to 128")
    return _Word(word, word)


def _fuse_options(text: str) -> Iterator[_Word]:
    for option in filter(None, (part.strip() for part in text.split(","))):
        word = f"-o {option}"
        if _FUSE.fullmatch(option):
            yield _Word(word, word)
        elif match := _UMASK.fullmatch(option):
            yield _Word(word, f"-o umask={int(match[1], 8)}")
        elif _DROPPED_FUSE.fullmatch(option):
            yield _Word(word)
        else:
            yield _Word(word, refused="blobfuse 2 does not know it; remove it")

"""The administrator of a cluster or a file server, and the SSH key that az finds or makes (Batch AI reference §8)."""

import getpass
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from batchai.cli.configfile import Properties
from batchai.cli.problems import UsageProblem

_RSA_KEY = re.compile(r"ssh-rsa AAAAB3NzaC1yc2E[A-Za-z0-9+/]+={0,3}(?: .*)?")


def default_key() -> Path:
    """Where the private key lies that az uses unless told otherwise."""
    return Path.home() / ".ssh" / "id_rsa"


def current_user() -> str:
    """Who runs the command. Raises UsageProblem where the system has no name for it, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        raise UsageProblem("this system does not know the name of its user.", "Give --user-name NAME.") from error


def administrator(
    settings: Properties, options: Mapping[str, Any], current_user: Callable[[], str]
) -> tuple[Properties, list[str]]:
    """userAccountSettings of a file under the options of `arguments.administrator`, and what to tell of it.

    Passwords are left out: no resource may hold one, and nobody could log in with it.
    """
    name = options["user_name"] or settings.get("adminUserName") or current_user()
    key = settings.get("adminUserSshPublicKey")
    if options["ssh_key"] or options["generate_ssh_keys"] or not key:
        key = public_key(options["ssh_key"], generate=options["generate_ssh_keys"]) or key
    account = {**settings, "adminUserName": name, **({"adminUserSshPublicKey": key} if key else {})}
    if options["password"] or "adminUserPassword" in account:
        account.pop("adminUserPassword", None)
        return account, ["the administrator's password is not kept: nodes of Kubernetes get no accounts."]
    return account, []


def public_key(value: str | None, *, generate: bool) -> str | None:
    """The public key of `value` (a key or a file's path), else of ~/.ssh/id_rsa.pub; None if there is none.

    `generate` makes ~/.ssh/id_rsa and its .pub where they are absent, and never touches them where not.
    Raises UsageProblem for what is no RSA public key.
    """
    default = default_key().with_suffix(".pub")
    path = Path(value).expanduser() if value and not value.startswith("ssh-") else None
    if value and path is None:
        return _checked(value.strip(), "--ssh-key")
    path = path or default
    if path.is_file():
        return _checked(path.read_text(encoding="utf-8", errors="replace").strip(), str(path))
    if generate:
        return _generate(path.with_suffix(""))
    if value:
        raise UsageProblem(f"--ssh-key: there is no file {path}.", "--generate-ssh-keys makes a pair of keys.")
    return None


def _checked(key: str, source: str) -> str:
    if not _RSA_KEY.fullmatch(key):
        raise UsageProblem(f"{source}: is no RSA public key; one begins with 'ssh-rsa AAAAB3NzaC1yc2E'.")
    return key


def _generate(private: Path) -> str:
    if private.exists():
        raise UsageProblem(
            f"{private} exists, but its public key does not.",
            f"Make it: ssh-keygen -y -f {private} > {private}.pub",
        )
    # Loaded here because almost no command needs it.
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encoded = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    private.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    private.touch(mode=0o600, exist_ok=False)
    private.write_bytes(encoded)
    private.with_suffix(".pub").write_bytes(public + b"\n")
    return public.decode()

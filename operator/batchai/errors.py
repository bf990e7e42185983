"""The error tree of the project: each class says whose fault it is and what happens next.

BatchAIError
├─ SpecError           the user's input is wrong: one sentence that names the field; never retried
├─ DependencyNotReady  something that the object needs is not there yet: waits and looks again
├─ ConflictError       somebody else owns the name: reported, retried slowly
├─ KubeApiError        the Kubernetes API refused or could not be reached
└─ StorageError        Azure storage refused or could not be reached
"""


class BatchAIError(Exception):
    """Base of every error that the project raises on purpose; its text is meant for users.

    retry_after: seconds after which whoever refused wants to be asked again, None if it did not say.
    """

    retry_after: float | None = None


class SpecError(BatchAIError):
    """A field of a resource or a file holds a value that cannot work.

    `field` is a path as users write it ("spec.mountVolumes.azureFileShares[0].azureFileUrl").
    """

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        self.message = message
        super().__init__(f"{field}: {message}")


class DependencyNotReady(BatchAIError):  # noqa: N818 - a state, not a failure
    """An object that this one needs does not exist yet; `reason` is CamelCase for conditions."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        self.message = message
        super().__init__(message)


class ConflictError(BatchAIError):
    """An object with our name belongs to somebody else."""


class KubeApiError(BatchAIError):
    """The API server's answer: HTTP status (0 when it could not be reached), its reason and message."""

    def __init__(self, status: int, reason: str, message: str, *, retry_after: float | None = None) -> None:
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        super().__init__(f"{message} ({reason or 'HTTP'} {status})")

    @property
    def not_found(self) -> bool:
        """The object does not exist (404)."""
        return self.status == 404

    @property
    def already_exists(self) -> bool:
        """A create met an object of the same name (409 AlreadyExists)."""
        return self.status == 409 and self.reason == "AlreadyExists"

    @property
    def conflict(self) -> bool:
        """The object changed in between (409 Conflict)."""
        return self.status == 409 and self.reason != "AlreadyExists"

    @property
    def refused(self) -> bool:
        """The same object will get the same answer again: admission, quota, policy, validation (400, 403, 422)."""
        return self.status in {400, 403, 422}

    @property
    def gone(self) -> bool:
        """The resource version is too old to watch from (410)."""
        return self.status == 410


class StorageError(BatchAIError):
    """Azure storage refused or could not be reached.

    `not_found` tells a missing path from the rest, `denied` a credential that is not accepted.
    """

    def __init__(
        self, message: str, *, not_found: bool = False, denied: bool = False, retry_after: float | None = None
    ) -> None:
        self.not_found = not_found
        self.denied = denied
        self.retry_after = retry_after
        super().__init__(message)

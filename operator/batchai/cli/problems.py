"""What a command answers instead of a result: a sentence, a hint and an exit code."""

FAILURE = 1
USAGE = 2
NOT_FOUND = 3


class Problem(Exception):  # noqa: N818 - not every one is an error ("Operation cancelled.")
    """Ends a command: `sentence` says what is wrong, `hint` what to do next."""

    code = FAILURE

    def __init__(self, sentence: str, hint: str = "") -> None:
        self.sentence = sentence
        self.hint = hint
        super().__init__(sentence)


class UsageProblem(Problem):
    """The arguments do not make sense together."""

    code = USAGE


class NotFound(Problem):
    """What the arguments name does not exist."""

    code = NOT_FOUND

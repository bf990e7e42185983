"""Workspaces, experiments, resource groups and what all commands share."""

import logging
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.fakes import SUBSCRIPTION, FakeKube, Terminal

from batchai.cli import __main__ as program
from batchai.cli.kube import CLUSTERS, EXPERIMENTS, JOBS, NAMESPACES, WORKSPACES
from batchai.cli.problems import NotFound, Problem, UsageProblem
from batchai.errors import KubeApiError, SpecError, StorageError

ID = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/ns/providers/Microsoft.BatchAI"


def silent(_kube: FakeKube, _item: dict[str, Any]) -> None:
    """The operator does not answer."""


@pytest.fixture
def terminal() -> Terminal:
    return Terminal()


def test_workspace_life(terminal: Terminal) -> None:
    made = terminal.run("workspace create -g ns -n My_Space -l eastus")
    assert made == {
        "creationTime": "2026-01-02T03:04:05+00:00",
        "id": f"{ID}/workspaces/My_Space",
        "location": "eastus",
        "name": "My_Space",
        "provisioningState": "succeeded",
        "provisioningStateTransitionTime": None,
        "resourceGroup": "ns",
        "tags": None,
        "type": "Microsoft.BatchAI/workspaces",
    }
    assert terminal.kube.one(WORKSPACES, "my-space")["metadata"]["labels"] == {"batchai.dev/name": "My_Space"}
    assert terminal.run("workspace show -g ns -n My_Space") == made
    assert terminal.run("workspace list") == [made]
    assert terminal.run("workspace list -g ns --query [].name") == ["My_Space"]
    assert terminal.run("workspace list -g ns -o table").splitlines() == [
        "Name      Resource Group  Location  State",
        "--------  --------------  --------  ---------",
        "My_Space  ns              eastus    succeeded",
    ]
    assert terminal.run("workspace delete -g ns -n My_Space -y") == ""
    assert terminal.run("workspace list -g ns") == []


def test_experiment_refers_to_its_workspace_by_kubernetes_name(terminal: Terminal) -> None:
    terminal.run("workspace create -g ns -n My_Space")
    made = terminal.run("experiment create -g ns -w My_Space -n E_1")
    assert made["id"] == f"{ID}/workspaces/My_Space/experiments/E_1"
    assert made["type"] == "Microsoft.BatchAI/workspaces/experiments"
    stored = terminal.kube.one(EXPERIMENTS, "e-1")
    assert stored["spec"] == {"workspace": "my-space"}
    assert terminal.run("experiment list -g ns -w My_Space -o tsv", "--query", "[].name") == "E_1\n"


def test_one_name_in_two_workspaces(terminal: Terminal) -> None:
    for space in ("a", "b"):
        terminal.run(f"workspace create -g ns -n {space}")
        terminal.run(f"experiment create -g ns -w {space} -n e")
    names = [name for (plural, _, name) in terminal.kube.objects if plural == "experiments"]
    assert names[0] == "e"
    assert names[1].startswith("e-")
    assert len(names[1]) == len("e-") + 6
    shown = terminal.run("experiment show -g ns -w b -n e")
    assert shown["id"] == f"{ID}/workspaces/b/experiments/e"


def test_names_that_meet_in_one_kubernetes_name(terminal: Terminal) -> None:
    terminal.run("workspace create -g ns -n a_b")
    terminal.run("workspace create -g ns -n a-b")
    assert [item["name"] for item in terminal.run("workspace list -g ns")] == ["a-b", "a_b"]
    with pytest.raises(Problem, match="workspace 'a-b' already exists in resource group 'ns'"):
        terminal.run("workspace create -g ns -n a-b")


@pytest.mark.parametrize("name", ["-a", "a_", "a.b", "ä", "x" * 64, "a/b"])
def test_names_that_cannot_be_kept(terminal: Terminal, name: str) -> None:
    with pytest.raises(UsageProblem, match="letters, digits"):
        terminal.run("workspace create -g ns", f"--name={name}")


def test_says_which_part_of_the_path_is_missing(terminal: Terminal) -> None:
    for command, sentence in (
        ("job list -g none -w w -e e", "resource group .namespace. 'none' does not exist"),
        ("job list -g ns -w w -e e", "workspace 'w' does not exist in resource group 'ns'"),
    ):
        with pytest.raises(NotFound, match=sentence):
            terminal.run(command)
    terminal.run("workspace create -g ns -n w")
    with pytest.raises(NotFound, match="experiment 'e' does not exist in workspace 'w' of resource group 'ns'"):
        terminal.run("job show -g ns -w w -e e -n j")
    terminal.run("experiment create -g ns -w w -n e")
    with pytest.raises(NotFound, match="job 'j' does not exist in experiment 'e' of workspace 'w'"):
        terminal.run("job delete -g ns -w w -e e -n j -y")
    assert terminal.run("job list -g ns -w w -e e") == []


@pytest.mark.parametrize("name", ["a,b", "x/y", "ä", "a=b"])
def test_names_that_nothing_can_have_are_not_found(terminal: Terminal, name: str) -> None:
    terminal.run("workspace create -g ns -n w")
    with pytest.raises(NotFound):
        terminal.run("experiment show -g ns -w w", f"--name={name}")


@pytest.mark.parametrize("option", ["-g", "-w", "-n"])
def test_an_empty_name_is_refused_and_nothing_is_deleted(
    terminal: Terminal, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.run("workspace create -g ns -n w")
    terminal.run("experiment create -g ns -w w -n e")
    before = set(terminal.kube.objects)
    with pytest.raises(SystemExit, match="2"):
        terminal.run("experiment delete -g ns -w w -n e -y", option, "")
    assert f"argument {option}" in capsys.readouterr().err
    assert set(terminal.kube.objects) == before


def test_a_query_is_refused_before_anything_is_done(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    before = set(terminal.kube.objects)
    with pytest.raises(SystemExit, match="2"):
        terminal.run("workspace create -g ns -n w --query", "[name")
    assert "'[name' is not JMESPath" in capsys.readouterr().err
    assert set(terminal.kube.objects) == before


def test_one_bad_id_of_several_has_no_effect(terminal: Terminal) -> None:
    terminal.run("workspace create -g ns -n w")
    good = terminal.run("experiment create -g ns -w w -n e")["id"]
    with pytest.raises(UsageProblem, match="'nonsense' is no id"):
        terminal.run(f"experiment delete -y --ids {good} nonsense")
    assert [item["name"] for item in terminal.run("experiment list -g ns -w w")] == ["e"]


def test_who_may_not_read_namespaces_gets_zeros(terminal: Terminal) -> None:
    terminal.kube.forbidden.add(NAMESPACES)
    assert "/subscriptions/00000000-0000-0000-" in terminal.run("workspace create -g ns -n w")["id"]
    with pytest.raises(NotFound, match="workspace 'x' does not exist"):
        terminal.run("workspace show -g ns -n x")


def test_create_waits_for_the_operator() -> None:
    terminal = Terminal(FakeKube(after=silent))

    def operator() -> None:
        if terminal.seconds > 5:
            terminal.kube.one(WORKSPACES, "w")["status"] = {"provisioningState": "succeeded"}

    terminal.sleeping = operator
    assert terminal.run("workspace create -g ns -n w")["provisioningState"] == "succeeded"
    assert terminal.said == []


def test_create_says_when_the_operator_is_silent() -> None:
    terminal = Terminal(FakeKube(after=silent))
    assert terminal.run("workspace create -g ns -n w")["provisioningState"] is None
    assert "has not answered within 60 s" in terminal.said[0]
    assert 60 <= terminal.seconds < 63


def test_no_wait_returns_at_once() -> None:
    terminal = Terminal(FakeKube(after=silent))
    terminal.run("workspace create -g ns -n w --no-wait")
    assert terminal.seconds == 0


def test_deleting_a_workspace_waits_for_what_is_in_it(terminal: Terminal) -> None:
    terminal.run("workspace create -g ns -n w")
    labels = {"batchai.dev/workspace": "w", "batchai.dev/name": "c"}
    terminal.kube.put(CLUSTERS, {"metadata": {"name": "c", "namespace": "ns", "labels": labels}})

    def collect() -> None:
        if terminal.seconds > 3:
            terminal.kube.objects.pop(("clusters", "ns", "c"), None)

    terminal.sleeping = collect
    terminal.run("workspace delete -g ns -n w --yes")
    assert terminal.seconds > 3


def test_delete_that_does_not_end_says_where_to_look(terminal: Terminal) -> None:
    terminal.run("workspace create -g ns -n w")
    labels = {"batchai.dev/workspace": "w"}
    terminal.kube.put(JOBS, {"metadata": {"name": "j", "namespace": "ns", "labels": labels}})
    with pytest.raises(Problem, match="not gone after 600 s") as caught:
        terminal.run("workspace delete -g ns -n w -y")
    assert "kubectl describe workspaces.batchai.dev -n ns w" in caught.value.hint
    terminal.run("workspace create -g ns -n w2")
    before = terminal.seconds
    terminal.run("workspace delete -g ns -n w2 -y --no-wait")
    assert terminal.seconds == before


def test_group_life(terminal: Terminal) -> None:
    made = terminal.run("group create -n batchai-quickstart -l eastus")
    assert made == {
        "id": f"/subscriptions/{SUBSCRIPTION}/resourceGroups/batchai-quickstart",
        "location": "eastus",
        "managedBy": None,
        "name": "batchai-quickstart",
        "properties": {"provisioningState": "Succeeded"},
        "tags": None,
    }
    assert terminal.run("group create -n batchai-quickstart") == made
    assert terminal.run("group list") == [made]
    assert terminal.run("group show -n batchai-quickstart") == made
    assert terminal.run("workspace create -g batchai-quickstart -n w")["location"] == "eastus"
    assert terminal.run("group delete -n batchai-quickstart -y") == ""
    assert terminal.run("group list") == []


def test_group_with_dots_is_refused_with_a_proposal(terminal: Terminal) -> None:
    with pytest.raises(UsageProblem, match="no dots") as caught:
        terminal.run("group create -n batchai.quickstart")
    assert caught.value.hint == "For example: batchai-quickstart"
    with pytest.raises(NotFound) as missing:
        terminal.run("workspace list -g batchai.quickstart")
    assert missing.value.hint == "Make one: kubectl batchai group create -n batchai-quickstart"


def test_a_namespace_of_somebody_else_is_not_deleted(terminal: Terminal) -> None:
    with pytest.raises(Problem, match="not made by") as caught:
        terminal.run("group delete -n ns -y")
    assert "kubectl delete namespace ns" in caught.value.hint
    assert ("namespaces", "", "ns") in terminal.kube.objects


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (NotFound("job 'j' does not exist."), 3, "job 'j' does not exist."),
        (UsageProblem("no."), 2, "no."),
        (Problem("no."), 1, "no."),
        (KubeApiError(404, "", "404 page not found"), 3, "this cluster does not know Batch AI's resources."),
        (
            KubeApiError(401, "Unauthorized", "Unauthorized"),
            1,
            "the cluster does not accept your credentials.",
        ),
        (
            KubeApiError(422, "Invalid", "spec.nodeCount: must be positive"),
            1,
            "spec.nodeCount: must be positive",
        ),
        (
            KubeApiError(
                403,
                "Forbidden",
                'nodes is forbidden: User "jane" cannot list resource "nodes" in API group "" at the cluster scope',
            ),
            1,
            "you (jane) may not list nodes in the whole cluster",
        ),
        (
            KubeApiError(
                403,
                "Forbidden",
                'jobs.batchai.dev "j" is forbidden: User "system:serviceaccount:a:b" cannot patch resource "jobs" in'
                ' API group "batchai.dev" in the namespace "ns"',
            ),
            1,
            "you (system:serviceaccount:a:b) may not patch jobs.batchai.dev in namespace 'ns'",
        ),
        (KubeApiError(403, "Forbidden", "an admission policy says no"), 1, "an admission policy says no"),
        (StorageError("'a/b' does not exist", not_found=True), 3, "'a/b' does not exist"),
        (PermissionError(13, "Permission denied", "/x/y"), 1, "/x/y: Permission denied"),
        (SpecError("outputDirectories", "none"), 2, "outputDirectories: none"),
    ],
)
def test_errors_become_codes_and_sentences(error: Any, code: int, sentence: str) -> None:
    assert program.answer(error)[:2] == (code, sentence)


def test_usage_errors_are_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        program.main(["workspace", "create", "-n", "w"])
    assert caught.value.code == 2
    assert capsys.readouterr().err.splitlines()[0] == (
        "batchai workspace create: the following arguments are required: -g/--resource-group"
    )


def test_no_cluster_is_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code = program.main(["workspace", "list", "--kubeconfig", str(tmp_path / "none")])
    assert code == 1
    assert capsys.readouterr().err.startswith("ERROR: no cluster to speak to: ")


def test_without_a_terminal_nothing_is_deleted_unasked(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "empty").open("w+") as empty:
        monkeypatch.setattr("sys.stdin", empty)
        assert program.main(["workspace", "delete", "-g", "ns", "-n", "w"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "ERROR: there is no terminal to ask for confirmation.",
        "Give --yes to go on without.",
    ]


@pytest.fixture
def ends_with(monkeypatch: pytest.MonkeyPatch) -> Any:
    def play(error: BaseException, *arguments: str) -> int:
        def run(*_: Any) -> int:
            raise error

        monkeypatch.setattr(program, "run", run)
        monkeypatch.setattr("logging.basicConfig", lambda **_: None)  # it would outlive the test
        return program.main(["workspace", "list", *arguments])

    return play


def test_ctrl_c_is_quiet(ends_with: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends_with(KeyboardInterrupt()) == 130
    assert capsys.readouterr() == ("", "")


def test_tracebacks_are_for_debug(ends_with: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends_with(StorageError("out of reach")) == 1
    assert capsys.readouterr().err == "ERROR: out of reach.\n"
    assert ends_with(StorageError("out of reach"), "--debug") == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_reader_that_has_enough_is_no_error() -> None:
    import subprocess
    import sys

    script = (
        "import sys; from batchai.cli import __main__ as m\n"
        "def run(args, session):\n"
        "    while True: session.out.write(b'x' * 4096); session.out.flush()\n"
        "m.run = run; sys.exit(m.main(['workspace', 'list']))"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(timeout=20) == 1
        assert process.stderr.read() == b""


def test_resources_by_their_ids(terminal: Terminal) -> None:
    for name in ("a", "b"):
        terminal.run(f"workspace create -g ns -n {name}")
        terminal.run(f"experiment create -g ns -w {name} -n e")
    ids = [f"{ID}/workspaces/{name}/experiments/e" for name in ("a", "b")]
    assert terminal.run("experiment show --ids", ids[0])["id"] == ids[0]
    assert [shown["id"] for shown in terminal.run("experiment show --ids", *ids)] == ids
    assert terminal.run("experiment delete -y --ids", *ids) == ""
    with pytest.raises(NotFound):
        terminal.run("experiment show --ids", ids[1])


@pytest.mark.parametrize(
    "wrong", ["", "e", f"{ID}/workspaces/w", f"{ID}/workspaces/w/clusters/c", f"{ID}/experiments/e"]
)
def test_ids_of_something_else(terminal: Terminal, wrong: str) -> None:
    with pytest.raises(UsageProblem, match="is no id of this kind") as caught:
        terminal.run("experiment show --ids", wrong)
    assert caught.value.hint.endswith("/providers/Microsoft.BatchAI/workspaces/…/experiments/…")


def test_without_ids_the_names_are_required(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        program.parser().parse_args(["experiment", "show", "-g", "ns"])
    assert "-n/--name/-e/--experiment, -w/--workspace" in capsys.readouterr().err


def test_a_command_that_is_told_to_end_clears_up(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    cleared = []

    def run(*_: Any) -> int:
        try:
            signal.raise_signal(signal.SIGHUP)
        finally:
            cleared.append(True)
        return 0

    monkeypatch.setattr(program, "run", run)
    monkeypatch.setattr(sys, "argv", ["batchai", "workspace", "list"])
    try:
        with pytest.raises(SystemExit) as ended:
            program.main()
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    assert (ended.value.code, cleared) == (129, [True])


def test_debug_does_not_print_urls_with_their_tokens(ends_with: Any) -> None:
    ends_with(StorageError("out of reach"), "--debug")
    assert not logging.getLogger("urllib3.connectionpool").isEnabledFor(logging.DEBUG)

"""`batchai job submit FOLDER`: uploads a folder to the job's share and runs the job with it.

The job finds the folder in $AZ_BATCHAI_INPUT_CODE. What to run is in its job.json, or is said by --command.
"""

import io
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from secrets import token_hex

from batchai.api.mounts import MountVolumes
from batchai.cli import accounts, arguments, configfile, folder, job, jobfile
from batchai.cli.arguments import Group
from batchai.cli.configfile import Properties
from batchai.cli.folder import Folder
from batchai.cli.jobfile import JobFile
from batchai.cli.kube import Object
from batchai.cli.problems import UsageProblem
from batchai.cli.session import Session
from batchai.plan.directories import StorageLocation, file_account, secret_name, share_of
from batchai.storage.directory import Directory

INPUT = "CODE"
"""The id of the input directory that is the folder."""
JOB_FILE = "job.json"
_ROOT = "$AZ_BATCHAI_JOB_MOUNT_ROOT"


def register(jobs: Group) -> None:
    """Adds the command to those of jobs."""
    parser = jobs.command("submit", "Upload a folder to the job's share and run a job with it.", submit, job.row)
    parser.add_argument("folder", metavar="FOLDER", help="the job's code, which it finds in $AZ_BATCHAI_INPUT_CODE")
    parser.add_argument("-f", "--config-file", metavar="FILE", help=f"the job as JSON ({JOB_FILE} of the folder)")
    job.creation(parser)
    run = parser.add_argument_group("what to run, in the place of a file")
    run.add_argument("--command", dest="command_line", metavar="COMMAND", help="command line, run in the folder")
    run.add_argument("--image", help="the image to run it in (the operator's default image)")
    run.add_argument("--node-count", type=arguments.count, default=1, metavar="COUNT", help="number of nodes (1)")


def submit(args: Namespace, session: Session) -> Object:
    """Uploads the folder, unless that very content is there already, and creates the job."""
    given = accounts.of_arguments(args, session.environ)
    source, properties = _properties(args)
    # The job's file may hold keys, which are nobody's business who may read the share.
    code = folder.read(Path(args.folder), None if args.command_line is not None else Path(source))
    file = jobfile.complete(properties, source, vars(args), given)
    mount, location = _home(file)

    def upload(secrets: Mapping[str, str]) -> JobFile:
        secret = secrets.get(location.account, location.secret_name)
        account = accounts.account_of(session, args.resource_group, location.account, secret, given.accounts)
        with session.directory(location, account) as directory:
            return _with_input(file, f"{_ROOT}/{mount}/{_uploaded(session, directory, code)}")

    return job.create_of(args, session, given, _with_input(file, f"{_ROOT}/{mount}/{folder.ROOT}"), upload)


def _properties(args: Namespace) -> tuple[str, Properties]:
    """The job's properties and the name of where they stand: a file, or the options."""
    path = Path(args.config_file) if args.config_file else Path(args.folder, JOB_FILE)
    if args.command_line is None:
        if not args.config_file and not path.is_file():
            raise UsageProblem(
                f"there is no {path} that says what to run.", "Give --command 'python train.py', or -f FILE."
            )
        return str(path), configfile.read(str(path))
    if args.config_file:
        raise UsageProblem("-f and --command both say what to run.", "Give one of them.")
    prefix = f"{_ROOT}/{args.bfs_mount_path if args.bfs_name and not args.afs_name else args.afs_mount_path}"
    command = f'cd "$AZ_BATCHAI_INPUT_{INPUT}" || exit; {args.command_line}'
    image = {"containerSettings": {"imageSourceRegistry": {"image": args.image}}} if args.image else {}
    return "options", {
        "nodeCount": args.node_count,
        "customToolkitSettings": {"commandLine": command},
        "stdOutErrPathPrefix": prefix,
        "outputDirectories": [{"id": "MODEL", "pathPrefix": prefix}],
        **image,
    }


def _home(file: JobFile) -> tuple[str, StorageLocation]:
    """Where folders go: the mount path and the root of the job's first share, else of its first container."""
    volumes = MountVolumes.model_validate(file.properties.get("mountVolumes", {}))
    for share in volumes.azure_file_shares or []:
        host, name = share_of(share.azure_file_url)
        account = file_account(share.account_name, share.azure_file_url)
        secret = secret_name(share.credentials, account)
        return share.relative_mount_path, StorageLocation("file", account, name, "", secret, host)
    for blob in volumes.azure_blob_file_systems or []:
        secret = secret_name(blob.credentials, blob.account_name)
        return blob.relative_mount_path, StorageLocation("blob", blob.account_name, blob.container_name, "", secret)
    raise UsageProblem("the job mounts no share to which its folder could go.", "Name one with --afs-name.")


def _with_input(file: JobFile, path: str) -> JobFile:
    others = [item for item in file.properties.get("inputDirectories", []) if item.get("id") != INPUT]
    return replace(file, properties={**file.properties, "inputDirectories": [*others, {"id": INPUT, "path": path}]})


def _uploaded(session: Session, directory: Directory, code: Folder) -> str:
    """Where the folder lies in storage. Nobody else writes there, so a running job's code never changes."""
    known = directory.find(code.marker)
    if known is not None and known.size:
        remote = directory.read(code.marker, 0, known.size).decode()
        session.say(f"The folder is in storage already, as {remote}.")
        return remote
    remote = f"{folder.ROOT}/{code.digest}-{token_hex(4)}"
    for number, file in enumerate(code.files, start=1):
        path = code.path / file
        if session.progress:
            session.progress(f"Uploading {file} ({number} of {len(code.files)})")
        with path.open("rb") as content:
            directory.write(f"{remote}/{file}", content, path.stat().st_size)
    directory.write(code.marker, io.BytesIO(remote.encode()), len(remote))
    session.say(f"Uploaded {len(code.files)} files as {remote}.")
    return remote

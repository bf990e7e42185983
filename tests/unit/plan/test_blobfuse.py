import pytest

from batchai.errors import SpecError
from batchai.plan.blobfuse import DEFAULTS, dropped, translate

OLD_DEFAULTS = (
    "--use-https=true -o big_writes -o max_read=131072 -o max_write=131072 -o attr_timeout=240 "
    "-o fsname=blobfuse -o kernel_cache -o entry_timeout=240 -o negative_timeout=120 -o allow_other"
)


def test_the_services_own_options_are_translated_and_what_is_left_out_is_told() -> None:
    options = translate(OLD_DEFAULTS, "f")
    assert options.kept == ("-o attr_timeout=240", "-o entry_timeout=240", "-o negative_timeout=120", "-o allow_other")
    assert options.dropped == (
        "--use-https=true",
        "-o big_writes",
        "-o max_read=131072",
        "-o max_write=131072",
        "-o fsname=blobfuse",
        "-o kernel_cache",
    )
    assert dropped(OLD_DEFAULTS) == options.dropped


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (None, DEFAULTS),
        ("  ", DEFAULTS),
        (
            "-o allow_other,ro --file-cache-timeout-in-seconds=120",
            ("-o allow_other", "-o ro", "--file-cache-timeout-in-seconds=120"),
        ),
        ("-oallow_other --tmp-path=/mnt/resource", ("-o allow_other",)),
        ("--log-level=LOG_DEBUG --use-attr-cache=true", ("--log-level=LOG_DEBUG", "--use-attr-cache=true")),
        # blobfuse 2 reads this octal number as a decimal one.
        ("-o umask=0022", ("-o umask=18",)),
        ("--block-cache-parallelism=128", ("--block-cache-parallelism=128",)),
    ],
)
def test_options_that_mean_something(text: str | None, kept: tuple[str, ...]) -> None:
    assert translate(text, "f").kept == kept


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("-o 'x", "cannot be read"),
        ("--use-https=false", "'--use-https=false' cannot be used: mounts use HTTPS"),
        ("--container-name=other", "containerName names the container"),
        ("--config-file=/root/fuse.cfg", "secretRef"),
        ("--preload=true", "remove it"),
        ("--log-file-path=/var/log/x", "remove it"),
        ("--block-cache-path=/etc", "remove it"),
        ("--block-cache-parallelism=129", "from 1 to 128"),
        ("--subdirectory=a,b", "no comma"),
        ("'--subdirectory=a b'", "no comma and no white space"),
        ("-o user_xattr", "blobfuse 2 does not know it"),
        ("-d", "'-d' cannot be used"),
        ("/mnt/x", "'/mnt/x' cannot be used"),
    ],
)
def test_options_that_would_change_the_mount_are_refused_with_a_remedy(text: str, said: str) -> None:
    with pytest.raises(SpecError, match=said) as refused:
        translate(text, "spec.mountVolumes.azureBlobFileSystems[0].mountOptions")
    assert refused.value.field == "spec.mountVolumes.azureBlobFileSystems[0].mountOptions"
    assert dropped(text) == ()

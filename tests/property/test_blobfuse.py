"""Whatever options a job gives, its mount is refused before it begins, or the Blob driver takes it."""

import shlex
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from batchai.errors import SpecError
from batchai.plan.blobfuse import translate

sys.path.insert(0, str(Path(__file__).parents[1] / "azure"))

from node.attributes import BLOB_DRIVER, wanted

CONTEXT = {
    "csi.storage.k8s.io/ephemeral": "true",
    "containerName": "data",
    "secretName": "s",
    "protocol": "fuse2",
}
NAMES = [
    *("allow-other", "use-https", "tmp-path", "cache-size-mb", "config-file", "block-cache-parallelism", "log-level"),
    *("preload", "container-name", "x"),
]
VALUES = st.sampled_from(["", "=true", "=false", "=1", "=a b", "=a,b", "=/x", "=-o ro"]) | st.text(max_size=5)
FLAGS = st.builds("--{}{}".format, st.sampled_from(NAMES), VALUES)
FUSE = st.sampled_from(
    ["allow_other", "ro", "umask=022", "umask=9", "big_writes", "fsname=x", "uid=0", "uid=x", "bind"]
)
WORDS = (
    FLAGS | st.builds("-o {}".format, FUSE) | st.builds("-o{}".format, FUSE | st.text(max_size=5)) | st.text(max_size=5)
)


@given(st.lists(WORDS, max_size=6), st.booleans())
def test_the_driver_takes_what_is_not_refused(words: list[str], quoted: bool) -> None:
    text = " ".join(map(shlex.quote, words) if quoted else words)
    try:
        options = translate(text, "f")
    except SpecError:
        return
    wanted(BLOB_DRIVER, CONTEXT | {"mountOptions": ",".join(options.kept)})

"""Fingerprints of lists of files, computed once, so that not every command asks for the size of a million files."""

import hashlib
import os
from pathlib import Path

from fewshot_nas.cli.errors import InputError
from fewshot_nas.data.cache import building
from fewshot_nas.data.images import FileImages
from fewshot_nas.records.files import read_json, write_json


def kept_fingerprint(images: FileImages, directory: Path) -> str:
    """`images.fingerprint`, stored in `directory` under a digest of root, background, list, labels and the
    sizes and beginnings of 64 files.

    The fingerprint is computed again if the list or one of these files changes. The 64
    files are spread evenly over the list. If other files are replaced, delete the directory
    `fingerprints`, because the change is not noticed. One process computes the fingerprint, the
    others wait.

    Raises:
        InputError: a file is missing.
    """
    path = directory / "fingerprints" / f"{_digest(images)}.json"
    with building(path) as absent:
        if absent:
            facts = {"root": str(images.root.resolve()), "images": len(images), "fingerprint": images.fingerprint}
            write_json(path, facts)
    kept = read_json(path)
    if isinstance(kept, dict) and isinstance(kept.get("fingerprint"), str):
        return str(kept["fingerprint"])
    raise InputError(f"{path}: has no fingerprint; delete the file, and the fingerprint will be computed again")


def _digest(images: FileImages) -> str:
    digest = hashlib.sha256(os.fsencode(images.root.resolve()) + repr(images.background).encode())
    for part in (images.names.text, images.names.ends.tobytes(), images.labels.numpy().tobytes()):
        digest.update(b"\0%d\0" % len(part) + part)
    for name in images.looked_at():
        digest.update(b"%d\n" % images.file_size(name))
    digest.update(images.glimpse())
    return digest.hexdigest()[:32]

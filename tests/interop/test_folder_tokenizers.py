"""What goes along with the weights of a folder: tokenizer, template, what begins and ends."""

import json
from pathlib import Path
from typing import Any

import pytest

from scratchgrad.cli.opening import described
from scratchgrad.interop.chat_template import encode_chat
from scratchgrad.interop.huggingface import write_folder
from scratchgrad.interop.pretrained import Pretrained, read_pretrained, save_pretrained
from scratchgrad.tokenizer import BPETokenizer, CharTokenizer
from scratchgrad.tokenizer.chat import CHAT_TOKENS, END
from scratchgrad.tokenizer.vocabulary import Vocabulary
from tests.interop.models import (
    edit_config,
    folder,
    model,
    refused,
)


def test_a_llama_that_does_not_say_what_ends_a_text(tmp_path: Path) -> None:
    folder(tmp_path, "llama")
    assert read_pretrained(tmp_path).stop == ()
    edit_config(tmp_path, drop=("eos_token_id",))
    assert read_pretrained(tmp_path).stop == (2,)


def test_what_the_template_calls_begin_and_end(tmp_path: Path) -> None:
    """Neither is what begins and ends other texts; both go along, there and back."""
    tokenizer = BPETokenizer().add_special_tokens(["<s>", "</s>", "<turn>"])
    path = folder(tmp_path / "a", vocab_size=tokenizer.vocab_size)
    tokenizer.save_huggingface(path / "tokenizer.json")
    edit_config(path, eos_token_id=[257, 258])
    said = {"bos_token": "<s>", "eos_token": {"content": "<turn>", "lstrip": False}}
    settings = path / "tokenizer_config.json"
    settings.write_text(json.dumps({**said, "chat_template": "{{ bos_token }}"}))
    found = read_pretrained(path)
    assert (found.begin, found.stop) == (None, (257, 258))
    assert (found.bos, found.eos) == ("<s>", "<turn>")
    save_pretrained(found, tmp_path / "ours")
    write_folder(read_pretrained(tmp_path / "ours"), "gpt2", tmp_path / "theirs")
    for name in ("ours", "theirs"):
        again = read_pretrained(tmp_path / name)
        assert (again.begin, again.bos, again.eos) == (None, "<s>", "<turn>")
    for spoiled in ('{"bos_token": 3}', '{"eos_token": {"content": "\\ud800"}}'):
        settings.write_text(spoiled)
        refused(path, "tokenizer_config.json: expected", "to be a text; got")


def test_our_own_form_of_a_conversation_goes_out_as_a_template(tmp_path: Path) -> None:
    tokenizer = BPETokenizer(special_tokens=CHAT_TOKENS)
    given = Pretrained(model(vocab_size=tokenizer.vocab_size), tokenizer)
    write_folder(given, "gpt2", tmp_path)
    found = read_pretrained(tmp_path)
    assert (found.eos, found.stop) == (END, (tokenizer.special_tokens[END],))
    roles = ("system", "user", "assistant", "user")
    messages = [{"role": role, "content": f"{role} says "} for role in roles]
    for more in (True, False):
        ids = encode_chat(found, messages, add_generation_prompt=more).tolist()
        assert ids == encode_chat(given, messages, add_generation_prompt=more).tolist()


def test_what_begins_and_ends_a_text(tmp_path: Path) -> None:
    tokenizer = BPETokenizer().add_special_tokens(["<s>", "</s>"])
    size = tokenizer.vocab_size
    begin, end = tokenizer.special_tokens.values()
    path = folder(tmp_path, vocab_size=size)
    tokenizer.save_huggingface(path / "tokenizer.json")
    edit_config(path, bos_token_id=begin, eos_token_id=end)
    found = read_pretrained(path)
    assert (found.begin, found.stop, found.notes) == (None, (end,), [])
    (path / "generation_config.json").write_text(json.dumps({"eos_token_id": [end, 5, end, 9999]}))
    assert read_pretrained(path).stop == (end, 5)
    (path / "generation_config.json").write_text('{"eos_token_id": "x"}')
    refused(path, "generation_config.json: expected eos_token_id to be ids; got 'x'")
    (path / "generation_config.json").write_text("{}")
    assert read_pretrained(path).stop == (end,)
    (path / "generation_config.json").unlink()
    edit_config(path, eos_token_id=None)
    assert read_pretrained(path).stop == ()
    (path / "tokenizer_config.json").write_text('{"add_bos_token": true, "bos_token": "<s>"}')
    assert read_pretrained(path).begin == begin
    (path / "tokenizer_config.json").unlink()
    body = json.loads((path / "tokenizer.json").read_text())
    one = {"SpecialToken": {"id": "</s>", "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    named = {"</s>": {"id": "</s>", "ids": [end], "tokens": ["</s>"]}}
    stage = {"type": "TemplateProcessing", "pair": [], "special_tokens": named}
    for single, expected, notes in (
        ([one, text], end, 0),
        ([text], None, 0),
        ([text, one], None, 1),
    ):
        sequence = {"type": "Sequence", "processors": [{**stage, "single": single}]}
        (path / "tokenizer.json").write_text(json.dumps({**body, "post_processor": sequence}))
        found = read_pretrained(path)
        assert (found.begin, len(found.notes)) == (expected, notes)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("{{ a }}", "{{ a }}"),
        ([{"name": "tool", "template": "no"}, {"name": "default", "template": "yes"}], "yes"),
        ([{"name": ["default"]}, 3], None),
        (None, None),
    ],
)
def test_a_chat_template_in_the_settings(tmp_path: Path, given: Any, expected: Any) -> None:
    folder(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": given}))
    assert read_pretrained(tmp_path).chat_template == expected
    (tmp_path / "chat_template.jinja").write_text("{{ b }}")
    assert read_pretrained(tmp_path).chat_template == "{{ b }}"


def test_templates_that_are_none(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": 3}')
    refused(tmp_path, "expected chat_template to be a text; got 3")
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff")
    refused(tmp_path, "chat_template.jinja is not UTF-8")
    (tmp_path / "chat_template.jinja").write_bytes(bytes((1 << 20) + 1))
    refused(tmp_path, "chat_template.jinja has 1,048,577 bytes")


def test_a_tokenizer_that_cannot_be_read_is_a_note(tmp_path: Path) -> None:
    folder(tmp_path)
    assert read_pretrained(tmp_path).notes == [f"no tokenizer: {tmp_path} has no tokenizer.json"]
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "Unigram", "vocab": []}}')
    (note,) = read_pretrained(tmp_path).notes
    assert "only byte-level BPE can be read" in note
    CharTokenizer("ab").save(tmp_path / "own.json")
    found = read_pretrained(tmp_path, tokenizer=tmp_path / "own.json")
    assert isinstance(found.tokenizer, CharTokenizer)
    assert (found.begin, found.notes) == (None, [])


def test_what_begins_a_text_is_kept_where_the_tokenizer_is_not(tmp_path: Path) -> None:
    """It belongs to the model: another tokenizer, given by hand, does not take it away."""
    folder(tmp_path / "a", "llama")
    path = tmp_path / "a"
    CharTokenizer("ab").save(tmp_path / "own.json")

    def begin() -> int | None:
        found = read_pretrained(path, tokenizer=tmp_path / "own.json")
        assert read_pretrained(path).begin == found.begin
        return found.begin

    (path / "tokenizer_config.json").write_text('{"add_bos_token": true, "bos_token": "<s>"}')
    edit_config(path, bos_token_id=4)
    assert begin() == 4  # no tokenizer.json at all
    (path / "tokenizer.json").write_text("{")
    assert begin() == 4
    other = {"model": {"type": "Unigram"}, "added_tokens": [{"content": "<s>", "id": 5}, 3, {}]}
    (path / "tokenizer.json").write_text(json.dumps(other))
    assert begin() == 5
    (path / "tokenizer_config.json").unlink()
    assert begin() is None
    single = [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}]
    other["post_processor"] = {"type": "TemplateProcessing", "single": single}
    (path / "tokenizer.json").write_text(json.dumps(other))
    assert begin() == 5
    (path / "tokenizer.json").unlink()
    (path / "tokenizer_config.json").write_text('{"add_bos_token": true}')
    edit_config(path, drop=("bos_token_id",))
    assert begin() == 1  # as LlamaConfig has it
    edit_config(path, bos_token_id=None)
    assert begin() is None
    edit_config(path, bos_token_id="x")
    refused(path, "expected bos_token_id to be an id; got 'x'")


def test_a_tokenizer_of_more_ids_than_the_model_has(tmp_path: Path) -> None:
    folder(tmp_path)
    BPETokenizer().save_huggingface(tmp_path / "tokenizer.json")
    found = read_pretrained(tmp_path)
    assert found.notes == []  # nothing that a user could do about it; what has one is refused
    assert "245 of its tokens have no row in the model, and cannot be used" in described(found)


def test_a_tokenizer_that_huggingface_cannot_have_is_a_note(tmp_path: Path) -> None:
    """Which says why, and nothing of the folder where the files are written at first."""
    tokens = tuple(bytes([byte]) for byte in range(256))
    tokenizer = BPETokenizer(Vocabulary(tokens, [], characters=True), "none")
    given = Pretrained(model(vocab_size=256), tokenizer)
    assert write_folder(given, "gpt2", tmp_path / "out") == [
        "the tokenizer has no Hugging Face form, so none was written: a byte-level tokenizer.json "
        "has no characters, which this vocabulary needs: pieces start out as characters, not as "
        "bytes"
    ]
    assert not (tmp_path / "out" / "tokenizer.json").exists()

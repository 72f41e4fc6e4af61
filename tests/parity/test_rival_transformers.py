"""transformers' side of `scratchgrad bench --vs transformers` does the same work, in small."""

import json
from pathlib import Path
from typing import Any

import pytest

from scratchgrad.bench import against_transformers
from scratchgrad.cli import main
from scratchgrad.interop.pretrained import Pretrained, save_pretrained
from tests.interop.models import model

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", {"bias": False}),
    "mistral": ("llama", {"rope_interleaved": True, "sliding_window": 5}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_command(
    kind: str, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers", minversion="5.0")
    monkeypatch.setattr(against_transformers, "PAUSE", 0)
    name, changes = KINDS[kind]
    built = model(name, block_size=16, **changes)
    save_pretrained(Pretrained(built, None), tmp_path / "model")
    argv = ["bench", "--vs", "transformers", "--model", str(tmp_path / "model"), "--quick"]
    assert main([*argv, "--rounds", "1", "--threads", "1", "--json", "-"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["rival"].startswith("transformers ")
    assert report["rival"].endswith(", 1 threads")
    for record in report["compared"]:
        assert record["agree"], record["notes"]
        assert record["notes"] == []
        assert set(record["rival_seconds"]) == {"sdpa", "eager"}
        assert all(seconds > 0 for seconds in record["rival_seconds"].values())

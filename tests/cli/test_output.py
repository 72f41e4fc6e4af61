"""The files that a command writes: refused before the work, whole or untouched after it."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from scratchgrad.cli import output
from scratchgrad.cli.output import check_output, replacing, write_output
from scratchgrad.data import files
from scratchgrad.errors import ConfigError
from tests.cli.commands import refused


def test_what_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    old.write_bytes(b"old")
    for path in (None, str(tmp_path / "new.json"), str(old), os.devnull):
        check_output("--json", path)
    assert [p.name for p in tmp_path.iterdir()] == ["old.json"]
    assert old.read_bytes() == b"old"


def test_what_cannot_be_written(tmp_path: Path, monkeypatch: Any) -> None:
    def full(dir: Path) -> None:
        raise OSError(28, "No space left on device")

    for path in ("", str(tmp_path)):
        with pytest.raises(ConfigError, match=r"^--json: expected the name of a file, got "):
            check_output("--json", path)
    with pytest.raises(ConfigError, match=r"its folder does not exist; make it first$"):
        check_output("--json", str(tmp_path / "no" / "x.json"))
    (tmp_path / "x.json").touch()
    with monkeypatch.context() as locked:  # whoever runs the tests may be allowed everything
        locked.setattr(output.os, "access", lambda path, mode: False)
        with pytest.raises(ConfigError, match=r"can be written, got .*x.json, which cannot; name"):
            check_output("--json", str(tmp_path / "x.json"))
    monkeypatch.setattr(output.tempfile, "TemporaryFile", full)
    with pytest.raises(ConfigError, match=r"y.json, which cannot \(No space left on device\)"):
        check_output("--json", str(tmp_path / "y.json"))


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "target").touch()
    (tmp_path / "link").symlink_to("target")
    write_output(str(tmp_path / "link"), b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"


def test_the_old_file_outlives_a_full_disk(tmp_path: Path, monkeypatch: Any) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "old.json"
    path.write_bytes(b"old")
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: .*old.json"):
        write_output(str(path), b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has a disk that is always full")
def test_a_write_that_fails_names_the_file(capsys: Any) -> None:
    assert "/dev/full" in refused(capsys, "doctor", "sigmoid", "--json", "/dev/full")


def test_another_writer_fills_a_file_whole_or_leaves_it(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_bytes(b"old")

    def fail() -> None:
        with replacing(str(path)) as place:
            place.write_bytes(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_bytes() == b"old"
    with replacing(str(path)) as place:
        assert place.parent == tmp_path
        assert place.name.endswith("old.json")
        place.write_bytes(b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes with names")
def test_a_pipe_receives_the_bytes_and_stays_a_pipe(tmp_path: Path) -> None:
    path, received = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: received.append(path.read_bytes()), daemon=True)
    reader.start()
    with replacing(str(path)) as place:
        place.write_bytes(b"new")
    reader.join(timeout=10)
    assert received == [b"new"]
    assert path.is_fifo()
    assert not place.exists()

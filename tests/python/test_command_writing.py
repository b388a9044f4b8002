"""Tests that `python -m samepad convert` writes all files or none, and loses no old ones."""

import json
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from samepad import __main__ as command
from samepad import _writing

OLD, NEW = {"net.py": "old", "net.pt": "old"}, {"net.py": "new", "net.pt": "new"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    file = tmp_path / "model.onnx"
    text = '<ir_version: 10, opset_import: ["" : 19]> net (float[2] x) => (float[2] y)'
    onnx.save(onnx.parser.parse_model(f"{text} {{ y = Relu(x) }}"), file)
    return file


def convert(model: Path, output: Path, *options: str) -> int:
    try:
        return command.main(["convert", str(model), "-o", str(output), *options])
    except SystemExit as error:
        return int(error.code or 0)


def contents(folder: Path) -> dict[str, str]:
    """Return the contents of all files below a folder, by their relative paths."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in files}


def fill(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in OLD.items():
        (folder / name).write_text(text)


@pytest.mark.parametrize("present", ["net.py", "net.pt"])
def test_files_that_are_there(
    present: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / present).write_text("old")
    assert convert(model, tmp_path / "net.py") == 2
    assert f"{present} is there already; --force replaces it" in capsys.readouterr().err
    assert (tmp_path / present).read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    assert convert(model, tmp_path / "net.py", "--force") == 0
    assert (tmp_path / "net.py").read_text().startswith("from torch import nn")
    assert (tmp_path / "net.pt").stat().st_size > 100


def test_a_file_that_appears_meanwhile(
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compare = command.compare

    def slow(*arguments: Any) -> Any:
        (tmp_path / "net.pt").write_text("of another")
        return compare(*arguments)

    monkeypatch.setattr(command, "compare", slow)
    assert convert(model, tmp_path / "net.py") == 1
    assert "net.pt is there already" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "net.pt"]
    assert (tmp_path / "net.pt").read_text() == "of another"


def test_permissions(tmp_path: Path) -> None:
    """New files get the user's default permissions; replaced files keep theirs."""
    paths = [tmp_path / name for name in OLD]
    mask = os.umask(0o027)
    try:
        _writing.write_together(dict.fromkeys(paths, b"new"))
        assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o640}
        paths[0].chmod(0o600)
        paths[1].chmod(0o444)
        if os.geteuid() == 0:
            os.chown(paths[1], 12345, 54321)
        _writing.write_together(dict.fromkeys(paths, b"newer"), force=True)
    finally:
        os.umask(mask)
    assert [stat.S_IMODE(path.stat().st_mode) for path in paths] == [0o600, 0o444]
    if os.geteuid() == 0:
        assert (paths[1].stat().st_uid, paths[1].stat().st_gid) == (12345, 54321)


@pytest.mark.parametrize("target", ["there", "missing"])
def test_links(
    target: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A link is replaced; the file that it points to is not touched."""
    (tmp_path / "there").write_text("old")
    (tmp_path / "net.pt").symlink_to(tmp_path / target)
    assert convert(model, tmp_path / "net.py") == 2
    assert "net.pt is there already" in capsys.readouterr().err
    assert convert(model, tmp_path / "net.py", "--force") == 0
    assert not (tmp_path / "net.pt").is_symlink()
    assert (tmp_path / "there").read_text() == "old"
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("options", [[], ["--force"]])
def test_what_is_no_file(
    options: list[str], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "net.pt")
    assert convert(model, tmp_path / "net.py", *options) == 2
    assert "net.pt is no regular file" in capsys.readouterr().err
    (tmp_path / "folder").mkdir()
    (tmp_path / "other.py").symlink_to("folder")
    assert convert(model, tmp_path / "other.py", *options) == 2
    assert "other.py is a folder" in capsys.readouterr().err


@pytest.mark.parametrize("present", [False, True])
def test_a_full_disk(
    present: bool, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "to"
    if present:
        fill(output)
    output.mkdir(exist_ok=True)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, limits[1]))
    try:
        status = convert(model, output / "net.py", "--force")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert status == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line[0] != "["]
    assert line == f"error: [Errno 27] File too large: '{output / 'net.pt'}'"
    assert contents(output) == (OLD if present else {})


def test_a_folder_of_the_system(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not even root may write there."""
    assert convert(model, Path("/proc/net.py")) == 1
    assert "error: cannot write /proc/net.py and /proc/net.pt: " in capsys.readouterr().err


#: Writes the two files; before each rename it does what its faults say for that rename.
CHILD = """
import json, os, runpy, signal, sys
from pathlib import Path

faults, force = json.loads(sys.argv[2]), len(sys.argv) > 3
replace, count = Path.replace, iter(range(100))

def faulty(self, target):
    match faults.get(str(next(count))):
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "error":
            raise OSError("of the disk")
        case "end":
            os.kill(os.getpid(), signal.SIGTERM)
        case "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
        case "raise":
            raise KeyboardInterrupt
    return replace(self, target)

Path.replace = faulty
write = runpy.run_path(sys.argv[1])["write_together"]
write({Path("net.py"): b"new", Path("net.pt"): b"new"}, force)
"""


def write(folder: Path, faults: dict[int, str], *options: str) -> Any:
    """Write new files in another process, in which faults happen at some of the renames."""
    return subprocess.run(
        [sys.executable, "-c", CHILD, _writing.__file__, json.dumps(faults), *options],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("call", range(4))
def test_killed_between_renames(call: int, tmp_path: Path) -> None:
    """No old file is ever beside a new one, and no old file is lost."""
    fill(tmp_path)
    assert write(tmp_path, {call: "kill"}, "--force").returncode == -9
    found = contents(tmp_path)
    assert len({text for name, text in found.items() if name in OLD}) <= 1
    for name in OLD:
        assert any(path.endswith(name) and text == "old" for path, text in found.items())
    (beside,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert beside.name.startswith("net.samepad-")


@pytest.mark.parametrize("call", range(2))
def test_killed_between_renames_of_first_files(call: int, tmp_path: Path) -> None:
    assert write(tmp_path, {call: "kill"}).returncode == -9
    assert sorted(name for name in contents(tmp_path) if name in NEW) == list(NEW)[:call]


@pytest.mark.parametrize("fault", ["interrupt", "end"])
def test_interrupts_wait_for_the_renames(fault: str, tmp_path: Path) -> None:
    """This holds for any number of interrupts."""
    fill(tmp_path)
    assert write(tmp_path, dict.fromkeys(range(100), fault), "--force").returncode == 0
    assert contents(tmp_path) == NEW
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NEW)


@pytest.mark.parametrize("call", range(1, 4))
def test_interrupts_wait_for_the_old_files_to_be_back(call: int, tmp_path: Path) -> None:
    fill(tmp_path)
    faults = {**dict.fromkeys(range(100), "interrupt"), call: "error"}
    result = write(tmp_path, faults, "--force")
    assert "OSError: of the disk" in result.stderr
    assert contents(tmp_path) == OLD
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(OLD)


@pytest.mark.parametrize("second", ["error", "raise"])
@pytest.mark.parametrize("call", range(1, 4))
def test_old_files_that_cannot_be_put_back(call: int, second: str, tmp_path: Path) -> None:
    """The old files are kept, and the error says where."""
    fill(tmp_path)
    result = write(tmp_path, {call: "error", call + 1: second}, "--force")
    (beside,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert f"what was there before is in {beside.name}/old" in result.stderr
    found = contents(tmp_path)
    assert set(found.values()) == {"old"}
    assert {Path(path).name for path in found} == set(OLD)


def test_interrupted_while_writing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the interrupt comes while files are written, none is renamed."""
    fill(tmp_path)
    written = _writing._write

    def interrupted(*arguments: Any) -> None:
        os.kill(os.getpid(), 2)
        written(*arguments)

    monkeypatch.setattr(_writing, "_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _writing.write_together({tmp_path / name: b"new" for name in NEW}, force=True)
    assert contents(tmp_path) == OLD
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(OLD)

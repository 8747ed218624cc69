"""metrics.jsonl is appended and never repeats a step; mirrors that are not installed are named."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios

import numpy as np
import pytest
from PIL import Image

from gan_jax.errors import InputError
from gan_jax.train.writer import Progress, Writer


def steps(folder):
    return [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_resumed_log_has_no_step_twice(tmp_path):
    first = Writer(tmp_path, active=True)
    for step in (2, 4, 6):
        first.scalars(step, {"loss/d": 1.0})
    second = Writer(tmp_path, active=True)
    for step in (4, 6, 8):
        second.scalars(step, {"loss/d": 2.0})
    assert steps(tmp_path) == [2, 4, 6, 8]


def test_a_torn_line_is_written_again(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 2, "a": 1.0}\n{"step": 4, "a"')
    Writer(tmp_path, active=True).scalars(4, {"a": 2.0})
    assert steps(tmp_path) == [2, 4]


def test_other_processes_write_nothing(tmp_path):
    writer = Writer(tmp_path, active=False)
    writer.scalars(1, {"a": 1.0})
    writer.picture(1, np.zeros((4, 4, 3), np.uint8))
    writer.close()
    assert list(tmp_path.iterdir()) == []


def test_pictures(tmp_path):
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    Writer(tmp_path, active=True).picture(12, picture)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "samples/step_00000012.png")), picture)


def test_mirrors(tmp_path):
    with pytest.raises(InputError, match=r"config\.writers.*tensorboard"):
        Writer(tmp_path, mirrors=("tensorbord",), active=True)


def test_tensorboard_mirror(tmp_path):
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    writer = Writer(tmp_path, mirrors=("tensorboard",), active=True)
    writer.scalars(1, {"loss/d": 1.0})
    writer.picture(1, np.zeros((4, 4, 3), np.uint8))
    writer.close()
    assert any((tmp_path / "tensorboard").iterdir())


def test_a_line_where_there_is_no_terminal(capsys):
    progress = Progress(0, 100, active=True)
    progress.advance(5)
    progress.line(5, {"loss/d": 2.5})
    assert capsys.readouterr().out == "step 5/100  loss/d 2.5\n"  # nothing is known of the speed yet
    progress.advance(5)
    progress.line(10, {"loss/d": 1.25})
    out = capsys.readouterr().out
    assert out.startswith("step 10/100  loss/d 1.25")
    assert "steps/s" in out
    assert "left" in out


def test_a_bar_on_a_terminal():
    code = (
        "from gan_jax.train.writer import Progress\n"
        "p = Progress(0, 10, active=True)\n"
        "p.advance(5); p.line(5, {'loss/d': 1.25}); p.advance(5); p.close()\n"
    )
    terminal, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    subprocess.run([sys.executable, "-c", code], stderr=other, stdout=other, check=True)
    os.close(other)
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    assert b"10/10" in shown
    assert b"step/s" in shown

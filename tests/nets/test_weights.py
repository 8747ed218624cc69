"""Weight files: downloads that are whole or absent, formats that are read without running what a pickle says."""

import collections
import hashlib
import http.server
import io
import os
import pathlib
import pickle
import struct
import subprocess
import sys
import threading
import zipfile

import numpy as np
import pytest

from gan_jax.errors import InputError
from gan_jax.nets import weights

ROOT = pathlib.Path(__file__).parents[2]
BYTES = bytes(range(256)) * 40
DIGEST = hashlib.sha256(BYTES).hexdigest()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_JAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def served(tmp_path):
    """The URL of a file that is named as PyTorch's hub names its files."""
    path = tmp_path / f"net-{DIGEST[:8]}.pth"
    path.write_bytes(BYTES)
    return path.as_uri()


def test_the_table():
    assert set(weights.FILES) == {"inception", "vgg16", "lpips"}
    for file in weights.FILES.values():
        assert len(file.sha256) == 64
        assert file.url.startswith("https://")
        if "-" in file.url.rpartition("/")[2]:  # the first digits stand in the name too
            assert file.url.endswith(f"-{file.sha256[:8]}.pth")


def test_a_file_is_fetched_once(cache, served, tmp_path):
    with pytest.raises(InputError, match=rf"is not there; get it with: python launch/prepare.py --weights {served}$"):
        weights.find(served)
    path = weights.fetch(served)
    assert path == weights.find(served) == cache / f"net-{DIGEST[:8]}.pth"
    assert path.read_bytes() == BYTES
    assert weights.sha256(path) == DIGEST
    (tmp_path / path.name).unlink()
    assert weights.fetch(served) == path  # without looking at the source again
    assert [file.name for file in cache.iterdir()] == [path.name]


def test_a_damaged_file_in_the_cache_is_fetched_again(cache, served):
    path = weights.fetch(served)
    path.write_bytes(BYTES[:100])
    assert weights.fetch(served).read_bytes() == BYTES


def test_names_of_the_table(cache, served, monkeypatch):
    monkeypatch.setitem(weights.FILES, "inception", weights.File(served, DIGEST, "a network"))
    with pytest.raises(InputError, match=r"^a network: .* python launch/prepare.py --weights inception$"):
        weights.find("inception")
    assert weights.fetch("inception") == weights.find("inception") == cache / f"inception-{DIGEST[:8]}.pth"
    with pytest.raises(InputError, match=r"unknown weights: 'inceptoin'\. Did you mean 'inception'"):
        weights.find("inceptoin")


def test_other_bytes_are_not_kept(cache, tmp_path):
    (tmp_path / "net-00112233.pth").write_bytes(BYTES)
    with pytest.raises(InputError, match=rf"has sha256 {DIGEST}, must begin with 00112233; nothing was kept"):
        weights.fetch((tmp_path / "net-00112233.pth").as_uri())
    assert list(cache.iterdir()) == []


def test_an_absent_source_is_one_line(cache, tmp_path):
    with pytest.raises(
        InputError, match=r"net-00112233.pth was not downloaded \(.*\); by hand, put it in .*cache/net-"
    ):
        weights.fetch((tmp_path / "net-00112233.pth").as_uri())
    assert list(cache.iterdir()) == []
    with pytest.raises(InputError, match="must end with digits of its sha256"):
        weights.fetch("https://example.org/vgg.pth")
    with pytest.raises(InputError, match="No such file"):
        weights.sha256(tmp_path / "absent")


class Server(http.server.BaseHTTPRequestHandler):
    """Serves whole.., breaks off in the middle of half.., and has nothing else."""

    def do_GET(self):
        known = self.path.startswith(("/whole", "/half"))
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(BYTES)) if known else "0")
        self.end_headers()
        if known:
            self.wfile.write(BYTES[: len(BYTES) // 2] if self.path.startswith("/half") else BYTES)

    def log_message(self, *_):
        """Nothing on stderr."""


def test_downloads_that_break_off(cache, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        try:
            with pytest.raises(InputError, match="nothing was kept"):
                weights.fetch(f"{url}/half-{DIGEST[:8]}.pth")
            with pytest.raises(InputError, match=r"was not downloaded \(HTTP Error 404"):
                weights.fetch(f"{url}/none-{DIGEST[:8]}.pth")
            assert list(cache.iterdir()) == []
            assert weights.fetch(f"{url}/whole-{DIGEST[:8]}.pth").read_bytes() == BYTES
        finally:
            server.shutdown()


def test_prepare_fetches_weights(cache, served):
    def run(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "launch/prepare.py", *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)

    done = run("--weights", served)
    assert done.returncode == 0, done.stderr
    path = cache / f"net-{DIGEST[:8]}.pth"
    assert done.stdout == f"{served}: {path} ({len(BYTES)} bytes, sha256 {DIGEST})\n"
    assert path.read_bytes() == BYTES
    done = run("--weights=incpetion")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: unknown weights: 'incpetion'. Did you mean 'inception'? Choices: inception,")
    assert done.stderr.count("\n") == 1


def check(found: dict[str, np.ndarray], expected: dict) -> None:
    """The same names, types and values; `expected` holds tensors of PyTorch."""
    assert list(found) == list(expected)
    for name, array in found.items():
        assert array.dtype == expected[name].detach().numpy().dtype
        np.testing.assert_array_equal(array, expected[name].detach().numpy())
        assert array.flags.c_contiguous


def tensors() -> dict:
    torch = pytest.importorskip("torch")
    shared = torch.arange(60, dtype=torch.float32).reshape(3, 4, 5)
    return collections.OrderedDict(
        {
            "whole": shared,
            "turned.weight": shared.permute(2, 0, 1),
            "part": shared[1:, ::2, 3],
            "row": shared.view(-1)[7:11],
            "parameter": torch.nn.Parameter(torch.ones(2, 3)),
            "number": torch.tensor(3.5, dtype=torch.float64),
            "none": torch.zeros(0, 4),
            "steps": torch.tensor(12),
            "half": torch.tensor([1.5, -2.0], dtype=torch.float16),
            "bytes": torch.tensor([0, 255], dtype=torch.uint8),
            "mask": torch.tensor([True, False, True]),
        }
    )


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_files_of_pytorch(zipped, tmp_path):
    expected = tensors()
    import torch

    torch.save(expected, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    assert (tmp_path / "w.pth").read_bytes()[:1] == (b"P" if zipped else b"\x80")
    check(weights.read(tmp_path / "w.pth"), expected)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_nested_and_other_things(zipped, tmp_path):
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 1), torch.nn.BatchNorm2d(3))
    brain = torch.tensor([1.0, -0.15625], dtype=torch.bfloat16)
    saved = {"state": net.state_dict(), "list": [brain], "epoch": 3, "name": "x", "size": torch.Size([2, 3])}
    torch.save(saved, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    found = weights.read(tmp_path / "w.pth")
    assert found.pop("list.0").astype(np.float32).tolist() == [1.0, -0.15625]
    check(found, {f"state.{name}": value for name, value in net.state_dict().items()})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript(tmp_path):
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 1), torch.nn.Sequential(torch.nn.BatchNorm2d(3)))
    torch.jit.save(torch.jit.trace(net.eval(), torch.zeros(1, 2, 4, 4)), tmp_path / "w.pt")
    check(dict(sorted(weights.read(tmp_path / "w.pt").items())), dict(sorted(net.state_dict().items())))


def test_npz(tmp_path):
    arrays = {"a.weight": np.arange(6.0).reshape(2, 3), "b": np.array([1, 2], np.uint8)}
    np.savez(tmp_path / "w.npz", **arrays)
    found = weights.read(tmp_path / "w.npz")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
    np.savez(tmp_path / "objects.npz", a=np.array([{}], dtype=object))
    with pytest.raises(InputError, match=r"objects\.npz: "):
        weights.read(tmp_path / "objects.npz")


def test_a_truncated_file_says_so(tmp_path):
    saved = tensors()
    import torch

    for zipped in (True, False):
        buffer = io.BytesIO()
        torch.save(saved, buffer, _use_new_zipfile_serialization=zipped)
        for share in (0.1, 0.5, 0.99):
            path = tmp_path / f"{zipped}{share}.pth"
            path.write_bytes(buffer.getvalue()[: int(share * len(buffer.getvalue()))])
            with pytest.raises(InputError, match=rf"^{path}: "):
                weights.read(path)


# Pickles that want more than tensors. Each leaves a mark in the environment if it runs.

MARK = "GAN_JAX_TEST_MARK"


class Runs:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class Persistent(pickle.Pickler):
    """Writes descriptions of storages as PyTorch does."""

    def persistent_id(self, value):
        return value.pid if isinstance(value, Stored) else None


class Stored:
    def __init__(self, key: str, size: int, kind: str = "FloatStorage"):
        self.pid = ("storage", kind, key, "cpu", size)


def zipped(path: pathlib.Path, tree, **data: bytes) -> pathlib.Path:
    """A file of PyTorch's zip format. Calls of `tensor` become calls of PyTorch's function."""
    buffer = io.BytesIO()
    Persistent(buffer, protocol=2).dump(tree)
    content = buffer.getvalue().replace(f"c{__name__}\ntensor\n".encode(), b"ctorch._utils\n_rebuild_tensor_v2\n")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/data.pkl", content)
        for key, value in data.items():
            archive.writestr(f"w/data/{key}", value)
    return path


def tensor(*view):
    raise AssertionError("stands for torch._utils._rebuild_tensor_v2 in files that are made here")


def view(storage: Stored, offset, shape, strides) -> Runs:
    return Runs(tensor, storage, offset, shape, strides, False, collections.OrderedDict())


ATTACKS = {
    "os.system": lambda: Runs(os.system, f"echo {MARK}"),
    "putenv": lambda: Runs(os.putenv, MARK, "1"),
    "eval": lambda: Runs(eval, f"__import__('os').environ.__setitem__('{MARK}', '1')"),
    "getattr": lambda: Runs(getattr, "", "join"),
    "object": lambda: io.StringIO(),
    "subclass": lambda: collections.Counter(),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("form", ["zip", "legacy", "plain", "keys"])
def test_malicious_pickles_are_refused(attack, form, tmp_path, capfd):
    path, evil = tmp_path / "w.pth", {"a": ATTACKS[attack]()}
    if form == "zip":
        zipped(path, evil)
    else:
        start = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
        parts = {"legacy": [*start, evil, []], "keys": [*start, {}, evil], "plain": [evil]}[form]
        path.write_bytes(b"".join(pickle.dumps(part, protocol=2) for part in parts))
    with pytest.raises(InputError, match=r"w\.pth: asks for '[\w.]+', which is no part of a dictionary of tensors"):
        weights.read(path)
    assert MARK not in os.environ
    assert MARK not in capfd.readouterr().out


NUMBERS = np.arange(6, dtype="<f4").tobytes()


def test_a_hand_made_file_of_pytorch(tmp_path):
    tree = {"a": view(Stored("0", 6), 1, (2, 2), (1, 3)), "b": view(Stored("0", 6), 5, (), ())}
    found = weights.read(zipped(tmp_path / "w.pth", tree, **{"0": NUMBERS}))
    assert {name: array.tolist() for name, array in found.items()} == {"a": [[1, 4], [2, 5]], "b": 5}


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: view(Stored("0", 6), 3, (2, 2), (2, 1)), "reaches beyond its storage '0'"),
        (lambda: view(Stored("0", 6), -1, (2,), (1,)), "reaches beyond its storage '0'"),
        (lambda: view(Stored("0", 6), 5, (6,), (-1,)), "reaches beyond its storage '0'"),
        (lambda: view(Stored("0", 6), 7, (), ()), "reaches beyond its storage '0'"),
        (lambda: view(Stored("0", 6), 0, (-2, -3), (3, 1)), "reaches beyond its storage '0'"),
        (lambda: view(Stored("0", 6), 0, (6,), ()), "is damaged or incomplete"),
        (lambda: view(Stored("0", 6), 0, ("6",), (1,)), "is damaged or incomplete"),
        (lambda: view(Stored("0", 9), 0, (6,), (1,)), "storage '0' has 6 numbers, should have 9"),
        (lambda: view(Stored("1", 6), 0, (6,), (1,)), "is damaged or incomplete"),
        (lambda: view(Stored("0", 6, "RareStorage"), 0, (6,), (1,)), "is damaged or incomplete"),
        (lambda: 5, "holds no arrays"),
    ],
)
def test_views_stay_in_their_storage(made, message, tmp_path):
    with pytest.raises(InputError, match=message):
        weights.read(zipped(tmp_path / "w.pth", {"a": made()}, **{"0": NUMBERS}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a file of weights"),
        (b"<html>not found</html>", "is not a file of weights"),
        (pickle.dumps({"a": 1}, protocol=2) * 2, "is a pickle, but not one of PyTorch's"),
        (b"\x0a\xff\xff", "is damaged or incomplete"),
        (b"\x0a\x03abc", "is damaged or incomplete"),
    ],
)
def test_other_files_are_refused(content, message, tmp_path):
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(InputError, match=message):
        weights.read(tmp_path / "w")


def test_absent_files_and_other_zips(tmp_path):
    with pytest.raises(InputError, match="absent: no such file"):
        weights.read(tmp_path / "absent")
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(InputError, match=r"is a zip file, but neither PyTorch's nor NPZ"):
        weights.read(tmp_path / "w.zip")


def varint(number: int) -> bytes:
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def node(name: str, kind: int, shape: tuple[int, ...], values: bytes, op: bytes = b"Const") -> bytes:
    """A node of a GraphDef; `values`: the fields of its TensorProto after type and shape."""
    proto = field(1, kind) + field(2, b"".join(field(2, field(1, size)) for size in shape)) + values
    attributes = [(b"dtype", field(6, kind)), (b"value", field(8, proto))]
    entries = b"".join(field(5, field(1, key) + field(2, value)) for key, value in attributes)
    return field(1, field(1, name.encode()) + field(2, op) + field(3, b"input:0") + entries)


def test_graphdef(tmp_path):
    kernel = np.random.default_rng(0).normal(size=(3, 3, 2, 70)).astype("<f4")
    path = tmp_path / "graph.pb"
    path.write_bytes(
        node("conv/conv2d_params", 1, kernel.shape, field(4, kernel.tobytes()))
        + node("same", 1, (2, 3), varint(5 << 3 | 5) + struct.pack("<f", 2.5))
        + node("packed", 2, (2,), field(6, struct.pack("<dd", 1.5, -2.0)))
        + node("zeros", 1, (2,), b"")
        + node("whole", 3, (), field(4, struct.pack("<i", -7)))
        + node("text", 7, (), field(8, b"hello"))
        + node("no constant", 1, (2,), b"", op=b"Placeholder")
    )
    found = weights.read(path)
    np.testing.assert_array_equal(found.pop("conv/conv2d_params"), kernel)
    assert {name: array.tolist() for name, array in found.items()} == {
        "same": [[2.5, 2.5, 2.5], [2.5, 2.5, 2.5]],
        "packed": [1.5, -2.0],
        "zeros": [0, 0],
        "whole": -7,
    }
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"is damaged or incomplete .*bytes too early"):
        weights.read(path)

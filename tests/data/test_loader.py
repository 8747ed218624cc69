"""Batches are a function of (seed, step): of nothing else, on any mesh, streamed or from the device."""

import gc
import itertools
import pathlib
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import pytest
from PIL import Image

from gan_jax import config as base
from gan_jax import parallel
from gan_jax.data import datasets, loader
from gan_jax.data.loader import Loader
from gan_jax.errors import InputError

RECORDS, BATCH = 50, 16  # no multiple of each other, so that batches straddle epochs


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    """Images whose pixels tell their index (0 to 49) in the left half and are 0 on the right."""
    path = tmp_path_factory.mktemp("data") / "images.npz"
    images = np.zeros((RECORDS, 4, 6, 1), np.uint8)
    images[:, :, :3] = np.arange(RECORDS)[:, None, None, None] + 100
    np.savez(path, image=images, label=np.arange(RECORDS) % 3)
    return str(path)


def make(devices=8, seed=0, batch_size=BATCH, rounds=1, axes=None, **keys):
    config = base.defaults(gan="gan")
    config.data = base.data(**{"name": "memory", "workers": 2, **keys})
    section = datasets.resolve(config).data
    mesh = parallel.make_mesh(axes or {"data": -1}, jax.devices()[:devices])
    return Loader(section, seed=seed, batch_size=batch_size, rounds=rounds, mesh=mesh)


def fetch(source, *plan):
    """The batches of a plan as NumPy dicts."""
    return [jax.device_get(batch) for batch in source.calls(plan)]


def assert_equal(a, b):
    assert set(a) == set(b)
    for field in a:
        np.testing.assert_array_equal(a[field], b[field])


def indices(images):
    """The record of each image, and whether it is mirrored, from the pixels."""
    levels = np.round((np.asarray(images) + 1) * 127.5).astype(int)[..., 0, :, 0]
    assert ((levels[..., 0] == 0) ^ (levels[..., -1] == 0)).all()
    return levels.max(-1) - 100, levels[..., 0] == 0


# The order


@pytest.mark.parametrize("records", [1, 2, 3, 7, 10, 97, 100, 1000, 4099])
def test_every_epoch_holds_every_record_once_in_an_order_of_its_own(records):
    epochs = loader.shuffled(0, np.arange(3 * records), records).reshape(3, records)
    assert (np.sort(epochs, axis=1) == np.arange(records)).all()
    if records > 5:
        assert all((a != b).any() for a, b in itertools.combinations(epochs, 2))


def test_a_position_is_looked_up_alone_as_among_others():
    positions = np.array([[5, 10**12], [499, 123_456]])
    together = loader.shuffled(3, positions, 1000)
    assert together.shape == (2, 2)
    assert together.ravel().tolist() == [int(loader.shuffled(3, np.array(p), 1000)) for p in positions.ravel()]


def test_billions_of_records_need_no_memory():
    found = loader.shuffled(0, np.arange(1000), 2**40 + 7)
    assert len(set(found.tolist())) == 1000
    assert found.max() < 2**40 + 7


def test_the_order_looks_random():
    records, epochs = 60, 20_000
    orders = loader.shuffled(1, np.arange(records * epochs), records).reshape(epochs, records)
    expected = epochs / records
    # Chi-square of a uniform table, per column: mean 59, standard deviation sqrt(2 59) = 10.9; six of them.
    for column in (orders[:, 0], orders[:, 31], orders[:, -1], (orders[:, 1] - orders[:, 0]) % records):
        counts = np.bincount(column, minlength=records)
        cells = records if counts[0] else records - 1  # a record never follows itself
        expected = epochs / cells
        chi_square = ((counts[-cells:] - expected) ** 2 / expected).sum()
        assert abs(chi_square - cells) < 6 * np.sqrt(2 * cells)
    # As many rises as falls, and half of the pairs in order, also between distant places.
    for first, second in ((0, 1), (0, 30), (17, 59)):
        rising = (orders[:, first] < orders[:, second]).mean()
        assert abs(rising - 0.5) < 6 * 0.5 / np.sqrt(epochs)


def test_seeds_differ():
    orders = [loader.shuffled(seed, np.arange(1000), 1000) for seed in (0, 1, 2, -1, 2**63)]
    for a, b in itertools.combinations(orders, 2):
        assert (a == b).sum() < 10  # one on average


def test_coins_and_places_are_fair():
    positions = np.arange(100_000)
    coins = loader.coin(0, positions)
    assert coins.dtype == bool
    assert abs(coins.mean() - 0.5) < 6 * 0.5 / np.sqrt(len(positions))
    assert abs((coins[1:] == coins[:-1]).mean() - 0.5) < 6 * 0.5 / np.sqrt(len(positions))
    places = loader.crop_places(0, positions)
    assert ((places >= 0) & (places < 1)).all()
    np.testing.assert_allclose(places.mean(0), 0.5, atol=6 * 0.289 / np.sqrt(len(positions)))
    assert abs(np.corrcoef(places.T)[0, 1]) < 6 / np.sqrt(len(positions))
    assert abs(np.corrcoef(places[:, 0], coins)[0, 1]) < 6 / np.sqrt(len(positions))


# Batches


def test_batches_run_through_every_epoch(npz):
    batches = fetch(make(path=npz), (0, 25), (25, 25))  # 50 batches of 16: 16 epochs of 50
    order = np.concatenate([indices(batch["image"])[0].ravel() for batch in batches])
    epochs = order.reshape(-1, RECORDS)
    assert (np.sort(epochs, axis=1) == np.arange(RECORDS)).all()
    labels = np.concatenate([batch["label"].ravel() for batch in batches])
    np.testing.assert_array_equal(labels, order % 3)


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("rounds", [1, 3])
def test_a_call_of_several_steps_is_those_steps_one_by_one(npz, rounds, on_device):
    source = make(path=npz, rounds=rounds, flip=True, on_device=on_device)
    (whole,) = fetch(source, (5, 4))
    steps = fetch(source, *[(step, 1) for step in range(5, 9)])
    for place, step in enumerate(steps):
        assert_equal({field: array[place : place + 1] for field, array in whole.items()}, step)


def test_a_run_may_start_anywhere_and_jump(npz):
    batches = fetch(make(path=npz, flip=True), *[(step, 1) for step in range(8)])
    assert_equal(fetch(make(path=npz, flip=True), (6, 1))[0], batches[6])
    jumps = fetch(make(path=npz, flip=True), (7, 1), (2, 1), (2, 1), (0, 1))
    for step, batch in zip((7, 2, 2, 0), jumps, strict=True):
        assert_equal(batch, batches[step])


def test_rounds_are_consecutive_minibatches(npz):
    (rounds,) = fetch(make(path=npz, rounds=3), (2, 2))
    single = fetch(make(path=npz), *[(step, 1) for step in range(6, 12)])
    assert rounds["image"].shape == (2, 3, BATCH, 4, 6, 1)
    expected = np.stack([batch["image"][0] for batch in single]).reshape(rounds["image"].shape)
    np.testing.assert_array_equal(rounds["image"], expected)


def test_the_seed_changes_the_order_and_the_mirroring(npz):
    a, b = (indices(fetch(make(path=npz, seed=seed, flip=True), (0, 8))[0]["image"]) for seed in (0, 1))
    assert (a[0] != b[0]).any()
    assert (a[1] != b[1]).any()


@pytest.mark.parametrize("on_device", [False, True])
def test_one_device_and_eight_get_the_same(npz, on_device):
    many = make(8, path=npz, rounds=2, flip=True, on_device=on_device)
    for other in (
        make(1, path=npz, rounds=2, flip=True),
        make(8, axes={"data": 2, "fsdp": 4}, path=npz, rounds=2, flip=True),
    ):
        for a, b in zip(fetch(many, (3, 2), (5, 1)), fetch(other, (3, 2), (5, 1)), strict=True):
            assert_equal(a, b)


def test_processes_read_their_own_rows_of_one_global_batch(npz):
    source = make(path=npz, flip=True)
    whole = source.minibatch(9)
    for rows in np.split(np.arange(BATCH), 2):  # as two processes would
        assert_equal(source.minibatch(9, rows), {field: array[rows] for field, array in whole.items()})
    np.testing.assert_array_equal(source.rows, np.arange(BATCH))
    (batch,) = fetch(source, (9, 1))
    assert (indices(batch["image"][0])[1] == whole["mirror"]).all()


@pytest.mark.parametrize("rounds", [1, 2])
@pytest.mark.parametrize("name", ["memory", "shapes", "gaussians"])
def test_data_on_the_device_is_the_same_bit_for_bit(npz, name, rounds):
    keys = {"memory": {"path": npz}, "shapes": {"resolution": 8, "size": 300}, "gaussians": {"size": 300}}[name]
    keys |= {"name": name, "flip": name != "gaussians"}
    plan = [(0, 3), (3, 3), (40, 1)]
    streamed = fetch(make(rounds=rounds, **keys), *plan)
    on_device = fetch(make(rounds=rounds, on_device=True, **keys), *plan)
    for a, b in zip(streamed, on_device, strict=True):
        assert_equal(a, b)
        assert {field: array.dtype for field, array in a.items()} == {field: b[field].dtype for field in b}


def test_half_of_the_images_are_mirrored_anew_in_every_epoch(npz):
    (batch,) = fetch(make(path=npz, flip=True), (0, 50))
    order, mirrored = (values.reshape(-1, RECORDS) for values in indices(batch["image"]))
    assert abs(mirrored.mean() - 0.5) < 6 * 0.5 / np.sqrt(mirrored.size)
    assert len({row.tobytes() for row in mirrored.reshape(-1, BATCH)}) > 40  # of 50 batches: no two are mirrored alike
    of_record_0 = mirrored[order == 0]
    assert 0 < of_record_0.sum() < len(of_record_0)
    assert not indices(fetch(make(path=npz), (0, 50))[0]["image"])[1].any()


def test_random_crops_vary_and_are_reproducible(tmp_path):
    images = np.broadcast_to(np.arange(24, dtype=np.uint8)[None, None, :, None], (4, 4, 24, 1))
    np.savez(tmp_path / "wide.npz", image=images)
    keys = {"path": str(tmp_path / "wide.npz"), "resolution": 4, "crop": "random"}
    (batch,) = fetch(make(**keys), (0, 20))
    left = np.round((batch["image"][..., 0, 0, 0] + 1) * 127.5)
    assert set(left.ravel()) == set(range(21))  # every window of 4 among 24 columns
    assert_equal(fetch(make(1, **keys), (0, 20))[0], batch)
    with pytest.raises(InputError, match=r"config\.data\.on_device=True .* config\.data\.crop"):
        make(**keys, on_device=True)


# Arrays


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("rounds", [1, 3])
def test_the_spec_tells_shapes_dtypes_and_shardings(npz, rounds, on_device):
    source = make(path=npz, rounds=rounds, flip=True, on_device=on_device)
    spec = source.spec(2)
    (batch,) = source.calls([(0, 2)])
    assert set(spec) == set(batch) == {"image", "label"}
    lead = (2, BATCH) if rounds == 1 else (2, 3, BATCH)
    assert batch["image"].shape == (*lead, 4, 6, 1)
    assert (batch["image"].dtype, batch["label"].dtype) == (np.float32, np.int32)
    for field, leaf in batch.items():
        assert (leaf.shape, leaf.dtype, leaf.sharding) == (spec[field].shape, spec[field].dtype, spec[field].sharding)
        assert leaf.addressable_shards[0].data.shape[len(lead) - 1] == BATCH // 8


@pytest.mark.parametrize("on_device", [False, True])
def test_the_loop_transfers_nothing_by_accident_and_compiles_once(npz, on_device):
    source = make(path=npz, flip=True, on_device=on_device)
    with jax.transfer_guard("disallow"):
        for batch in source.calls((step, 2) for step in range(0, 10, 2)):
            jax.block_until_ready(batch)
    assert source._finish_call._cache_size() == 1


def test_looking_records_up_needs_no_communication(npz):
    source = make(path=npz, flip=True, on_device=True)
    next(source.calls([(0, 1)]))
    sharding = parallel.batch_sharding(source.mesh, 1)
    batch = {
        "record": jax.ShapeDtypeStruct((1, BATCH), np.int32, sharding=sharding),
        "mirror": jax.ShapeDtypeStruct((1, BATCH), bool, sharding=sharding),
    }
    program = source._finish_call.lower(batch, source._table).compile().as_text()
    assert not any(word in program for word in ("all-gather", "all-reduce", "all-to-all", "collective-permute"))


def test_the_preview_shows_each_class_in_rows_of_its_own(npz):
    source = make(path=npz, flip=True)
    preview = source.preview(20)  # five columns, four rows
    assert all(leaf.sharding.is_fully_replicated for leaf in preview.values())
    preview = jax.device_get(preview)
    assert preview["image"].shape == (20, 4, 6, 1)
    assert preview["label"].reshape(4, 5).tolist() == [[0] * 5, [1] * 5, [2] * 5, [0] * 5]
    records, mirrored = indices(preview["image"])
    assert len(set(records)) == 20
    assert not mirrored.any()
    assert_equal(jax.device_get(make(1, path=npz, on_device=True).preview(20)), preview)
    assert (indices(make(path=npz, seed=1).preview(20)["image"])[0] != records).any()
    assert (indices(fetch(source, (0, 2))[0]["image"])[0].ravel()[:20] != records).any()  # no stream of training


def test_previews_of_points_keep_the_data():
    preview = jax.device_get(make(name="gaussians", size=1000).preview(7))
    np.testing.assert_allclose(np.linalg.norm(preview["point"], axis=1), np.sqrt(2), atol=0.1)
    assert preview["label"].tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert "label" not in make(name="gaussians", options=base.dict(kind="swiss_roll")).preview(7)


def test_masks_stay_bytes():
    source = make(name="shapes", resolution=8, options=base.dict(fields=("image", "mask", "edges", "centre")))
    spec = source.spec(1)
    assert [spec[field].dtype for field in ("image", "edges", "mask", "centre")] == [
        "float32",
        "float32",
        "uint8",
        "float32",
    ]
    (batch,) = fetch(source, (0, 1))
    assert batch["mask"].dtype == np.uint8
    assert batch["edges"].min() >= -1


# Mistakes and ends


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"batch_size": 12}, "config.batch_size=12 is not divisible by the 8 devices"),
        ({"workers": -1}, "config.data.workers=-1 must be 0"),
        ({"options": ("image", "caption")}, "config.data.options.fields: 'caption' is text"),
        (
            {"options": ("image", "landmarks"), "flip": True},
            "config.data.flip=True mirrors images, not the field 'landmarks'",
        ),
        (
            {"resolution": 256, "size": 100_000, "on_device": True},
            r"100000 records take 18\.3 GiB, more than the 4 GiB",
        ),
    ],
)
def test_what_a_loader_refuses(keys, message):
    if "options" in keys:
        keys = keys | {"options": base.dict(fields=keys["options"])}
    with pytest.raises(InputError, match=message):
        make(name="faces", **keys)


@pytest.mark.parametrize("on_device", [False, True])
def test_an_image_that_breaks_during_training_is_named(tmp_path, on_device):
    for number in range(40):
        Image.fromarray(np.full((4, 4, 3), number, np.uint8)).save(tmp_path / f"{number:02d}.png")
    source = make(name="folder", path=str(tmp_path), batch_size=8, on_device=on_device)
    (tmp_path / "17.png").write_bytes(b"rubbish")
    with pytest.raises(InputError, match=r"17\.png: cannot be read as an image"):
        fetch(source, *[(step, 1) for step in range(5)])  # an epoch
    assert_no_threads()


@pytest.mark.parametrize("workers", [0, 1, 5])
def test_any_number_of_threads_gives_the_same(npz, workers):
    plan = [(step, 2) for step in range(0, 20, 2)]
    for a, b in zip(fetch(make(path=npz), *plan), fetch(make(path=npz, workers=workers), *plan), strict=True):
        assert_equal(a, b)


def assert_no_threads():
    """Prefetching threads end soon after their iterator."""
    deadline = time.monotonic() + 5
    while any("grain-prefetch" in thread.name for thread in threading.enumerate()):
        assert time.monotonic() < deadline, threading.enumerate()
        time.sleep(0.01)


def test_threads_end_when_the_iterator_is_closed_dropped_or_done(npz):
    source = make(path=npz)
    calls = source.calls([(step, 1) for step in range(100)])
    next(calls)
    assert any("grain-prefetch" in thread.name for thread in threading.enumerate())
    calls.close()
    assert_no_threads()
    calls = source.calls([(step, 1) for step in range(100)])
    next(calls)
    del calls
    gc.collect()
    assert_no_threads()
    fetch(source, (0, 1), (1, 1))
    assert_no_threads()


def test_a_program_ends_in_the_middle_of_a_plan(npz):
    program = (
        "from absl import flags; flags.FLAGS.mark_as_parsed()\n"
        "import jax; jax.config.update('jax_platforms', 'cpu')\n"
        "from tests.data.test_loader import make\n"
        f"calls = make(1, path={npz!r}).calls([(step, 1) for step in range(10**6)])\n"
        "print(next(calls)['image'].shape)\n"
    )
    root = pathlib.Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "(1, 16, 4, 6, 1)\n"), done.stderr


def test_nothing_is_read_beyond_the_plan(npz, monkeypatch):
    source = make(path=npz)
    read, original = [], source.minibatch
    monkeypatch.setattr(source, "minibatch", lambda number, rows: read.append(number) or original(number, rows))
    fetch(source, (4, 2), (9, 1))
    assert sorted(read) == [4, 5, 9]
    assert fetch(source) == []


def test_mnist_streams_as_it_is(real_data):
    source = make(name="mnist", path=str(real_data / "tensorflow_datasets"), batch_size=512)
    (batch,) = fetch(source, (0, 4))
    assert batch["image"].shape == (4, 512, 28, 28, 1)
    # The mean of all images is .13066 in [0, 1], that of one image has standard deviation .04.
    assert abs((batch["image"].mean() + 1) / 2 - 0.13066) < 6 * 0.04 / np.sqrt(2048)
    assert np.bincount(batch["label"].ravel(), minlength=10).min() > 205 - 6 * np.sqrt(205)

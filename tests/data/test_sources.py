"""Folders of any images, arrays in memory, datasets of TFDS; and what is said where they are not as they should be."""

import io
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from gan_jax.data import sources
from gan_jax.data.sources import TFDS, Fitted, Folder, Memory, Subset
from gan_jax.data.transforms import Fit
from gan_jax.errors import InputError

RNG = np.random.default_rng(0)
TRAIN_LABELS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]  # of MNIST, as published
CIFAR_TEST_LABELS = [103, 89, 100, 103, 90, 86, 112, 102, 106, 109]  # of the first 1000 of CIFAR-10's test images


def picture(*shape):
    return RNG.integers(0, 256, shape, np.uint8)


def write(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(path, **options)
    return path


def decode(path):
    return sources.decode(path, str(path))


class TestFolder:
    def test_reads_files_in_sorted_order_with_labels_from_sub_folders(self, tmp_path):
        pixels = {name: picture(6, 9, 3) for name in ("cat/2.png", "cat/10.png", "ant/x/y/z.png", "bee/a.png")}
        for name, image in pixels.items():
            write(tmp_path / name, image)
        source = Folder(tmp_path)
        assert source.classes == ("ant", "bee", "cat")
        assert (source.domain, source.resolution, source.channels, len(source)) == ("image", (6, 9), 3, 4)
        batch = source.read(np.array([3, 0, 1, 2, 3]))
        assert batch["label"].tolist() == [2, 0, 1, 2, 2]
        assert batch["label"].dtype == np.int32
        order = ["cat/2.png", "ant/x/y/z.png", "bee/a.png", "cat/10.png", "cat/2.png"]
        np.testing.assert_array_equal(batch["image"], np.stack([pixels[name] for name in order]))

    def test_a_flat_folder_has_no_labels_and_other_files_are_passed_over(self, tmp_path):
        write(tmp_path / "a.png", picture(4, 4, 3))
        write(tmp_path / ".hidden.png", picture(5, 5, 3))
        write(tmp_path / ".cache" / "b.png", picture(5, 5, 3))
        for name in ("Thumbs.db", ".DS_Store", "notes.txt", "no_extension", "film.mp4"):
            (tmp_path / name).write_bytes(b"not an image")
        source = Folder(str(tmp_path))
        assert len(source) == 1
        assert source.classes == ()
        assert set(source.read(np.arange(1))) == {"image"}

    @pytest.mark.parametrize("extension", ["png", "jpg", "JPEG", "bmp", "webp", "tif", "gif", "ppm", "jp2"])
    def test_any_format(self, tmp_path, extension):
        smooth = np.linspace(40, 200, 16 * 24 * 3).reshape(16, 24, 3).astype(np.uint8)
        write(tmp_path / f"image.{extension}", smooth)
        source = Folder(tmp_path, channels=3)
        image = source.read(np.arange(1))["image"]
        assert image.shape == (1, 16, 24, 3)
        assert np.abs(image[0].astype(int) - smooth).mean() < 8  # JPEG and 256 colours lose a little

    def test_resolution_channels_and_crop(self, tmp_path):
        tall, wide = picture(20, 10, 3), picture(10, 30, 1)[..., 0]
        write(tmp_path / "a.png", tall)
        write(tmp_path / "b.png", wide)
        source = Folder(tmp_path, resolution=(10, 10), channels=1, crop="center")
        assert (source.resolution, source.channels) == ((10, 10), 1)
        images = source.read(np.arange(2))["image"]
        np.testing.assert_array_equal(images[0], Fit(channels=1)(tall)[5:15])
        np.testing.assert_array_equal(images[1], wide[:, 10:20, None])
        random = Folder(tmp_path, resolution=(10, 10), channels=1, crop="random")
        places = np.array([[0.0, 0.0], [0.0, 0.999]])
        images = random.read(np.arange(2), places)["image"]
        np.testing.assert_array_equal(images[0], Fit(channels=1)(tall)[:10])
        np.testing.assert_array_equal(images[1], wide[:, 20:, None])

    def test_missing_and_empty_folders(self, tmp_path):
        with pytest.raises(InputError, match=r"config.data.path=.*nowhere: no such folder"):
            Folder(tmp_path / "nowhere")
        (tmp_path / "readme.txt").write_text("hello")
        with pytest.raises(InputError, match=r"config.data.path=.*: no images in this folder"):
            Folder(tmp_path)

    def test_images_beside_and_inside_sub_folders(self, tmp_path):
        for name in ("a.png", "x/b.png", "x/c.png"):
            write(tmp_path / name, picture(4, 4, 3))
        with pytest.raises(InputError, match="1 images lie directly in the folder and 2 in sub-folders"):
            Folder(tmp_path)

    def test_mixed_sizes_name_two_files_and_the_key(self, tmp_path):
        for name, height in (("a.png", 4), ("b.png", 4), ("c.png", 7)):
            write(tmp_path / name, picture(height, 5, 3))
        with pytest.raises(InputError, match=r"a\.png is 4x5, .*c\.png is 7x5 .* --config\.data\.resolution"):
            Folder(tmp_path)
        assert Folder(tmp_path, resolution=(4, 4)).read(np.arange(3))["image"].shape == (3, 4, 4, 3)

    def test_mixed_channels_name_two_files_and_the_key(self, tmp_path):
        write(tmp_path / "a.png", picture(4, 4, 3))
        write(tmp_path / "b.png", picture(4, 4))
        message = r"a\.png is RGB \(3 channels\), .*b\.png is grey \(1 channel\); set config\.data\.channels=1 or 3"
        with pytest.raises(InputError, match=message):
            Folder(tmp_path)
        assert Folder(tmp_path, channels=3).read(np.arange(2))["image"].shape == (2, 4, 4, 3)

    @pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + bytes(40)])
    def test_an_unreadable_file_is_named_while_scanning_and_while_reading(self, tmp_path, content):
        write(tmp_path / "good.png", picture(4, 4, 3))
        (tmp_path / "bad.png").write_bytes(content)
        with pytest.raises(InputError, match=r"bad\.png: cannot be read as an image"):
            Folder(tmp_path)
        source = Folder(tmp_path, resolution=(4, 4), channels=3)  # nothing to find out: headers are not read
        assert source.read(np.array([1]))["image"].shape == (1, 4, 4, 3)
        with pytest.raises(InputError, match=r"bad\.png: cannot be read as an image"):
            source.read(np.array([1, 0]))

    def test_a_truncated_file_is_named(self, tmp_path):
        path = write(tmp_path / "cut.png", picture(64, 64, 3))
        path.write_bytes(path.read_bytes()[:3000])
        source = Folder(tmp_path)  # the header is whole
        with pytest.raises(InputError, match=r"cut\.png: cannot be read as an image"):
            source.read(np.arange(1))

    def test_a_file_that_was_deleted_is_named(self, tmp_path):
        path = write(tmp_path / "gone.png", picture(4, 4, 3))
        source = Folder(tmp_path)
        path.unlink()
        with pytest.raises(InputError, match=r"gone\.png: cannot be read as an image"):
            source.read(np.arange(1))


class TestDecode:
    """Header and pixels agree for every kind of image: `Folder` trusts the one for what the other gives."""

    @pytest.mark.parametrize(
        ("mode", "channels"),
        [("1", 1), ("L", 1), ("P", 3), ("RGB", 3), ("RGBA", 4), ("LA", 4), ("I;16", 1), ("I", 1)],
    )
    def test_modes(self, tmp_path, mode, channels):
        image = Image.fromarray(picture(5, 7, 3))
        if mode.startswith("I"):
            image = Image.fromarray(
                (picture(5, 7).astype(np.uint16) * 257).astype({"I": np.int32}.get(mode, np.uint16))
            )
        name = "image.tif" if mode == "I" else "image.png"
        path = write(tmp_path / name, image if mode.startswith("I") else image.convert(mode))
        assert decode(path).shape == (5, 7, channels)
        assert sources._header(str(path)) == ((5, 7), channels)
        assert decode(path).dtype == np.uint8

    def test_sixteen_bits_become_eight(self, tmp_path):
        levels = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
        for name in ("a.png", "b.tif"):
            assert decode(write(tmp_path / name, levels))[..., 0].tolist() == [[0, 0, 1, 128, 255]]

    def test_a_palette_is_looked_up(self, tmp_path):
        image = Image.new("P", (2, 1))
        image.putpalette([10, 20, 30, 200, 100, 50])
        image.putdata([0, 1])
        path = write(tmp_path / "p.png", image)
        assert decode(path).tolist() == [[[10, 20, 30], [200, 100, 50]]]
        path = write(tmp_path / "q.png", image, transparency=1)
        assert decode(path).tolist() == [[[10, 20, 30, 255], [200, 100, 50, 0]]]
        assert sources._header(str(path)) == ((1, 2), 4)

    def test_the_first_frame_of_an_animation(self, tmp_path):
        frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
        path = tmp_path / "film.gif"
        frames[0].save(path, save_all=True, append_images=frames[1:])
        assert decode(path)[0, 0].tolist() == [255, 0, 0]

    def test_cmyk_becomes_rgb(self, tmp_path):
        path = write(tmp_path / "print.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)))
        assert decode(path).shape == (8, 8, 3)
        assert decode(path)[4, 4].argmax() == 0  # red
        assert sources._header(str(path)) == ((8, 8), 3)

    def test_a_photograph_is_turned_upright(self, tmp_path):
        exif = Image.Exif()
        exif[sources.ORIENTATION] = 6  # a quarter turn clockwise shows it upright
        pixels = np.zeros((8, 16, 3), np.uint8)
        pixels[:, :8] = 255
        path = write(tmp_path / "phone.jpg", pixels, exif=exif, quality=100)
        upright = decode(path)
        assert upright.shape == (16, 8, 3)
        assert upright[:7].min() > 250  # what was left is on top
        assert sources._header(str(path)) == ((16, 8), 3)

    def test_floating_point_pixels_are_refused(self, tmp_path):
        path = write(tmp_path / "depth.tif", np.zeros((4, 4), np.float32))
        with pytest.raises(InputError, match=r"depth\.tif: floating-point pixels have no known range"):
            decode(path)


class TestMemory:
    def test_images(self):
        images, labels = picture(10, 5, 6), np.arange(10) % 3
        source = Memory({"image": images, "label": labels})
        assert (source.domain, source.resolution, source.channels, len(source)) == ("image", (5, 6), 1, 10)
        assert source.classes == ("0", "1", "2")
        batch = source.read(np.array([7, 7, 2]))
        np.testing.assert_array_equal(batch["image"], images[[7, 7, 2], ..., None])
        assert batch["label"].tolist() == [1, 1, 2]
        assert batch["label"].dtype == np.int32

    def test_points(self):
        source = Memory({"point": np.arange(8.0).reshape(4, 2)})
        assert (source.domain, source.resolution, source.channels, source.classes) == ("point", None, 2, ())
        assert source.read(np.array([3]))["point"].tolist() == [[6.0, 7.0]]
        assert source.read(np.array([3]))["point"].dtype == np.float32

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({}, "needs either 'image' or 'point', has nothing"),
            ({"x": np.zeros(3)}, "needs either 'image' or 'point', has x"),
            ({"image": np.zeros((2, 3, 3, 1), np.float32)}, r"'image' is float32 \[2, 3, 3, 1\], must be uint8"),
            ({"image": np.zeros((0, 3, 3, 1), np.uint8)}, r"'image' is uint8 \[0, 3, 3, 1\]"),
            ({"image": np.zeros((3, 3), np.uint8)}, r"must be uint8 \[N,H,W\] or \[N,H,W,C\]"),
            ({"point": np.zeros(3)}, r"'point' is float64 \[3\], must be numbers \[N,D\]"),
            ({"point": np.array([[np.nan]])}, "'point' has values that are not finite"),
            ({"point": np.zeros((3, 1)), "label": np.zeros(2, int)}, r"must be integers from 0 of shape \[3\]"),
            ({"point": np.zeros((3, 1)), "label": np.zeros(3)}, r"'label' is float64 \[3\], must be integers"),
            ({"point": np.zeros((3, 1)), "label": np.array([-1, 0, 1])}, "must be integers from 0"),
        ],
    )
    def test_what_it_refuses(self, arrays, message):
        with pytest.raises(InputError, match=message):
            Memory(arrays)

    def test_npz(self, tmp_path):
        path = tmp_path / "data.npz"
        np.savez(path, image=picture(3, 4, 4, 2), label=np.zeros(3, np.int64), note=np.arange(9))
        assert set(sources.from_npz(path).read(np.arange(3))) == {"image", "label"}
        with pytest.raises(InputError, match=r"config.data.path=.*none\.npz: no such file"):
            sources.from_npz(tmp_path / "none.npz")
        path.write_bytes(b"rubbish")
        with pytest.raises(InputError, match=r"config.data.path=.*data\.npz: cannot be read as \.npz"):
            sources.from_npz(path)


def test_fitted_resizes_stacked_images():
    images = picture(4, 10, 20, 3)
    source = Fitted(Memory({"image": images}), Fit((10, 10), 1, "random"))
    assert (source.resolution, source.channels, len(source), source.classes) == ((10, 10), 1, 4, ())
    found = source.read(np.array([2]), np.array([[0.0, 0.0]]))["image"]
    np.testing.assert_array_equal(found[0], Fit(channels=1)(images[2])[:, :10])


def test_a_subset_spreads_over_all_records():
    points = np.arange(10.0)[:, None]
    source = Subset(Memory({"point": points}), 4)
    assert len(source) == 4
    assert source.read(np.arange(4))["point"].ravel().tolist() == [0.0, 2.0, 5.0, 7.0]


class TestTFDS:
    @pytest.fixture
    def folder(self, real_data):
        return str(real_data / "tensorflow_datasets")

    def test_mnist(self, folder):
        source = TFDS("mnist", "train", folder)
        assert (source.domain, source.resolution, source.channels, len(source)) == ("image", (28, 28), 1, 60000)
        assert source.classes == tuple("0123456789")
        batch = source.read(np.arange(0, 60000, 30))
        assert (batch["image"].dtype, batch["image"].shape) == (np.uint8, (2000, 28, 28, 1))
        # .13066 over all images; one image's mean has standard deviation .04
        assert abs(batch["image"].mean() / 255 - 0.13066) < 4 * 0.04 / np.sqrt(2000)
        assert len(TFDS("mnist", "test", folder)) == 10000
        assert len(TFDS("mnist", "train[:10%]", folder)) == 6000

    def test_all_labels_of_mnist(self, folder):
        source = TFDS("mnist", "train", folder)
        labels = [record["label"] for record in source._records.__getitems__(list(range(60000)))]
        assert np.bincount(labels).tolist() == TRAIN_LABELS

    def test_cifar10(self, folder):
        source = TFDS("cifar10", "test", folder)
        assert source.classes[:2] == ("airplane", "automobile")
        batch = source.read(np.arange(len(source)))
        assert np.bincount(batch["label"]).tolist() == CIFAR_TEST_LABELS
        pixels = batch["image"].reshape(-1, 3) / 255
        np.testing.assert_allclose(pixels.mean(0), [0.49674, 0.48666, 0.45103], atol=1e-5)
        np.testing.assert_allclose(pixels.std(0), [0.24658, 0.24275, 0.26173], atol=1e-5)

    def test_pixels_are_those_that_tfds_decodes(self, folder):
        import tensorflow_datasets as tfds

        theirs = tfds.data_source("cifar10", data_dir=folder, split="train")[123]
        ours = TFDS("cifar10", "train", folder).read(np.array([123]))
        np.testing.assert_array_equal(ours["image"][0], theirs["image"])
        assert ours["label"][0] == theirs["label"]

    def test_another_view(self, folder):
        source = TFDS("mnist", "test", folder, (32, 16), 3, "center")
        assert (source.resolution, source.channels) == ((32, 16), 3)
        assert source.read(np.arange(2))["image"].shape == (2, 32, 16, 3)

    def test_unknown_names_and_splits(self, folder):
        with pytest.raises(InputError, match=r"unknown dataset 'mnit'\. Did you mean mnist"):
            TFDS("mnit", "train", folder)
        with pytest.raises(
            InputError, match=r"config.data.split='trian' is not a split of mnist\. Choices: test, train"
        ):
            TFDS("mnist", "trian", folder)
        with pytest.raises(InputError, match=r"'my data!' is not a dataset's name"):
            TFDS("my data!", "train", folder)
        for name in ("mnist:9.9.9", "mnist/large"):
            with pytest.raises(InputError, match=f"dataset '{name}'"):
                TFDS(name, "train", folder)
        with pytest.raises(InputError, match="'imdb_reviews' is not prepared"):
            TFDS("imdb_reviews", "train", folder)

    def test_one_that_is_not_prepared_gets_the_command(self, tmp_path):
        with pytest.raises(InputError, match=rf"run: python launch/prepare.py --name mnist --data_dir {tmp_path}$"):
            TFDS("mnist", "train", str(tmp_path))

    def test_tensorflow_is_not_imported_and_nothing_is_said(self, folder):
        program = (
            "import sys, numpy as np\n"
            "from gan_jax.data.sources import TFDS\n"
            "assert 'tensorflow_datasets' not in sys.modules\n"
            f"TFDS('mnist', 'test', {folder!r}).read(np.arange(64))\n"
            "assert 'tensorflow' not in sys.modules\n"
        )
        root = pathlib.Path(__file__).parents[2]
        done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_record_that_cannot_be_decoded_is_named():
    with pytest.raises(InputError, match="mnist/train, record 7: cannot be read as an image"):
        sources.decode(io.BytesIO(b"rubbish"), "mnist/train, record 7")

"""Translating images from anywhere: which directions, which sizes, and the program that goes through a folder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from gan_jax import contract, parallel
from gan_jax.analysis import sampler as sampling
from gan_jax.analysis import translation
from gan_jax.data import datasets
from gan_jax.errors import InputError
from tests import experiments
from tests.launch import test_sample


def open_sampler(name, **changes):
    config = experiments.get_config(name)
    config.model.update(changes)
    config = datasets.resolve(config)
    gan = contract.load(config)[0].gan
    mesh = parallel.make_mesh({"data": -1, "fsdp": 1}, jax.devices()[:1])
    shapes = {"a": config.data.source_shape or (8, 8, 3), "b": (8, 8, 3), "point": (2,)}
    example = {key: jnp.zeros((1, *shape)) for key, shape in shapes.items()}
    state = jax.jit(gan.init)(jax.random.key(0), example)
    return sampling.of(gan, state, config, 3, mesh, "raw")


@pytest.fixture(scope="module")
def pix2pix():
    return open_sampler("pix2pix")


def photo(height, width, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (1, height, width, 3)).astype(np.float32)


def test_a_translator_takes_other_sizes_and_says_which_it_does_not(pix2pix):
    translate = translation.Translator(pix2pix)
    assert pix2pix.conditions == {"a"}
    made = translate(photo(8, 16))
    assert (made.shape, made.dtype) == ((1, 8, 16, 3), np.float32)
    np.testing.assert_array_equal(made, translate(photo(8, 16)))
    assert np.abs(made - translate(photo(8, 16), seed=1)).max() > 1e-5  # dropout is drawn from the seed
    with pytest.raises(InputError, match=r"does not take images of 8x12; it learned on \(8, 8\)"):
        translate(photo(8, 12))


def test_directions(pix2pix):
    with pytest.raises(InputError, match="'pix2pix' translates from a to b alone"):
        translation.Translator(pix2pix, "a")
    with pytest.raises(InputError, match="makes its samples from data"):
        pix2pix.check_noise()
    cyclegan = open_sampler("cyclegan")
    there, back = (translation.Translator(cyclegan, to)(photo(12, 8)) for to in ("b", "a"))
    assert there.shape == back.shape == (1, 12, 8, 3)
    assert np.abs(there - back).max() > 1e-4


def test_images_may_become_larger():
    translate = translation.Translator(open_sampler("srgan"))
    assert (translate.factor, translate.resolution) == (4, (2, 2))
    for small, large in (((2, 2), (8, 8)), ((1, 1), (4, 4)), ((5, 3), (20, 12))):
        assert translate(photo(*small)).shape == (1, *large, 3)
    with pytest.raises(InputError, match="'srgan' translates from a to b alone"):
        translation.Translator(open_sampler("srgan"), "a")


def test_a_folder_is_enlarged_whatever_the_sizes(tmp_path):
    for name, image in {
        "rgb.png": np.zeros((5, 7, 3), np.uint8),
        "grey.png": np.zeros((3, 4), np.uint8),
        "alpha.png": np.zeros((1, 1, 4), np.uint8),
    }.items():
        Image.fromarray(image).save(tmp_path / name)
    made = dict(translation.folder(translation.Translator(open_sampler("srgan")), tmp_path))
    assert {name: image.shape for name, image in made.items()} == {
        "rgb.png": (20, 28, 3),
        "grey.png": (12, 16, 3),
        "alpha.png": (4, 4, 3),
    }


def test_gans_that_start_from_noise_have_nothing_to_translate():
    with pytest.raises(InputError, match="'gan' makes its samples from noise"):
        translation.Translator(open_sampler("gan"))


def test_a_folder_is_translated_into_another(tmp_path):
    """The program, on a run of the smoke variant: names stay, sub-folders too, and nothing is overwritten unasked."""
    run = test_sample.train(tmp_path / "run", experiments.get_config("pix2pix"))
    for name, size in (("x/1.jpg", (8, 8)), ("x/2.png", (16, 8))):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((*size, 3), np.uint8)).save(tmp_path / "in" / name)
    places = {"--workdir": run, "--input": tmp_path / "in", "--output": tmp_path / "out"}
    arguments = [f"{flag}={value}" for flag, value in places.items()]
    test_sample.call("sample", *arguments)
    made = {
        path.relative_to(tmp_path / "out").as_posix(): Image.open(path).size for path in (tmp_path / "out").rglob("*.*")
    }
    assert made == {"x/1.png": (8, 8), "x/2.png": (8, 8)}
    with pytest.raises(InputError, match=r"1\.png exists; --overwrite"):
        test_sample.call("sample", *arguments)
    test_sample.call("sample", *arguments, "--overwrite", "--keep_size")
    assert Image.open(tmp_path / "out/x/2.png").size == (8, 16)
    with pytest.raises(InputError, match="--input needs a folder"):
        test_sample.call("sample", *arguments[:2])
    with pytest.raises(InputError, match="makes its samples from data"):
        test_sample.call("sample", arguments[0])

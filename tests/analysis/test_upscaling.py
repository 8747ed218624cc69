"""Photographs made smaller and enlarged again: the benchmark's bicubic numbers, sizes, and the program."""

import numpy as np
import pytest
from PIL import Image

from gan_jax.analysis import translation, upscaling
from gan_jax.data import sources, transforms
from gan_jax.errors import InputError
from tests import experiments
from tests.analysis.test_translation import open_sampler
from tests.launch import test_sample


@pytest.fixture(scope="module")
def translator():
    return translation.Translator(open_sampler("srgan"))


def photographs(folder, *sizes):
    folder.mkdir()
    for number, size in enumerate(sizes):
        image = np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(image).save(folder / f"{number}.png")
    return str(folder)


def test_bicubic_on_set5(real_data):
    """28.43 dB and .811 on average, the figures of the literature, and of every image to the second digit."""
    found = []
    for path in sorted((real_data / "sr/set5_x4").glob("*_HR.png")):
        truth = sources.decode(path, path.name)
        small = transforms.bicubic(truth[None], tuple(side // 4 for side in truth.shape[:2]))
        found.append(upscaling.measure(transforms.bicubic(small, truth.shape[:2])[0], truth, 4))
    psnr, ssim = np.array(found).T
    np.testing.assert_allclose(psnr, [31.78, 30.18, 22.10, 31.61, 26.47], atol=0.006)
    assert ssim.mean() == pytest.approx(0.811, abs=5e-4)


def test_images_are_cut_to_multiples_of_the_factor(translator, tmp_path):
    found = list(upscaling.enlarged(translator, photographs(tmp_path / "in", (27, 30), (40, 20))))
    assert [one.truth.shape for one in found] == [(24, 28, 3), (40, 20, 3)]
    assert [one.small.shape for one in found] == [(6, 7, 3), (10, 5, 3)]
    for one in found:
        assert {name: image.shape for name, image in one.made.items()} == dict.fromkeys(one.made, one.truth.shape)
        assert one.scores["bicubic"] == upscaling.measure(one.made["bicubic"], one.truth, 4)
    means = upscaling.means(found)
    assert means["network"][0] == pytest.approx(np.mean([one.scores["network"][0] for one in found]))
    picture = upscaling.picture(found, window=16)
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3


def test_what_cannot_be_measured(translator, tmp_path):
    with pytest.raises(InputError, match=r"0\.png: 16x16 is too small for PSNR and SSIM; it takes 19"):
        next(upscaling.enlarged(translator, photographs(tmp_path / "in", (18, 19))))
    same_size = translation.Translator(open_sampler("pix2pix"))
    with pytest.raises(InputError, match="'pix2pix' translates images and does not enlarge them"):
        next(upscaling.enlarged(same_size, str(tmp_path / "in")))


@pytest.mark.slow
def test_the_program(tmp_path, capsys):
    config = experiments.get_config("srgan")
    config.update(steps=2)
    config.model.update(adversarial_steps=0, fine_steps=0)
    run = test_sample.train(tmp_path / "run", config)
    place = photographs(tmp_path / "in", (20, 24), (24, 20))
    arguments = ["upscale", f"--workdir={run}", f"--test={place}", f"--output={tmp_path / 'x.png'}"]
    test_sample.call("analyse", *arguments)
    said = capsys.readouterr().out
    assert "0.png: bicubic" in said
    assert "mean of 2, network: PSNR" in said
    assert "on Y of bytes" in said
    assert Image.open(tmp_path / "x.png").size[0] > 4 * 20
    test_sample.call("sample", f"--workdir={run}", f"--input={place}", f"--output={tmp_path / 'out'}")
    assert Image.open(tmp_path / "out/0.png").size == (96, 80)
    with pytest.raises(InputError, match="--test names the folder"):
        test_sample.call("analyse", *arguments[:2])

"""Faces: pictures against their own ground truth."""

import numpy as np
import pytest

from gan_jax.data.worlds import BY_NAME, Faces, faces
from gan_jax.data.worlds.face_attributes import HAIR, Choice, Range
from gan_jax.data.worlds.faces import ATTRIBUTES, FIELDS, LABELS, LANDMARKS
from gan_jax.errors import InputError

SOME = np.arange(150)
SIZE = (64, 64)
TRUTH = ("label", "caption", *ATTRIBUTES)
BACKGROUND, SKIN, HAIR_LABEL, EYES, MOUTH, GLASSES, HAT, CLOTHES = range(len(LABELS))


@pytest.fixture(scope="module")
def found():
    return Faces(SIZE, fields=FIELDS).read(SOME)


def attributes_of(found, **changed):
    """Those faces once more, with some attributes set to one value (a name or a number)."""
    new = {name: found[name].copy() for name in ATTRIBUTES}
    for name, value in changed.items():
        new[name][:] = ATTRIBUTES[name].names.index(value) if isinstance(value, str) else value
    return new


def grown(area):
    """[n,H,W] with every area larger by a pixel on all sides: pixels that the area's border may touch."""
    padded = np.pad(area, ((0, 0), (1, 1), (1, 1)))
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2)).any((-1, -2))


def label_at(found, name):
    """The segmentation's label under a landmark."""
    y, x = (found["landmarks"][:, LANDMARKS.index(name)] * SIZE).astype(int).T
    return found["mask"][np.arange(len(y)), y, x]


def test_records_depend_on_seed_and_index_alone(found):
    few = Faces(SIZE, fields=("mask", "image")).read(np.array([140, 3]))
    alone = Faces(SIZE, fields=("image",)).read(np.array([3]))
    again = Faces(SIZE, fields=FIELDS).read(np.array([3]))
    assert set(few) == {"mask", "image"}
    assert set(again) == set(FIELDS)
    np.testing.assert_array_equal(alone["image"][0], found["image"][3])
    for field in few:
        np.testing.assert_array_equal(few[field], found[field][[140, 3]])
    for field in again:
        np.testing.assert_array_equal(again[field], found[field][[3]])
        assert again[field].dtype == found[field].dtype
    assert not np.array_equal(Faces(SIZE, seed=1).read(SOME)["image"], found["image"])


def test_interface(found):
    assert found["image"].shape == (150, 64, 64, 3)
    assert found["image"].dtype == np.uint8
    assert found["mask"].shape == (150, 64, 64)
    assert found["mask"].dtype == np.uint8
    assert found["landmarks"].shape == (150, len(LANDMARKS), 2)
    assert found["landmarks"].dtype == np.float32
    for name, kind in ATTRIBUTES.items():
        assert found[name].dtype == (np.int32 if isinstance(kind, Choice) else np.float32)
    assert BY_NAME["faces"] is Faces
    assert len(Faces(size=7)) == 7
    assert Faces.domain == "image"
    assert Faces.channels == 3
    assert Faces().classes == ()
    assert Faces(fields=("image", "label")).classes == HAIR
    np.testing.assert_array_equal(found["label"], found["hair"])
    assert Faces().read(np.array([10**12]))["image"].shape == (1, 32, 32, 3)  # beyond len() is legal
    assert Faces().read(np.array([], np.int64))["image"].shape == (0, 32, 32, 3)


@pytest.mark.parametrize("resolution", [(4, 4), (24, 40), (40, 24), (5, 300)])
def test_attributes_do_not_depend_on_resolution(found, resolution):
    other = Faces(resolution, fields=FIELDS).read(SOME[:20])
    assert other["image"].shape == (20, *resolution, 3)
    assert other["mask"].shape == (20, *resolution)
    for field in TRUTH:
        np.testing.assert_array_equal(other[field], found[field][:20])


def test_landmarks_stay_on_the_face_in_wide_and_tall_pictures(found):
    """The figure is centred and as large as the shorter side: in a picture twice as wide x moves to the middle."""
    wide = Faces((64, 128), fields=("landmarks",)).read(SOME)["landmarks"]
    np.testing.assert_allclose(wide[..., 0], found["landmarks"][..., 0], atol=1e-6)
    np.testing.assert_allclose(wide[..., 1] - 0.5, (found["landmarks"][..., 1] - 0.5) / 2, atol=1e-6)
    square = Faces((64, 128)).read(SOME)["image"][:, :, 32:-32]
    same = (square == found["image"]).mean()
    assert same > 0.95  # patterns of the background are the picture's own, all else is the same


def test_small_pictures_are_large_ones_seen_from_afar():
    """Antialiasing: averaging 4x4 pixels of the large picture gives the small one but for lines that are kept a pixel
    wide (eyes, mouth, glasses) and corners: 1.9 levels of 255. Hard borders would err by more than 5."""
    large, small = (Faces(size).read(SOME)["image"] for size in ((128, 128), (32, 32)))
    shrunk = large.reshape(150, 32, 4, 32, 4, 3).mean((2, 4))
    assert np.abs(shrunk - small).mean() < 2.5


def test_windows_of_the_parts_cut_nothing_off(found, monkeypatch):
    """Parts are painted within boxes, for speed: boxes as large as the picture must give the same picture. A face by
    itself has the narrowest windows, those of a batch reach around all of its faces."""
    alone = [faces.render({name: found[name][[i]] for name in ATTRIBUTES}, SIZE)["image"] for i in SOME[:60]]
    everywhere = tuple(part._replace(box=(-99.0, -99.0, 99.0, 99.0)) for part in faces.PARTS)
    monkeypatch.setattr(faces, "PARTS", everywhere)
    whole = faces.render(attributes_of(found), SIZE, mask=True)
    for field in ("image", "mask"):
        np.testing.assert_array_equal(whole[field], found[field])
    np.testing.assert_array_equal(whole["image"][:60], np.concatenate(alone))


def test_frequencies():
    """Of 20k faces every value occurs as often as its weight says, within five standard errors."""
    n = 20_000
    many = Faces(fields=tuple(ATTRIBUTES)).read(np.arange(n))
    for name, kind in ATTRIBUTES.items():
        if isinstance(kind, Choice):
            p = kind.probabilities()
            share = np.bincount(many[name], minlength=len(p)) / n
            assert np.all(np.abs(share - p) < 5 * np.sqrt(p * (1 - p) / n)), name
        else:  # the mean of two uniforms: a triangle of deviation width / sqrt(24)
            middle, deviation = (kind.low + kind.high) / 2, (kind.high - kind.low) / np.sqrt(24)
            assert many[name].min() >= kind.low - 1e-6
            assert many[name].max() <= kind.high + 1e-6
            assert abs(many[name].mean() - middle) < 5 * deviation / np.sqrt(n), name
            assert abs(many[name].std() / deviation - 1) < 0.05, name
    correlation = np.corrcoef(np.stack(list(many.values()))) - np.eye(len(many))
    assert np.abs(correlation).max() < 5.5 / np.sqrt(n)  # 630 pairs: five and a half standard errors


def test_mask_agrees_with_landmarks(found):
    free = np.isin(found["hair"], [HAIR.index(name) for name in ("bald", "buzz cut", "short", "bun")])
    no_glasses = found["glasses"] == 0
    for name in ("left eye", "right eye"):
        assert (label_at(found, name)[free & no_glasses & (found["eyes"] < 2)] == EYES).all()
    assert (label_at(found, "mouth") == MOUTH).all()
    assert (label_at(found, "nose")[no_glasses & (found["beard"] < 2)] == SKIN).all()
    crowned = label_at(found, "skull")
    assert np.isin(crowned[(found["hair"] > 1) & (found["hat"] == 0)], (HAIR_LABEL,)).all()
    assert np.isin(crowned[np.isin(found["hat"], (1, 2, 3))], (HAT,)).all()


def test_mask_shows_what_the_attributes_say(found):
    def shows(label):
        return (found["mask"] == label).any((1, 2))

    np.testing.assert_array_equal(shows(GLASSES), found["glasses"] > 0)
    np.testing.assert_array_equal(shows(HAT), found["hat"] > 0)
    np.testing.assert_array_equal(shows(EYES), found["glasses"] < 3)  # sunglasses hide them
    for label in (BACKGROUND, SKIN, MOUTH, CLOTHES):
        assert shows(label).all()


@pytest.mark.parametrize(
    ("attribute", "value", "label"),
    [("background", "teal", BACKGROUND), ("hat_colour", "green", HAT), ("glasses_colour", "red", GLASSES)],
)
def test_colours_change_within_their_own_segment(found, attribute, value, label):
    """Repainting one thing changes pixels under its label and those its border may share. Elsewhere it may shine
    through where two borders meet in one pixel, each covering a part of it: at most a quarter in one in a thousand.
    (Rims of glasses are about a pixel wide, so that one more pixel on either side may be theirs.)"""
    before = faces.render(attributes_of(found), SIZE)["image"].astype(int)
    after = faces.render(attributes_of(found, **{attribute: value}), SIZE)["image"].astype(int)
    change, segment = np.abs(after - before).max(-1), found["mask"] == label
    elsewhere = ~grown(grown(segment) if label == GLASSES else segment)
    assert (change[elsewhere] > 0).mean() < 0.001
    assert change[elsewhere].max() < 0.25 * change.max()
    other = found[attribute] != ATTRIBUTES[attribute].names.index(value)
    repainted = (change > 0)[segment & other[:, None, None]].mean()
    assert repainted > (0.99 if label == BACKGROUND else 0.3)  # lenses keep their colour, and crowns but for jewels


def test_hats_and_glasses_add_to_a_face_and_leave_the_rest(found):
    without = faces.render(attributes_of(found, glasses="none"), SIZE)["image"]
    with_them = faces.render(attributes_of(found, glasses="sunglasses"), SIZE, mask=True)
    changed = (without != with_them["image"]).any(-1)
    assert not (changed & ~grown(with_them["mask"] == GLASSES)).any()
    assert (changed.mean((1, 2)) > 0.02).all()


def test_pose_moves_the_features(found):
    def points(**pose):
        places = faces.landmarks(attributes_of(found, **({"yaw": 0.0, "pitch": 0.0, "roll": 0.0} | pose)), SIZE)
        return {name: places[:, i] for i, name in enumerate(LANDMARKS)}

    front, right, down, tilted = points(), points(yaw=0.35), points(pitch=0.15), points(roll=0.2)
    assert (right["nose"][:, 1] > front["nose"][:, 1] + 0.02).all()
    assert (right["left ear"][:, 1] < front["left ear"][:, 1]).all()  # what is behind moves the other way
    width = {name: p["right eye"][:, 1] - p["left eye"][:, 1] for name, p in (("front", front), ("right", right))}
    assert (width["right"] < width["front"]).all()  # foreshortened
    assert (down["nose"][:, 0] > front["nose"][:, 0]).all()
    eyes = (tilted["right eye"] - tilted["left eye"]).T
    np.testing.assert_allclose(np.arctan2(*eyes), 0.2, atol=1e-5)
    np.testing.assert_allclose(front["left eye"][:, 0], front["right eye"][:, 0], atol=1e-6)


def test_poses_of_a_film_differ_little_from_frame_to_frame(found):
    """A hundredth of the range of yaw moves borders by a fraction of a pixel: no part jumps or flickers."""
    one = {name: found[name][:20] for name in ATTRIBUTES}
    steps = [faces.render({**one, "yaw": one["yaw"] + np.float32(d)}, SIZE)["image"].astype(int) for d in (0.0, 0.008)]
    assert 0 < np.abs(steps[1] - steps[0]).mean() < 1.0


def test_captions_say_what_is_seen(found):
    for i in SOME:
        caption = found["caption"][i]
        assert ATTRIBUTES["skin"].names[found["skin"][i]] in caption
        assert ATTRIBUTES["background"].names[found["background"][i]] in caption
        for name in ("glasses", "hat", "beard"):
            for number, word in enumerate(ATTRIBUTES[name].names):
                assert number == 0 or (f" {word}" in caption) == (found[name][i] == number)
        assert " a orange" not in caption
        assert " a auburn" not in caption
        assert "  " not in caption


def test_continuous_attributes_are_ranges():
    assert {type(kind) for kind in ATTRIBUTES.values()} == {Choice, Range}
    assert len(np.unique(Faces(fields=("yaw",)).read(np.arange(1000))["yaw"])) > 990


def test_faces_may_be_alike():
    """In what is named, as the first is, and in nothing else; whichever records are asked for together."""
    fields = ("skin", "hair", "yaw", "image")
    free, some = Faces(fields=fields).read(SOME), Faces(fields=fields, alike=("skin", "yaw")).read(SOME)
    for name in ("skin", "yaw"):
        assert set(some[name]) == set(Faces(fields=(name,)).read(np.array([0]))[name])
    np.testing.assert_array_equal(some["hair"], free["hair"])
    alone = Faces(fields=fields, alike=("skin", "yaw")).read(SOME[-1:])
    np.testing.assert_array_equal(alone["image"][0], some["image"][-1])


@pytest.mark.parametrize(
    "wrong",
    [{"fields": ("images",)}, {"fields": ("image", "hairs")}, {"alike": ("hairs",)}, {"resolution": (3, 64)}],
)
def test_mistakes_are_explained(wrong):
    with pytest.raises(InputError, match=r"Did you mean|at least 4"):
        Faces(**wrong)

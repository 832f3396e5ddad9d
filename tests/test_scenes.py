"Scenes: windows, layouts, colours, 16 bits, streams, blended prediction, faults."

import warnings

import numpy as np
import pytest
import rasterio
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clnb import scenes as S
from clnb.core import generator
from clnb.data import load
from clnb.metrics import confusion_matrix, kappa
from clnb.run import Method, Run


def picture(channels=3, height=70, width=90, seed=0, high=256, dtype=torch.uint8):
    return torch.randint(0, high, (channels, height, width), generator=generator(seed)).to(dtype)


def numbers(height=70, width=90, seed=1):
    return torch.randint(0, 6, (height, width), generator=generator(seed)).to(torch.uint8)


COLOURS = np.array(list(S.ISPRS.values()), np.uint8)


def write_tiff(path, values, **options):
    values = np.asarray(values)
    profile = {"driver": "GTiff", "count": len(values), "height": values.shape[1], "width": values.shape[2],
               "dtype": values.dtype, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", **profile) as file: file.write(values)
    return path


def coloured(classes): return COLOURS[np.asarray(classes)].transpose(2, 0, 1)


# windows

@settings(max_examples=60, deadline=None)
@given(st.integers(-60, 80), st.integers(1, 40), st.integers(1, 60))
def test_lines_are_continued_by_reflection(start, length, size):
    found = S._reflected(start, length, size)
    wide = np.pad(np.arange(size), 200, mode="reflect") if size > 1 else np.zeros(401 + size, int)
    assert found.tolist() == wide[start + 200:start + 200 + length].tolist()


FORMS = {"plain": {}, "lzw": {"compress": "lzw"}, "deflate, tiled": {"compress": "deflate", "tiled": True,
                                                                    "blockxsize": 32, "blockysize": 32},
         "by band": {"interleave": "band"}}


@pytest.mark.parametrize("channels, dtype", [(3, np.uint8), (4, np.uint16), (1, np.float32)])
@pytest.mark.parametrize("form", FORMS)
def test_tiff_is_read_in_windows(tmp_path, form, channels, dtype):
    values = picture(channels, high=250).numpy().astype(dtype)
    raster = S.Raster(write_tiff(tmp_path / "a.tif", values, **FORMS[form]))
    assert raster.shape == values.shape and raster.dtype == dtype
    wide = np.pad(values, ((0, 0), (20, 20), (20, 20)), mode="reflect")
    for top, left, h, w in ((0, 0, 70, 90), (13, 50, 21, 33), (-7, -9, 40, 30), (60, 80, 25, 25)):
        assert (raster.read(top, left, h, w) == wide[:, 20 + top:20 + top + h, 20 + left:20 + left + w]).all()
    assert (raster.read(1, 2, 3, 4, [channels - 1]) == values[-1:, 1:4, 2:6]).all()


def test_png_and_arrays_are_pictures_too(tmp_path):
    x = picture()
    Image.fromarray(x.permute(1, 2, 0).numpy()).save(tmp_path / "a.png")
    for source in (tmp_path / "a.png", str(tmp_path / "a.png"), x, x.numpy()):
        assert S.Scene(source).read(5, 6, 7, 8).equal(x[:, 5:12, 6:14])


# 16 bits and bands

def test_sixteen_bits_are_stretched_once_for_the_scene(tmp_path):
    values = (1000 + 20 * torch.arange(6300).view(1, 70, 90)).numpy().astype(np.uint16)
    scene = S.Scene(write_tiff(tmp_path / "a.tif", values))
    low, high = np.quantile(values, (0.02, 0.98))
    expected = ((values - low) / (high - low)).clip(0, 1) * 255
    assert np.abs(scene.read(0, 0, 70, 90).numpy() - expected).max() <= 0.51
    assert scene.read(40, 3, 10, 10).equal(scene.read(0, 0, 70, 90)[:, 40:50, 3:13])        # the same in every window
    fixed = S.Scene(values, span=[(0, 65535)])
    assert np.abs(fixed.read(0, 0, 70, 90).numpy() - values / 257).max() <= 0.51


def test_a_flat_or_broken_band_is_no_nan():
    values = np.full((2, 20, 20), np.nan, np.float32)
    values[0] = 3
    found = S.Scene(values).read(0, 0, 20, 20)
    assert found.dtype == torch.uint8 and found[1].eq(0).all()


def test_bands_are_chosen():
    x = picture(4)
    assert S.Scene(x, bands=(3, 0)).read(0, 0, 5, 5).equal(x[[3, 0], :5, :5])
    with pytest.raises(ValueError, match=r"bands are \(0, 4\), but the picture has 4: 0 to 3"): S.Scene(x, bands=(0, 4))


# labels

def test_colours_are_classes_and_black_is_none():
    truth = numbers()
    colours = coloured(truth)
    colours[:, 3, 4] = 0
    found = S.Scene(picture(), colours).read_labels(0, 0, 70, 90)
    truth[3, 4] = 255
    assert found.equal(truth)


def test_unknown_colours_and_numbers_are_named():
    colours = coloured(numbers())
    colours[:, 60:62, 7] = np.array([[10], [20], [30]])
    scene = S.Scene(picture(), colours, name="north")
    with pytest.raises(ValueError, match=r"north, labels: 2 pixels .* first \(10, 20, 30\) at row 60, column 7"):
        scene.read_labels(0, 0, 70, 90)
    assert scene.read_labels(0, 0, 60, 90).equal(numbers()[:60])            # other windows are fine
    table = {**S.ISPRS, "boat": (10, 20, 30)}
    assert (S.Scene(picture(), colours, classes=table).read_labels(60, 7, 2, 1) == 6).all()
    wrong = numbers()
    wrong[0, 0] = 9
    with pytest.raises(ValueError, match="found the number 9; expected 0 to 5, or 255"):
        S.Scene(picture(), wrong).read_labels(0, 0, 4, 4)
    with pytest.raises(ValueError, match="scene has no labels"): S.Scene(picture()).read_labels(0, 0, 4, 4)


def test_parts_that_do_not_fit():
    with pytest.raises(ValueError, match="they must have one size"): S.Scene(picture(), numbers(70, 89))
    with pytest.raises(ValueError, match="a picture is an array"): S.Scene(np.zeros((2, 3, 4, 5)))


# folders

def potsdam(folder, count=3, product="RGB", channels=3):
    for k in range(count):
        write_tiff(folder / f"top_potsdam_2_{10 + k}_{product}.tif", picture(channels, seed=k))
        write_tiff(folder / f"top_potsdam_2_{10 + k}_label.tif", coloured(numbers(seed=k)))


def test_potsdam(tmp_path):
    potsdam(tmp_path)
    (tmp_path / "4_Ortho_RGBIR").mkdir()
    write_tiff(tmp_path / "4_Ortho_RGBIR" / "top_potsdam_2_10_RGBIR.tif", picture(4, seed=9))
    scenes = S.open_scenes(tmp_path)
    assert [s.name for s in scenes] == [f"top_potsdam_2_{k}_RGB" for k in (10, 11, 12)]
    assert scenes[2].read_labels(0, 0, 70, 90).equal(numbers(seed=2))
    four = S.open_scenes(tmp_path, product="RGBIR")
    assert len(four) == 1 and four[0].image.shape[0] == 4
    assert four[0].read_labels(0, 0, 9, 9).equal(numbers(seed=0)[:9, :9])


def test_vaihingen(tmp_path):
    for name in ("top", "gts_for_participants"): (tmp_path / name).mkdir()
    for k in (1, 3):
        write_tiff(tmp_path / "top" / f"top_mosaic_09cm_area{k}.tif", picture(seed=k))
        write_tiff(tmp_path / "gts_for_participants" / f"top_mosaic_09cm_area{k}.tif", coloured(numbers(seed=k)))
    scenes = S.open_scenes(tmp_path)
    assert len(scenes) == 2 and scenes[1].read(0, 0, 70, 90).equal(picture(seed=3))
    assert scenes[1].read_labels(0, 0, 70, 90).equal(numbers(seed=3))


@pytest.mark.parametrize("names", [("images", "masks"), ("image", "labels")])
def test_pairs(tmp_path, names):
    for name in names: (tmp_path / name).mkdir()
    for k in "ab":
        Image.fromarray(picture().permute(1, 2, 0).numpy()).save(tmp_path / names[0] / f"{k}.jpg")
        Image.fromarray(coloured(numbers()).transpose(1, 2, 0)).save(tmp_path / names[1] / f"{k}.png")
    scenes = S.open_scenes(tmp_path)
    assert len(scenes) == 2 and scenes[0].read_labels(0, 0, 70, 90).equal(numbers())


def test_folders_that_lack_something(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such folder"): S.open_scenes(tmp_path / "none")
    with pytest.raises(ValueError, match="0 pictures, but none named"): S.open_scenes(tmp_path)
    potsdam(tmp_path)
    (tmp_path / "top_potsdam_2_11_label.tif").unlink()
    with pytest.raises(ValueError, match=r"no labels for 2_11 \(1 of 3\)"): S.open_scenes(tmp_path)
    assert [s.labels is None for s in S.open_scenes(tmp_path, labelled=False)] == [False, True, False]
    with pytest.raises(ValueError, match="layout must be one of"): S.open_scenes(tmp_path, "berlin")


def test_damaged_files(tmp_path):
    path = write_tiff(tmp_path / "a.tif", picture(3, 400, 400))
    path.write_bytes(path.read_bytes()[:200_000])
    with pytest.raises(ValueError, match=r"a\.tif: (rows .* cannot be read|cannot be read as TIFF)"):
        S.Scene(path).read(300, 0, 100, 400)
    (tmp_path / "b.tif").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"b\.tif: cannot be read as TIFF"): S.Scene(tmp_path / "b.tif")
    with pytest.raises(FileNotFoundError, match=r"c\.tif"): S.Scene(tmp_path / "c.tif")


# tiles

def test_tiles_cover_the_scene_and_keep_scenes_apart():
    scenes = [S.Scene(picture(seed=k), numbers(seed=k)) for k in range(3)]
    data = S.scene_tiles(scenes, 32)
    assert len(data) == 3 * 3 * 3 and data.patient.bincount().tolist() == [9, 9, 9]
    seen = torch.zeros(70, 90, dtype=torch.bool)
    for (number, top, left), image, mask in zip(S.TileStream(scenes, 32).places, data.images, data.masks, strict=True):
        assert image.equal(picture(seed=number)[:, top:top + 32, left:left + 32])
        assert mask.equal(numbers(seed=number)[top:top + 32, left:left + 32])
        if number == 0: seen[top:top + 32, left:left + 32] = True
    assert seen.all()
    with pytest.raises(ValueError, match="a tile of 71; take smaller tiles, at most 70"): S.scene_tiles(scenes, 71)
    with pytest.raises(ValueError, match="there are no scenes"): S.scene_tiles([])
    with pytest.raises(ValueError, match="the scenes differ"): S.TileStream([scenes[0], S.Scene(picture(4))], 32)


class Counting(Method):
    "A method that only remembers which tiles it saw."

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.optimizer, self.seen = torch.optim.SGD(self.parameters(), lr=0.1), []

    def loss(self, batch):
        self.seen.append(batch.images.float().mean((1, 2, 3)))
        return {"loss": (self.weight - batch.masks.float().mean()) ** 2}


def test_a_run_trains_on_a_stream_as_on_a_set(tmp_path):
    potsdam(tmp_path)
    scenes, seen = S.open_scenes(tmp_path), []
    stream, held = S.TileStream(scenes, 32, per_scene=4, seed=3), S.scene_tiles(scenes, 32, per_scene=4, seed=3)
    assert stream.shape == held.shape and stream.groups.equal(held.patient)
    for data in (stream, held):
        method = Counting()
        for _ in Run(method, data, steps=6, batch_size=4, seed=1, progress=False): pass
        seen.append(torch.stack(method.seen))
    assert seen[0].equal(seen[1])


# prediction

MEANS = torch.rand(6, 3, generator=generator(5)) * 255


def by_colour(tiles): return -(tiles.float()[:, None] - MEANS[None, :, :, None, None]).square().sum(2) / 800


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 120), st.integers(3, 120), st.integers(8, 64), st.integers(0, 32), st.integers(1, 5))
def test_a_pointwise_model_sees_no_tiles(height, width, size, overlap, batch):
    x = picture(3, height, width)
    found, sure = S.predict_scene(by_colour, S.Scene(x), size, min(overlap, size // 2), batch, confidence=True)
    p = by_colour(x[None])[0].softmax(0)
    assert found.equal(p.argmax(0).to(torch.uint8)) and torch.allclose(sure.float(), p.amax(0), atol=2e-3)


def test_weights_of_neighbours_sum_to_one():
    for size, overlap in ((64, 16), (10, 5), (7, 0)):
        w = S.ramp(size, overlap)
        assert len(w) == size and (w > 0).all()
        assert torch.allclose(w[size - overlap:] + w[:overlap], torch.ones(overlap))


def test_a_constant_of_the_tile_is_blended_linearly():
    calls = []

    def left_or_right(tiles):                       # the first tile says class 0, the second class 1
        calls.append(len(tiles))
        found = torch.zeros(len(tiles), 2, 16, 16)
        for k in range(len(tiles)): found[k, k % 2] = 20
        return found

    found, sure = S.predict_scene(left_or_right, S.Scene(picture(3, 12, 16)), 16, 8, confidence=True)
    assert calls == [2, 2] and (found[:, :7] == 0).all() and (found[:, 9:] == 1).all()
    line = sure[6].float()
    assert line[0] > 0.99 and line[15] > 0.99 and line.min() < 0.6


def test_a_scene_is_read_and_summed_in_bands(monkeypatch):
    scene, read, kept = S.Scene(picture(3, 2000, 300)), [], []
    whole, join = scene.read, torch.cat
    monkeypatch.setattr(scene, "read", lambda *window: read.append(window) or whole(*window))
    monkeypatch.setattr(S.torch, "cat", lambda x, dim=0: kept.append(sum(map(torch.numel, x))) or join(x, dim))
    S.predict_scene(by_colour, scene, 64, 16)
    assert {window[2] for window in read} == {64} and max(kept) == 6 * 64 * (300 + 2 * 16 + 20)
    assert len(read) == len(kept) - 1 == 42                             # every row of tiles once


def test_scores_of_a_scene_are_counted_in_bands():
    truth, found = numbers(), numbers(seed=7)
    truth[:30] = 255
    table = S.score_scene(found, S.Scene(picture(), truth), band=16)
    assert table.equal(confusion_matrix(found, truth, 6, 255)) and kappa(table).abs() < 0.1
    with pytest.raises(ValueError, match=r"has \[5, 5\] pixels, scene has \[70, 90\]"):
        S.score_scene(found[:5, :5], S.Scene(picture(), truth))
    with pytest.raises(ValueError, match="neighbours share 0 to 32 of 64"):
        S.predict_scene(by_colour, S.Scene(picture()), 64, 33)


def test_a_trained_segmenter_predicts_a_scene():
    from clnb import nets
    from clnb.methods.glcnet import Segmenter

    method = Segmenter(nets.small_segmenter(3, 8, 8), 6).eval()
    found = S.predict_scene(method.scores, S.Scene(picture(3, 100, 130)), 48, 16)
    assert found.shape == (100, 130) and load("tiles").classes == tuple(S.ISPRS)

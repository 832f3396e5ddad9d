"The batched augmentations against torchvision, sample by sample, and their laws, faults and properties."

import math
import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torchvision.transforms.functional as V
from scipy import stats
from torchvision import transforms as T

from clnb import augment as A
from clnb.core import generator, rebuild, recipe

SHAPES = [(7, 3, 32, 32), (5, 3, 24, 40), (1, 3, 17, 9), (4, 1, 28, 28)]


def images(shape, seed=0, dtype=torch.float32):
    return torch.rand(shape, generator=generator(seed), dtype=dtype)


def each(x, function):
    return torch.stack([function(image, i) for i, image in enumerate(x)])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [(32, 32), (20, 27), (48, 50), (8, 8)])
def test_crop_is_torchvisions_antialiased_resized_crop(shape, size):
    x = images(shape)
    y, params = A.RandomResizedCrop(size).with_params(x, generator=generator(1))
    expected = each(x, lambda im, i: V.resized_crop(im, *params["crop"][i].tolist(), list(size), antialias=True))
    assert y.shape[2:] == size
    assert torch.allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_colour_jitter_is_torchvisions_in_the_drawn_order(shape):
    x = images(shape)
    y, params = A.ColorJitter(0.8, 0.8, 0.8, 0.4, p=0.7).with_params(x, generator=generator(2))
    adjust = [("brightness", V.adjust_brightness), ("contrast", V.adjust_contrast),
              ("saturation", V.adjust_saturation), ("hue", V.adjust_hue)]

    def jitter(image, i):
        for k in params["order"][i].tolist():
            name, change = adjust[k]
            image = change(image, params[name][i].item())
        return image

    assert torch.allclose(y, each(x, jitter), atol=1e-5)
    assert y[~params["jittered"]].allclose(x[~params["jittered"]], atol=1e-6)


def both_ways(aug, x, seed=0):
    "The compiled loops and the torch definition, with one draw."
    params = aug.draw(x, generator(seed))
    needs_gradient = x.clone().requires_grad_()
    return aug.apply(x, params), aug.apply(needs_gradient, params).detach(), params


CHANGES = {
    "crop": A.RandomResizedCrop((20, 27)), "flip": A.HorizontalFlip(),
    "affine": A.Affine(30, (0.1, 0.2), (0.7, 1.3), 10),
    "jitter": A.ColorJitter(0.8, 0.8, 0.8, 0.4, p=0.8), "grey": A.Grayscale(0.5), "solarize": A.Solarize(0.4, 0.5),
    "blur": A.GaussianBlur(5), "noise": A.Noise(0.1), "cutout": A.Cutout((0.1, 0.6)), "simclr": A.simclr(40),
    "digits": A.affine_noise(), "nothing": A.identity(), "upside down": A.VerticalFlip(),
    "light": A.ColourCast(0.5, 0.2), "one band": A.OneBand(0.5), "aerial": A.aerial(24),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", CHANGES)
def test_compiled_and_torch_forms_agree(name, shape):
    fast, plain, _ = both_ways(CHANGES[name], images(shape))
    assert torch.allclose(fast, plain, atol=5e-6)


CHAINS = {
    "crop last": A.Compose([A.HorizontalFlip(), A.ColorJitter(0.8, 0.8, 0.8, 0.2), A.RandomResizedCrop(24)]),
    "two crops": A.Compose([A.RandomResizedCrop(40), A.RandomResizedCrop((16, 20)), A.HorizontalFlip(),
                            A.HorizontalFlip()]),
    "torch in the middle": A.Compose([A.Grayscale(0.5), A.Affine(20), A.GaussianBlur(5), A.Noise(0.1),
                                      A.Solarize(0.5)]),
    "in one another": A.Compose([A.Compose([A.RandomResizedCrop(36), A.Grayscale()]), A.Compose([A.GaussianBlur(23)])]),
    "byol": A.Compose([A.RandomResizedCrop(32), A.HorizontalFlip(), A.ColorJitter(0.4, 0.4, 0.2, 0.1, 0.8),
                       A.Grayscale(), A.GaussianBlur(5, p=0.5), A.Solarize(p=0.5)]),
}


@pytest.mark.parametrize("count", [1, 3, 70])
@pytest.mark.parametrize("name", CHAINS)
def test_chains_are_their_steps_one_after_the_other(name, count):
    x, aug = (images((count, 3, 33, 41)) * 255).to(torch.uint8), CHAINS[name]
    params, kept = aug.draw(x, generator(1)), x.clone()
    y = aug.apply(x, params)
    step_by_step = x.double() / 255
    for part in params.parts:
        step_by_step = part.maker.apply(step_by_step, part)
    assert torch.allclose(y.double(), step_by_step, atol=1e-5) and x.equal(kept)


def test_a_chain_takes_images_of_any_layout_and_of_leaves():
    x, aug = images((9, 3, 34, 30)), A.simclr(40)
    params = aug.draw(x, generator(0))
    y = aug.apply(x, params)
    assert y.equal(aug.apply(x.to(memory_format=torch.channels_last), params))
    assert y.equal(aug.apply(x.mT.contiguous().mT, params))
    with torch.no_grad():
        assert y.equal(aug.apply(x.clone().requires_grad_(), params))
    chosen = torch.arange(9).flip(0)
    assert y.flip(0).equal(aug.apply(x.flip(0), params.select(chosen)))


def test_threads_at_the_same_time_get_the_same_views():
    x, aug = images((64, 3, 48, 48)), A.simclr(48)
    expected = [aug(x, generator(seed)) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda seed: aug(x, generator(seed)), range(8)))
    assert all(a.equal(b) for a, b in zip(expected, found, strict=True))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
def test_a_forked_process_makes_views():
    x, aug = images((64, 3, 48, 48)), A.simclr(48)
    expected = aug(x, generator(3))

    def work():
        y = aug(x, generator(3))
        torch.set_num_threads(1)             # torch's own threads do not survive a fork
        os._exit(0 if y.equal(expected) else 1)

    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(30)
    hung = child.is_alive()
    child.kill()
    assert not hung and child.exitcode == 0


@pytest.mark.parametrize("kernel", [1, 3, 9, 11, 23, 31])
def test_blurs_of_every_kernel_are_torchvisions(kernel):
    x = images((4, 3, 18, 29))
    y, params = A.GaussianBlur(kernel, (0.5, 9.0), p=1).with_params(x, generator(3))
    assert torch.allclose(y, each(x, lambda im, i: V.gaussian_blur(im, kernel, params["sigma"][i].item())), atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_blur_is_torchvisions(shape):
    x = images(shape)
    y, params = A.GaussianBlur(7, (0.1, 2.0), p=0.6).with_params(x, generator(3))

    def blur(image, i):
        return V.gaussian_blur(image, 7, params["sigma"][i].item()) if params["blurred"][i] else image

    assert torch.allclose(y, each(x, blur), atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_flip_grey_and_solarize_are_torchvisions(shape):
    x = images(shape)
    for aug, key, change in [(A.HorizontalFlip(), "flip", V.hflip), (A.VerticalFlip(), "upside down", V.vflip),
                             (A.Grayscale(0.5), "grey", lambda im: V.rgb_to_grayscale(im, im.shape[0])),
                             (A.Solarize(0.3, 0.5), "solarized", lambda im: V.solarize(im, 0.3))]:
        y, params = aug.with_params(x, generator(4))
        expected = [change(image) if chosen else image for image, chosen in zip(x, params[key], strict=True)]
        assert torch.allclose(y, torch.stack(expected), atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_affine_is_torchvisions(shape):
    x = images(shape)
    y, params = A.Affine(40, (0.2, 0.1), (0.6, 1.5), (-20, 20, -10, 10)).with_params(x, generator(5))

    def move(image, i):
        angle, shift, scale, shear = (params[k][i].tolist() for k in ("angle", "shift", "scale", "shear"))
        return V.affine(image, angle, shift, scale, shear, interpolation=T.InterpolationMode.BILINEAR)

    assert torch.allclose(y, each(x, move), atol=2e-5)


def test_crop_law_is_torchvisions():
    x = torch.zeros(4000, 1, 40, 60)
    for scale, ratio in [((0.08, 1.0), (3 / 4, 4 / 3)), ((0.6, 1.0), (0.2, 0.5))]:      # the second often falls back
        torch.manual_seed(0)
        reference = torch.tensor([T.RandomResizedCrop.get_params(x[0], scale, ratio) for _ in range(4000)])
        mine = A.RandomResizedCrop(8, scale, ratio).draw(x, generator(1))["crop"]
        for k in range(4):
            assert stats.ks_2samp(mine[:, k], reference[:, k]).pvalue > 1e-3
        area = [boxes[:, 2] * boxes[:, 3] for boxes in (mine, reference)]
        assert stats.ks_2samp(*area).pvalue > 1e-3
        assert (mine[:, :2] >= 0).all() and (mine[:, :2] + mine[:, 2:] <= torch.tensor([40, 60])).all()


def test_jitter_law_is_torchvisions():
    params = A.ColorJitter(0.8, (0.5, 2.0), 1.5, 0.2, p=0.8).draw(torch.zeros(6000, 3, 2, 2), generator(2))
    chosen = params["jittered"]
    assert abs(chosen.float().mean() - 0.8) < 0.02
    for name, (low, high) in {"brightness": (0.2, 1.8), "contrast": (0.5, 2.0), "saturation": (0.0, 2.5),
                              "hue": (-0.2, 0.2)}.items():
        assert stats.kstest(params[name][chosen], stats.uniform(low, high - low).cdf).pvalue > 1e-3
    codes = (params["order"] * torch.tensor([64, 16, 4, 1])).sum(1)
    counts = torch.unique(codes, return_counts=True)[1]
    assert len(counts) == 24 and stats.chisquare(counts).pvalue > 1e-3


def test_factors_do_not_hang_together():
    params = A.ColorJitter(0.5, 0.5, 0.5, 0.2).draw(torch.zeros(4000, 3, 2, 2), generator(3))
    drawn = torch.stack([params[name] for name in ("brightness", "contrast", "saturation", "hue")])
    assert (torch.corrcoef(drawn) - torch.eye(4)).abs().max() < 0.06


@pytest.mark.parametrize("name", CHANGES)
def test_generator_decides_everything_and_alone(name):
    x, aug = images((6, 3, 32, 32)), CHANGES[name]
    state = torch.random.get_rng_state()
    first, again = aug(x, generator=generator(9)), aug(x, generator=generator(9))
    assert first.equal(again) and state.equal(torch.random.get_rng_state())
    torch.manual_seed(1)
    default = aug(x)
    torch.manual_seed(1)
    assert default.equal(aug(x))


@pytest.mark.parametrize("name", CHANGES)
def test_input_is_left_alone_and_samples_are_independent(name):
    x, aug = images((6, 3, 32, 32)), CHANGES[name]
    kept, params = x.clone(), aug.draw(x, generator(8))
    y = aug.apply(x, params)
    assert x.equal(kept) and y.data_ptr() != x.data_ptr()
    for i in (0, 3):
        assert torch.allclose(aug.apply(x[i:i + 1], params.select(slice(i, i + 1))), y[i:i + 1], atol=1e-6)
    chosen = torch.tensor([4, 1])
    assert torch.allclose(aug.apply(x[chosen], params.select(chosen)), y[chosen], atol=1e-6)


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(name, dtype):
    x = images((5, 3, 32, 32))
    given = (x * 255).to(torch.uint8) if dtype == torch.uint8 else x.to(dtype)
    aug = CHANGES[name]
    params = aug.draw(given, generator(0))
    y = aug.apply(given, params)
    assert y.dtype == (torch.float32 if dtype == torch.uint8 else dtype) and y.isfinite().all()
    reference = aug.apply(given.float() / (255 if dtype == torch.uint8 else 1), params)
    assert torch.allclose(y.float(), reference, atol=0.01 if dtype == torch.bfloat16 else 1e-3)


def test_autocast_does_not_lower_the_precision():
    x, aug = images((4, 3, 32, 32)).requires_grad_(), A.simclr(48)
    params = aug.draw(x, generator(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = aug.apply(x, params)
    assert y.dtype == torch.float32 and y.equal(aug.apply(x, params))


@pytest.mark.parametrize("name", ["crop", "flip", "affine", "jitter", "grey", "blur", "noise", "cutout"])
def test_gradients(name):
    x = (images((2, 3, 6, 5), dtype=torch.float64) * 0.5 + 0.25).requires_grad_()
    aug = {"crop": A.RandomResizedCrop(4), "blur": A.GaussianBlur(3, 1.0, 1.0), "noise": A.Noise(0.01),
           "jitter": A.ColorJitter(0.1, 0.1, 0.1, 0.1)}.get(name, CHANGES[name])
    params = aug.draw(x, generator(0))
    assert torch.autograd.gradcheck(lambda image: aug.apply(image, params), (x,))


def test_grey_and_black_pixels_have_finite_gradients():
    x = torch.zeros(2, 3, 4, 4, requires_grad=True)
    A.ColorJitter(0.5, 0.5, 0.5, (0.1, 0.2))(x, generator(0)).sum().backward()
    assert x.grad.isfinite().all()


def test_one_draw_for_many():
    x, aug = images((10, 3, 32, 32)), A.simclr(36)
    params = aug.draw(x[:1], generator(0))
    assert torch.allclose(aug.apply(x, params)[7:8], aug.apply(x[7:8], params), atol=1e-6)
    with pytest.raises(ValueError, match="cannot be applied to 3"):
        aug.apply(x[:3], aug.draw(x))
    with pytest.raises(ValueError, match="drawn for images of"):
        aug.apply(images((1, 3, 16, 16)), params)
    with pytest.raises(ValueError, match="drawn by"):
        A.identity().apply(x, params)


def test_points_follow_the_pixels():
    "A bright pixel's centre of mass lands where map_points says."
    at = torch.tensor([[20.0, 12.0]]).expand(12, 1, 2)
    x = torch.zeros(12, 1, 32, 48)
    x[:, :, 10:15, 18:23] = 1
    turn = A.Affine(25, (0.05, 0.05), (0.9, 1.1), 5)
    aug = A.Compose([A.RandomResizedCrop((40, 36), (0.7, 1.0)), A.HorizontalFlip(), turn])
    y, params = aug.with_params(x, generator(1))
    total = y.sum((1, 2, 3))
    rows, columns = torch.arange(40.0)[:, None], torch.arange(36.0)
    seen = torch.stack([(y[:, 0] * columns).sum((1, 2)) / total, (y[:, 0] * rows).sum((1, 2)) / total], 1)
    found = params.map_points(at)[:, 0]
    whole = ((found > 8) & (found < torch.tensor([28.0, 32.0]))).all(1)          # far from every border
    assert whole.sum() >= 4
    assert torch.allclose(found[whole], seen[whole], atol=0.35)
    assert torch.allclose(params.source_points(params.map_points(at)), at, atol=1e-3)


def test_masks_and_index_image():
    x = images((6, 3, 30, 26))
    params = A.Compose([A.RandomResizedCrop(20, (0.3, 1.0)), A.HorizontalFlip()]).draw(x, generator(2))
    ids = torch.arange(30 * 26).view(1, 30, 26).expand(6, -1, -1)
    index = params.source_index()
    assert index.equal(params.apply_mask(ids, fill=-1)) and index.shape == (6, 20, 20) and (index >= 0).all()
    for i in range(6):
        cropped = V.resized_crop(ids[i:i + 1].float(), *params["crop"][i].tolist(), [20, 20],
                                 interpolation=T.InterpolationMode.NEAREST_EXACT).long()[0]
        assert index[i].equal(cropped.flip(1) if params["flip"][i] else cropped)
    mask = torch.randint(0, 5, (6, 30, 26), dtype=torch.uint8, generator=generator(0))
    moved = A.Affine(40).draw(x, generator(0)).apply_mask(mask, fill=9)
    assert moved.dtype == torch.uint8 and moved.shape == mask.shape and (moved == 9).any()
    with pytest.raises(ValueError, match="the mask must be"):
        params.apply_mask(mask[:, :-1])
    with pytest.raises(ValueError, match="points must be"):
        params.map_points(torch.zeros(3, 2))


def test_what_a_crop_cut_away_does_not_come_back_in_the_mask():
    x = torch.ones(8, 1, 40, 36)
    aug = A.Compose([A.RandomResizedCrop(30, (0.2, 0.5)), A.Compose([A.HorizontalFlip(), A.Affine(40, (0.2, 0.2))])])
    y, params = aug.with_params(x, generator(3))
    index = params.source_index()[:, None]
    assert (y < 1e-3).any() and (index[y < 1e-3] == -1).all() and (index[y > 0.999] >= 0).all()
    assert params.apply_mask(torch.ones(8, 1, 40, 36)).equal((index >= 0).float())


def test_cutout_box_and_noise_level():
    x = torch.ones(400, 1, 20, 30)
    y, params = A.Cutout(0.5).with_params(x, generator(0))
    box = params["box"]
    assert (y == 0).sum((1, 2, 3)).equal((box[:, 1] - box[:, 0]) * (box[:, 3] - box[:, 2]))
    assert (y == 0).sum((1, 2, 3)).max() == 10 * 15
    assert abs(A.Noise(0.1, clip=False)(x, generator(0)).std().item() - 0.1) < 1e-3
    assert A.Noise(0.5)(x, generator(0)).max() <= 1


def test_empty_batch_and_words():
    for aug in CHANGES.values():
        y, params = aug.with_params(torch.zeros(0, 3, 32, 32, dtype=torch.uint8))
        assert y.shape[0] == 0 and y.dtype == torch.float32 and y.shape[2:] == params.out_size
    _, params = A.simclr(96).with_params(images((50, 3, 96, 96)), generator(0))
    words = [params.describe(i) for i in range(50)]
    assert all(word.startswith("crop 0.") or word.startswith("crop 1.") for word in words) and len(set(words)) == 50
    assert any("flip" in word for word in words) and any("brightness" in word for word in words)
    assert A.identity().draw(images((1, 3, 4, 4))).describe(0) == "unchanged"
    with pytest.raises(KeyError, match="nothing named 'colour'"):
        params["colour"]


def test_recipes():
    for aug in CHANGES.values():
        assert repr(rebuild(recipe(aug))) == repr(aug)


def test_presets():
    kinds = [type(part).__name__ for part in A.simclr(96).augmentations]
    assert kinds == ["RandomResizedCrop", "HorizontalFlip", "ColorJitter", "Grayscale", "GaussianBlur"]
    assert len(A.simclr(32).augmentations) == 4 and A.simclr(224).augmentations[4].kernel == 23
    turn = A.affine_noise().augmentations[0]
    assert math.isclose(math.radians(turn.degrees[1]), 0.35) and turn.translate == (0.125, 0.125)
    still = images((3, 1, 8, 8))
    assert torch.allclose(A.affine_noise(0.0)(still), still, atol=1e-5)


@pytest.mark.parametrize("make", [
    lambda: A.RandomResizedCrop(0), lambda: A.RandomResizedCrop((8, 8, 8)), lambda: A.RandomResizedCrop(8, (0.5, 0.1)),
    lambda: A.RandomResizedCrop(8, (0.0, 1.5)), lambda: A.RandomResizedCrop(8, ratio=(-1, 1)),
    lambda: A.HorizontalFlip(1.5),
    lambda: A.ColorJitter(-0.1), lambda: A.ColorJitter(hue=0.6), lambda: A.ColorJitter(contrast=(2, 1)),
    lambda: A.ColorJitter("strong"), lambda: A.GaussianBlur(4), lambda: A.GaussianBlur(3, (2, 1)),
    lambda: A.GaussianBlur(3, 0),
    lambda: A.Solarize(128), lambda: A.Affine(scale=(0, 1)), lambda: A.Affine(translate=0.1),
    lambda: A.Affine(shear=95),
    lambda: A.Cutout(2.0), lambda: A.Noise(-1), lambda: A.Compose([torch.relu]), lambda: A.simclr(32, -1),
    lambda: A.simclr(32)(torch.rand(3, 32, 32)), lambda: A.simclr(32)(torch.rand(2, 2, 32, 32)),
    lambda: A.simclr(32)(torch.zeros(2, 3, 32, 32, dtype=torch.long)), lambda: A.simclr(32)([1]),
    lambda: A.GaussianBlur(9)(torch.rand(1, 3, 4, 40)), lambda: A.identity()(torch.rand(2, 3, 0, 4)),
])
def test_bad_arguments(make):
    with pytest.raises((ValueError, TypeError)):
        make()


# ---- vectors -------------------------------------------------------------------------------------------------------

STD = [0.3] * 48 + [2.0] * 16


def vectors(n=2000, d=64, dtype=torch.float32):
    return 3 * torch.randn(n, d, generator=generator(1), dtype=dtype)


@pytest.mark.parametrize("std", [0.7, STD, 0.0])
def test_vector_noise_is_gaussian_of_the_given_width(std):
    x, aug = vectors(4000), A.VectorNoise(std)
    y, params = aug.with_params(x, generator=generator(2))
    noise, widths = (y - x).double(), torch.tensor(std, dtype=torch.float64).expand(64)
    assert torch.allclose(noise.std(0), widths, rtol=0.06, atol=1e-12) and (y - x - params["noise"]).abs().max() < 1e-5
    assert params.count == len(params) == 4000 and params.names() == ["noise"]
    assert params.in_size == params.out_size == ()
    if std == 0.0: return
    unit = noise / widths
    assert stats.kstest(unit.flatten()[::7].numpy(), "norm").pvalue > 1e-3
    assert (torch.corrcoef(unit.T) - torch.eye(64)).abs().max() < 0.1       # coordinates are independent
    assert torch.corrcoef(unit[:100]).sub(torch.eye(100)).abs().max() < 0.7     # and so are samples


@pytest.mark.parametrize("std", [0.7, STD])
def test_vector_noise_obeys_the_generator(std):
    x, aug = vectors(50), A.VectorNoise(std)
    before = torch.get_rng_state()
    y = aug(x, generator=generator(3))
    assert y.equal(aug(x, generator=generator(3))) and not y.equal(aug(x, generator=generator(4)))
    assert before.equal(torch.get_rng_state()) and x.equal(vectors(50))
    torch.manual_seed(0)
    assert not aug(x).equal(aug(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_vectors_keep_their_dtype(dtype):
    x = vectors(20).to(dtype)
    assert A.VectorNoise(STD)(x).dtype == dtype and A.identity()(x).equal(x) and A.identity()(x).dtype == dtype
    assert A.identity()(x).data_ptr() != x.data_ptr()


def test_gradients_pass_to_vectors():
    x = vectors(8).requires_grad_()
    A.Compose([A.VectorNoise(0.1), A.VectorNoise(STD)])(x).sum().backward()
    assert x.grad.equal(torch.ones_like(x))


def test_compositions_of_vectors():
    x, both = vectors(30), A.Compose([A.VectorNoise(0.1), A.VectorNoise(STD), A.identity()])
    y, params = both.with_params(x, generator=generator(5))
    assert torch.allclose(y, x + sum(part["noise"] for part in params.parts[:2]), atol=1e-5)
    assert both.apply(x, params).equal(y) and params.select(slice(3, 5)).parts[1]["noise"].shape == (2, 64)
    once = both.draw(x[:1], generator(0))
    assert torch.allclose(both.apply(x, once) - x, (both.apply(x[:1], once) - x[:1]).expand(30, -1), atol=1e-5)
    assert both.kinds == ("vectors",) and A.identity().kinds == ("images", "vectors")
    assert A.simclr(8).kinds == ("images",)
    assert both(x[:0]).shape == (0, 64) and A.identity()(x[:0]).shape == (0, 64)
    assert params.describe(0).count("noise of length") == 2 and A.VectorNoise(0.0).draw(x).describe(0) == "unchanged"
    a, b = (both(x.requires_grad_(needed), generator=generator(6)).detach() for needed in (False, True))
    assert a.equal(b)


@pytest.mark.parametrize("std", [0.5, 2, STD, tuple(STD), torch.tensor([0.5, 1.0]), torch.tensor(0.5).numpy()])
def test_vector_noise_has_a_recipe(std):
    aug = A.VectorNoise(std)
    again = rebuild(recipe(aug))
    assert repr(again) == repr(aug) and again.std == aug.std and eval(repr(aug), vars(A)).std == aug.std
    x = vectors(4, len(aug.std) if isinstance(aug.std, list) else 3)
    assert again(x, generator=generator(0)).equal(aug(x, generator=generator(0)))
    assert repr(rebuild(recipe(A.Compose([aug, aug])))) == repr(A.Compose([aug, aug]))


@pytest.mark.parametrize(("make", "message"), [
    (lambda: A.VectorNoise(-0.1), "std must be finite and not negative, got -0.1"),
    (lambda: A.VectorNoise(math.nan), "std must be finite"),
    (lambda: A.VectorNoise([0.1, math.inf]), "std must be finite"),
    (lambda: A.VectorNoise([]), "empty list"), (lambda: A.VectorNoise("big"), "got 'big'"),
    (lambda: A.VectorNoise(True), "got True"),
    (lambda: A.VectorNoise(torch.ones(2, 2)), "one number for each coordinate"),
    (lambda: A.VectorNoise(0.1)(torch.rand(2, 3, 8, 8)), r"must be a float tensor \[N, D\], got \(2, 3, 8, 8\)"),
    (lambda: A.VectorNoise(0.1)(torch.rand(5)), r"one vector is x\[None\]"),
    (lambda: A.VectorNoise(0.1)(torch.zeros(5, 3, dtype=torch.uint8)), "vectors must be float, got torch.uint8"),
    (lambda: A.VectorNoise(0.1)(torch.zeros(5, 0)), "at least one number"),
    (lambda: A.VectorNoise([0.1, 0.2])(torch.zeros(5, 3)), "for each of 2 coordinates, but there are 3"),
    (lambda: A.identity()(torch.zeros(5, 3, 3)), r"\[N, C, H, W\] and vectors must be a float tensor \[N, D\]"),
    (lambda: A.identity()(torch.zeros(5, 3).long()), "vectors must be float"),
    (lambda: A.GaussianBlur(3)(torch.zeros(5, 3)), r"images must be a tensor \[N, C, H, W\], got \(5, 3\)"),
    (lambda: A.Compose([A.VectorNoise(0.1), A.Noise(0.1)]), "some of these .* change images, others vectors"),
    (lambda: A.VectorNoise(1).apply(torch.zeros(5, 3), A.VectorNoise(1).draw(torch.zeros(5, 4))),
     "cannot be added to 3"),
    (lambda: A.VectorNoise(1).draw(torch.zeros(5, 3)).map_points(torch.zeros(5, 1, 2)), "only images have pixels"),
    (lambda: A.VectorNoise(1).draw(torch.zeros(5, 3)).source_index(), "only images have pixels"),
    (lambda: A.VectorNoise(1).draw(torch.zeros(5, 3)).apply_mask(torch.zeros(5, 3)), "only images have pixels"),
    (lambda: A.identity().apply(torch.zeros(5, 1, 3, 3), A.identity().draw(torch.zeros(5, 3))),
     "drawn for vectors cannot"),
])
def test_bad_vectors(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_quarter_turns_are_torchs_and_move_points_and_masks():
    x = images((40, 4, 17, 17))
    y, params = A.Rotate90(0.8).with_params(x, generator(0))
    assert set(params["quarters"].tolist()) == {0, 1, 2, 3}
    for n, k in enumerate(params["quarters"].tolist()): assert y[n].equal(x[n].rot90(k, (1, 2)))
    assert params.apply_mask(x).equal(y)
    points = torch.randint(0, 17, (40, 5, 2), generator=generator(1))
    there = params.map_points(points.double())
    assert there.equal(there.round()) and torch.allclose(params.source_points(there), points.double())
    rows = torch.arange(40)[:, None]
    before, after = x[rows, :, points[..., 1], points[..., 0]], y[rows, :, there[..., 1].long(), there[..., 0].long()]
    assert before.equal(after)


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_views_from_above_take_any_number_of_bands(channels):
    x = images((30, channels, 40, 33))
    y, params = A.aerial(24).with_params(x, generator(0))
    assert y.shape == (30, channels, 24, 24) and y.min() >= 0 and y.max() <= 1
    one = params["band"] >= 0
    assert 0 < one.sum() < 15 and all((image == image[:1]).all() for image in y[one])

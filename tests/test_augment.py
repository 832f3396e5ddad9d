"The batched augmentations against torchvision, sample by sample, and their laws, faults and properties."


import pytest
import torch
import torchvision.transforms.functional as V

from clnb import augment as A
from clnb.core import generator

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

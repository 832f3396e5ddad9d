"""What the section on photographs relies on: the yardstick, and a block that passes on what the loss does not see."""

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock

from clnb import nets
from clnb.augment import identity
from clnb.core import generator
from clnb.data import Batch
from clnb.methods.directclr import DirectCLR


class Jitter:
    "Adds noise, in double precision."

    def __call__(self, x, generator=None):
        return x.double() + 0.3 * torch.randn(x.shape, generator=generator, dtype=torch.float64)


def trained(kind: str, steps: int = 30) -> tuple[torch.Tensor, torch.Tensor]:
    "r and z of fixed inputs after some steps in double precision, through a projector that keeps the size of r."
    encoder = nets.residual_mlp(10, width=12, seed=0).double()
    projector = nets.projector(kind, 12, seed=1).double()
    method = DirectCLR(encoder, Jitter(), projector=projector, learning_rate=0.05, weight_decay=5e-4)
    x = torch.randn(64, 10, generator=generator(2), dtype=torch.float64)
    for step in range(steps):
        rows = torch.arange(64)
        method.update(Batch(x, torch.zeros(64, dtype=torch.int64), rows, generator(step)))
    method.eval()
    with torch.no_grad():
        r = encoder(x)
        return r, projector(r)


def test_an_orthogonal_projector_trains_the_very_same_representation() -> None:
    start, _ = trained("none", steps=0)
    none, _ = trained("none")
    orthogonal, turned = trained("orthogonal")
    assert (none - start).abs().max() > 0.1                     # it did learn something
    assert torch.allclose(orthogonal, none, atol=1e-3)            # the matrix itself was made in single precision
    assert not torch.allclose(turned, none, atol=0.1)           # although z is turned
    assert torch.allclose(turned @ turned.T, none @ none.T, atol=1e-2)


def test_a_trainable_diagonal_does_not() -> None:
    assert not torch.allclose(trained("diagonal")[0], trained("none")[0], atol=0.1)


def test_channels_beyond_the_cut_keep_a_branch_of_zero_and_still_learn() -> None:
    torch.manual_seed(0)
    stack, last = nets.small_convnet(1, width=4, depth=2, dim=16, seed=0), BasicBlock(16, 16)
    nn.init.zeros_(last.bn2.weight)
    method = DirectCLR(nets.Encoder(nn.Sequential(stack.features, last), 1, 16), identity(), dim=4, weight_decay=0.0,
                       momentum=0.0)
    images = torch.rand(32, 1, 8, 8, generator=generator(0))
    before = method.embed(images).detach()
    for step in range(3): method.update(Batch(images, torch.zeros(32).long(), torch.arange(32), generator(step)))
    assert last.bn2.weight[4:].eq(0).all() and last.bn2.weight[:4].ne(0).any()
    h = nets.Encoder(stack.features, 1, 16)(images)
    r = method.embed(images)
    assert torch.allclose(r[:, 4:], h[:, 4:], atol=1e-6)        # a copy of the block's input …
    assert (r - before)[:, 4:].abs().max() > 1e-3               # … which has changed

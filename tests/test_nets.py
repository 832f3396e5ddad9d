"Encoders, heads and the momentum copy: shapes, weights, recipes, faults."

import copy
import json
import math
import urllib.error

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import resnet18 as reference18
from torchvision.models import resnet50 as reference50

from clnb import nets
from clnb.core import generator, rebuild, recipe


@pytest.mark.parametrize("size", [(8, 8), (9, 13), (28, 28), (32, 32), (96, 96)])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_small_convnet_takes_pictures_of_any_size(size, channels):
    net = nets.small_convnet(channels, width=8)
    x = torch.rand(3, channels, *size)
    assert net(x).shape == (3, 32) and net.out_dim == 32
    assert net(x).isfinite().all()
    assert torch.allclose(net.feature_map(x).mean((2, 3)), net(x))


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
def test_small_convnet_dim_and_depth(depth):
    net = nets.small_convnet(width=4, depth=depth, dim=10)
    assert net(torch.rand(2, 3, 8, 8)).shape == (2, 10)
    assert sum(isinstance(m, nn.Conv2d) for m in net.modules()) == depth


@pytest.mark.parametrize("build,reference,dim", [(nets.resnet18, reference18, 512), (nets.resnet50, reference50, 2048)])
def test_photograph_resnet_equals_torchvisions(build, reference, dim, tmp_path):
    torch.manual_seed(0)
    theirs = reference(weights=None)
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    ours = build(small=False, weights=tmp_path / "w.pth").eval()
    theirs.fc = nn.Identity()
    x = torch.rand(2, 3, 64, 64, generator=generator(0))
    assert ours.out_dim == dim
    assert torch.allclose(ours(x), theirs.eval()(x), atol=1e-5)


def test_small_stem_has_no_stride_and_no_pool():
    net = nets.resnet18().eval()
    assert net.features.conv1.kernel_size == (3, 3) and net.features.conv1.stride == (1, 1)
    assert not any(isinstance(m, nn.MaxPool2d) for m in net.modules())
    assert net.feature_map(torch.rand(1, 3, 32, 32)).shape == (1, 512, 4, 4)
    assert net(torch.rand(2, 3, 8, 8)).shape == (2, 512)


def test_resnet_parameter_counts_are_torchvisions_without_classifier():
    assert nets.count_parameters(nets.resnet18(small=False)) == 11_689_512 - 513_000
    assert nets.count_parameters(nets.resnet50(small=False)) == 25_557_032 - 2_049_000
    assert nets.count_parameters(nets.resnet18()) == 11_689_512 - 513_000 - 64 * 3 * (49 - 9)


def test_zero_init_residual_makes_blocks_the_identity_on_positive_input():
    block = nets.resnet18(zero_init_residual=True).eval().features.layer1
    x = torch.rand(1, 64, 8, 8)
    assert torch.allclose(block(x), x)
    assert not torch.allclose(nets.resnet18().eval().features.layer1(x), x)


@pytest.mark.parametrize("prefix", ["", "module.", "features."])
@pytest.mark.parametrize("kind", ["pth", "safetensors", "nested"])
def test_weight_files_in_their_usual_forms(tmp_path, prefix, kind):
    source = nets.resnet18(seed=1)
    state = {prefix + key: value for key, value in source.features.state_dict().items()}
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pth")
    if kind == "safetensors": save_file(state, path)
    else: torch.save({"state_dict": state, "epoch": 3} if kind == "nested" else state, path)
    again = nets.resnet18(weights=str(path))
    assert all(a.equal(b) for a, b in zip(source.state_dict().values(), again.state_dict().values(), strict=True))


def test_pretrained_stem_is_cut_and_summed_where_it_does_not_fit(tmp_path):
    theirs = reference18(weights=None)
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    small = nets.resnet18(small=True, weights=tmp_path / "w.pth")
    assert small.features.conv1.weight.equal(theirs.conv1.weight[:, :, 2:5, 2:5])
    grey = nets.resnet18(small=False, channels=1, weights=tmp_path / "w.pth")
    x = torch.rand(1, 1, 64, 64)
    assert torch.allclose(grey.features.conv1(x), theirs.conv1(x.expand(-1, 3, -1, -1)), atol=1e-5)


def test_named_weights_go_through_torchvision(monkeypatch):
    state = reference18(weights=None).state_dict()
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *a, **k: state)
    net = nets.resnet18(small=False, weights="IMAGENET1K_V1")
    assert net.features.layer4[1].conv2.weight.equal(state["layer4.1.conv2.weight"])


def test_no_network_is_a_sentence(monkeypatch):
    def offline(*args, **kwargs): raise urllib.error.URLError("no route to host")
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(ConnectionError, match=r"could not be downloaded.*no route.*give its path"):
        nets.resnet18(weights="IMAGENET1K_V1")


class Evil:
    def __reduce__(self): return (print, ("executed",))


@pytest.mark.parametrize("content", [Evil(), [1, 2], {"a": 3}, {"conv1.weight": torch.zeros(1)}])
def test_files_that_are_no_weights(tmp_path, content, capsys):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"w\.pth"): nets.resnet18(weights=tmp_path / "w.pth")
    assert "executed" not in capsys.readouterr().out


def test_broken_and_missing_files(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"nonsense")
    (tmp_path / "w.safetensors").write_bytes(b"nonsense")
    for name in ("w.pth", "w.safetensors"):
        with pytest.raises(ValueError, match="holds no plain tensors"): nets.resnet18(weights=tmp_path / name)
    with pytest.raises(ValueError, match="is no file"): nets.resnet18(weights=tmp_path / "other.pth")
    torch.save(reference50(weights=None).state_dict(), tmp_path / "fifty.pth")
    with pytest.raises(ValueError, match="same ResNet"): nets.resnet18(weights=tmp_path / "fifty.pth")


@pytest.mark.parametrize("build", [lambda s: nets.small_convnet(width=4, seed=s), lambda s: nets.resnet18(seed=s),
                                   lambda s: nets.mlp((8, 4, 2), seed=s), lambda s: nets.projection_head(8, seed=s)])
def test_seed_decides_the_weights_and_leaves_the_global_state(build):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = build(0), build(0), build(1)
    assert torch.rand(3).equal(expected)
    same = [a.equal(b) for a, b in zip(first.parameters(), again.parameters(), strict=True)]
    differ = [a.equal(b) for a, b in zip(first.parameters(), other.parameters(), strict=True)]
    assert all(same) and not all(differ)


@pytest.mark.parametrize("thing", [
    lambda: nets.small_convnet(1, width=4, depth=2, dim=6, seed=3), lambda: nets.resnet18(channels=1, seed=2),
    lambda: nets.mlp((4, 3, 2), batch_norm=True, final_relu=True, seed=1),
    lambda: nets.projection_head(4, 8, 2, layers=3, batch_norm=True, seed=0),
    lambda: nets.MomentumCopy(nets.mlp((4, 2), seed=0), 0.9)])
def test_everything_is_rebuilt_from_its_recipe_through_json(thing):
    made = thing()
    again = rebuild(json.loads(json.dumps(recipe(made))))
    assert type(again) is type(made)
    pairs = zip(made.state_dict().items(), again.state_dict().items(), strict=True)
    assert all(a == b and x.equal(y) for (a, x), (b, y) in pairs)


def test_mlp_layers():
    net = nets.mlp((64, 256, 128, 64))
    assert nets.count_parameters(net) == 64 * 256 + 256 + 256 * 128 + 128 + 128 * 64 + 64
    assert net(torch.rand(5, 1, 8, 8)).shape == net(torch.rand(5, 64)).shape == (5, 64)
    assert (net(torch.randn(50, 64)) < 0).any()
    assert (nets.mlp((64, 8), final_relu=True)(torch.randn(50, 64)) >= 0).all()
    assert net(torch.rand(0, 64)).shape == (0, 64)


@pytest.mark.parametrize("layers,batch_norm", [(1, False), (2, False), (2, True), (3, True)])
def test_projection_head_layers(layers, batch_norm):
    head = nets.projection_head(16, 32, 8, layers=layers, batch_norm=batch_norm)
    assert head(torch.randn(4, 16)).shape == (4, 8) and head.out_dim == 8
    assert sum(isinstance(m, nn.Linear) for m in head.modules()) == layers
    assert sum(isinstance(m, nn.BatchNorm1d) for m in head.modules()) == (layers - 1 if batch_norm else 0)


@pytest.mark.parametrize("make,text", [
    (lambda: nets.small_convnet(channels=0), "channels must be an integer of at least 1"),
    (lambda: nets.small_convnet(depth=0), "depth"), (lambda: nets.small_convnet(width=2.5), "width"),
    (lambda: nets.mlp((8,)), "at least the input and the output"), (lambda: nets.mlp(8), "at least the input"),
    (lambda: nets.mlp((8, 0, 3)), "sizes"), (lambda: nets.projection_head(8, layers=0), "layers"),
    (lambda: nets.resnet18(channels=-1), "channels"), (lambda: nets.MomentumCopy(nn.Linear(2, 2), 1.5), "0…1")])
def test_wrong_sizes(make, text):
    with pytest.raises(ValueError, match=text): make()


@pytest.mark.parametrize("net,x,text", [
    (nets.small_convnet(width=4), torch.rand(2, 1, 8, 8), r"\[N, 3, H, W\], got \[2, 1, 8, 8\]"),
    (nets.small_convnet(width=4), torch.rand(3, 8, 8), r"got \[3, 8, 8\]"),
    (nets.small_convnet(width=4), [1], "got list"), (nets.mlp((4, 2)), torch.rand(4), r"got \[4\]"),
    (nets.mlp((4, 2)), torch.rand(2, 5), "4 numbers per sample")])
def test_wrong_input(net, x, text):
    with pytest.raises(ValueError, match=text): net(x)


def test_bytes_are_refused_in_words():
    with pytest.raises(TypeError, match="255"): nets.small_convnet(width=4)(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(TypeError, match="255"): nets.mlp((4, 2))(torch.zeros(1, 4, dtype=torch.uint8))


def test_receptive_field_by_gradient():
    net = nets.small_convnet(width=4, depth=2).eval()
    x = torch.rand(64, 3, 32, 32, requires_grad=True)
    net.feature_map(x)[:, :, 4, 4].sum().backward()
    touched = x.grad.abs().sum((0, 1, 2)).count_nonzero().item()     # a ReLU may hide a column, never add one
    assert 8 <= touched <= nets.receptive_field(net, 32) == 10


def test_receptive_field_leaves_the_mode_and_the_statistics():
    net = nets.small_convnet(width=4).train()
    before = copy.deepcopy(net.state_dict())
    nets.receptive_field(net, 16)
    assert net.training and all(net.state_dict()[k].equal(v) for k, v in before.items())


def test_moving_average_by_hand():
    target = torch.tensor([1.0], dtype=torch.float64)
    for value in (0.0, 2.0, -1.0): nets.momentum_update(target, torch.tensor([value], dtype=torch.float64), 0.9)
    assert math.isclose(target.item(), 0.809, abs_tol=1e-12)


@pytest.mark.parametrize("m", [0.0, 0.3, 0.999, 1.0])
def test_moving_average_of_modules_against_float64(m):
    a, b = nets.small_convnet(width=4, seed=0).double(), nets.small_convnet(width=4, seed=1).double()
    expected = [m * x + (1 - m) * y for x, y in zip(a.parameters(), b.parameters(), strict=True)]
    source = [p.detach().clone() for p in b.parameters()]
    buffers = [x.clone() for x in a.buffers()]
    b(torch.rand(4, 3, 8, 8).double())
    nets.momentum_update(a, b, m)
    assert all(torch.allclose(x, y, atol=1e-15) for x, y in zip(a.parameters(), expected, strict=True))
    assert all(x.equal(y) for x, y in zip(b.parameters(), source, strict=True))
    assert all(x.equal(y) for x, y in zip(a.buffers(), buffers, strict=True))
    if m in (0.0, 1.0):
        assert all(x.equal(y) for x, y in zip(a.parameters(), expected, strict=True))


@pytest.mark.parametrize("m", [-0.1, 1.1, float("nan")])
def test_moving_average_faults(m):
    with pytest.raises(ValueError, match="0…1"): nets.momentum_update(torch.ones(1), torch.ones(1), m)
    with pytest.raises(ValueError, match="one architecture"): nets.momentum_update(torch.ones(1), torch.ones(2), 0.5)


def test_momentum_copy_owns_its_statistics_and_no_gradient():
    source = nets.small_convnet(width=4, seed=0)
    key = nets.MomentumCopy(source, 0.9)
    x = torch.rand(8, 3, 8, 8)
    assert not key(x).requires_grad and nets.count_parameters(key, trainable=True) == 0
    assert all(p.requires_grad for p in source.parameters())
    ran = dict(key.named_buffers())["module.features.0.2.num_batches_tracked"]
    assert ran == 1 and dict(source.named_buffers())["features.0.2.num_batches_tracked"] == 0
    with torch.no_grad():
        for p in source.parameters(): p.add_(1)
    mean = key.module.features[0][2].running_mean.clone()
    before = next(key.parameters()).clone()
    key.update()
    assert torch.allclose(next(key.parameters()), before + 0.1) and key.module.features[0][2].running_mean.equal(mean)
    key.update(m=0.0)
    assert next(key.parameters()).equal(next(source.parameters()))


def test_momentum_copy_inside_a_method_survives_copying_saving_and_casting():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.query = nets.mlp((4, 3))
            self.key = nets.MomentumCopy(self.query, 0.5)

    pair = Pair()
    assert len(pair.state_dict()) == 4 and len(list(pair.parameters())) == 4
    twin = copy.deepcopy(pair).double()
    with torch.no_grad(): twin.query.layers[0].weight.fill_(7.0)
    twin.key.update(0.0)
    assert (twin.key.module.layers[0].weight == 7).all() and not (pair.key.module.layers[0].weight == 7).any()
    again = Pair()
    again.load_state_dict(pair.state_dict())
    assert again.key.module.layers[0].weight.equal(pair.key.module.layers[0].weight)


def test_gradients_reach_every_parameter():
    for net, x in ((nets.small_convnet(width=4), torch.rand(4, 3, 16, 16)), (nets.resnet18(), torch.rand(2, 3, 16, 16)),
                   (nets.mlp((12, 5, 3), batch_norm=True), torch.rand(4, 12))):
        net(x).square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("size", [(8, 8), (7, 9)])
def test_half_pool_is_average_pooling(size):
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    ours, theirs = nets.HalfPool()(x), torch.nn.functional.avg_pool2d(x, 2)
    assert torch.allclose(ours, theirs, atol=1e-14)
    weight = torch.randn_like(ours)
    a, b = (torch.autograd.grad((y * weight).sum(), x)[0] for y in (ours, theirs))
    assert torch.allclose(a, b, atol=1e-14)


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (75, 75)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_small_segmenter_gives_a_vector_to_every_pixel(size, channels):
    net = nets.small_segmenter(channels, width=8, map_dim=6).eval()
    x = torch.rand(2, channels, *size, generator=generator(0))
    coarse, fine = net(x)
    assert coarse.shape[:2] == (2, 32) and fine.shape == (2, 6, *size) and net.dim == 32 and net.map_dim == 6
    early = net.encode(x)[1]
    expected = torch.nn.functional.interpolate(net.decode(coarse, early), size, mode="bilinear", align_corners=True)
    assert torch.allclose(fine, expected, atol=1e-5)
    assert recipe(rebuild(recipe(net))) == recipe(net)


def test_deeplab_has_stride_16_and_its_gradient_reaches_all():
    net = nets.deeplab(4, dim=32, map_dim=8, seed=0)
    coarse, fine = net(torch.rand(2, 4, 64, 64, generator=generator(0)))
    assert coarse.shape == (2, 32, 4, 4) and fine.shape == (2, 8, 64, 64)
    (coarse.square().mean() + fine.square().mean()).backward()
    assert all(p.grad is not None for p in net.parameters())
    dilated = [m for m in net.encoder["body"].modules() if isinstance(m, nn.Conv2d) and m.dilation == (2, 2)]
    assert len(dilated) == 3


@pytest.mark.parametrize("coarse, fine", [((1, 1), (4, 5)), ((6, 7), (6, 7)), ((9, 8), (3, 20))])
def test_enlarged_is_interpolation(coarse, fine):
    maps = torch.randn(2, 3, *coarse, generator=generator(0)).double().requires_grad_()
    expected = torch.nn.functional.interpolate(maps, fine, mode="bilinear", align_corners=True)
    found, weight = nets.enlarged(maps, fine), torch.randn(2, 3, *fine, generator=generator(1)).double()
    assert torch.allclose(found, expected)
    gradients = [torch.autograd.grad((y * weight).sum(), maps, retain_graph=True)[0] for y in (found, expected)]
    assert torch.allclose(*gradients)


def test_segmenters_name_what_does_not_fit():
    with pytest.raises(ValueError, match="images \\[N, 3, H, W\\], got \\[2, 1, 8, 8\\]"):
        nets.small_segmenter()(torch.zeros(2, 1, 8, 8))
    with pytest.raises(ValueError, match="width must be an integer of at least 1"): nets.small_segmenter(width=0)

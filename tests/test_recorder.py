"""Recorder: features of any network, weights without code, a training that does not notice that it is watched."""

import copy
import json
import os
import pickle
import random
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from clnb import recorder as module
from clnb.data import ImageSet
from clnb.nets import resnet18, small_convnet
from clnb.recorder import (
    Deferred,
    Recorder,
    features_of,
    layers_of,
    load_weights,
    pooled,
    tensors_in,
    undisturbed,
)
from clnb.run import History, Method


def images(n=20, channels=1, size=16, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, channels, size, size), dtype=torch.uint8, generator=rng)


class Nasty(nn.Module):
    """Does in a forward pass everything that a look must not leave behind."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(256, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(32, 4)
        self.register_buffer("queue", torch.zeros(8, 32))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        h = nn.functional.dropout(self.net(x), 0.3, training=True)         # draws in evaluation mode, too
        self.calls += 1
        self.queue = torch.cat([h.detach()[:1], self.queue[:-1]])          # replaces the buffer
        nn.functional.batch_norm(h, self.net[2].running_mean, self.net[2].running_var, training=True)
        random.random(), np.random.rand(), torch.rand(3)
        return self.head(h)


def trained(with_recorder, tmp_path=None, steps=23, autocast=False, inside=False, **how):
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    model = Nasty()
    model.net[0].eval()                                                    # a mode of its own stays
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    recorder = Recorder(model, images(12), every=4, **how) if with_recorder else None
    losses, data = [], images(200, seed=1).float() / 255
    for _ in range(steps):
        rows, target = torch.randint(200, (16,)), torch.randint(4, (16,))
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = nn.functional.cross_entropy(model(data[rows] + np.random.rand() * 0.01), target)
            if recorder and inside: recorder.step(loss=loss)                # before the backward pass
            loss = loss + 0.01 * model(data[rows]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if recorder and not inside: recorder.step(loss=loss, lr=optimizer.param_groups[0]["lr"])
        losses.append(loss.item())
    state = [p.clone() for p in model.parameters()] + [b.clone() for b in model.buffers()]
    modes = [m.training for m in model.modules()]
    return losses, state, modes, torch.rand(5), np.random.rand(5), random.random(), recorder


@pytest.mark.parametrize("how", [{}, {"inside": True}, {"autocast": True}, {"autocast": True, "inside": True}])
def test_training_is_the_same_bits_with_and_without(how):
    a, b = trained(False, **how), trained(True, **how)
    assert a[0] == b[0] and a[2] == b[2] and a[5] == b[5]
    assert all(x.equal(y) for x, y in zip(a[1], b[1], strict=True))
    assert a[3].equal(b[3]) and np.array_equal(a[4], b[4])
    history = b[-1].history
    assert history["embedding"].steps.tolist() == [0, 4, 8, 12, 16, 20]
    assert history["loss"].steps.tolist() == list(range(1, 24))
    if not how: assert history["loss"].values.tolist() == pytest.approx(a[0], rel=1e-6)


def test_looks_are_features_in_evaluation_mode():
    torch.manual_seed(0)
    net = nn.Sequential(small_convnet(1, 4, seed=0), nn.Dropout(0.5), nn.Linear(16, 3))
    probe = images(10)
    recorder = Recorder(net, probe, every=2)
    assert recorder.places == {"embedding": "input of 2"} and "input of 2" in repr(recorder)
    for _ in range(2):
        net(torch.rand(8, 1, 16, 16))                                      # statistics move
        recorder.step(loss=1.0)
    expected = copy.deepcopy(net).eval()[0](probe.float() / 255).detach().numpy()
    assert np.allclose(recorder.history["embedding"].frame(-1), expected, atol=1e-6)
    assert not np.allclose(recorder.history["embedding"].frame(0), expected, atol=1e-3)


def test_several_layers_and_measures_in_one_look():
    net = nn.Sequential(nn.Flatten(), nn.Linear(256, 8), nn.ReLU(), nn.Linear(8, 5))
    recorder = Recorder(net, images(10), every=2, layer={"embedding": "1", "projection": "output", "both": net[3]})
    recorder.measure("norm", lambda m: float(m[1].weight.norm()), every=3)
    for _ in range(6): recorder.step()
    history = recorder.history
    assert history["embedding"].frame(-1).shape == (10, 8) and history["projection"].frame(-1).shape == (10, 5)
    assert np.array_equal(history["both"].frame(-1), history["projection"].frame(-1))
    assert history["norm"].steps.tolist() == [3, 6] and history["embedding"].steps.tolist() == [0, 2, 4, 6]


def test_numbers_arrays_and_what_is_neither():
    recorder = Recorder()
    recorder.step(loss=torch.tensor(2.0, requires_grad=True), one=torch.tensor([3]), per_class=np.arange(3), none=None,
                  half=torch.tensor(0.5, dtype=torch.bfloat16), flag=True)
    history = recorder.history
    assert history.last("loss") == 2 and history.last("one") == 3 and history.last("half") == 0.5
    assert history["per_class"].frame(-1).tolist() == [0, 1, 2] and "none" not in history.names()
    with pytest.raises(TypeError, match="numbers"): recorder.step(loss="small")
    with pytest.raises(ValueError, match="every must be at least 1"): Recorder(every=0)
    with pytest.raises(ValueError, match="steps only grow"): recorder.step(at=0, loss=1)
    with pytest.raises(ValueError, match="knows no model"): Recorder(every=1).step(loss=1)


def test_values_are_copies():
    total, recorder = torch.zeros(()), Recorder()
    for _ in range(3):
        total += 1
        recorder.step(total=total)
    assert recorder.history["total"].values.tolist() == [1, 2, 3]


def test_deferred_numbers_come_together_and_in_order():
    class Elsewhere(Deferred):                  # as if the CPU were a device that one waits for
        def add(self, step, values): self.waiting.append((step, {k: v.detach().clone() for k, v in values.items()}))

    deferred = Elsewhere()
    for i in range(4): deferred.add(i, {"a": torch.tensor(float(i)), "b": torch.tensor(i), "z": torch.ones(3)})
    assert not deferred.due()
    out = deferred.take()
    assert [s for s, _ in out] == [0, 1, 2, 3] and [float(v["a"]) for _, v in out] == [0, 1, 2, 3]
    assert [int(v["b"]) for _, v in out] == [0, 1, 2, 3] and out[0][1]["z"].shape == (3,) and not deferred.take()


def test_what_is_not_finite_gets_one_mark():
    recorder = Recorder()
    for value in (1.0, float("nan"), float("nan"), float("inf")): recorder.step(loss=value)
    assert [(m.step, m.text) for m in recorder.history.marks] == [(2, "loss is nan")]


def test_a_journal_survives_the_process(tmp_path):
    script = f"""
import os, torch
from torch import nn
from clnb.recorder import Recorder
recorder = Recorder(nn.Linear(4, 2), torch.rand(6, 4), every=5, folder={str(tmp_path / 'log')!r})
for step in range(12): recorder.step(loss=float(step))
if {{}}: os._exit(1)
raise RuntimeError("boom")
"""
    for hard in (False, True):
        folder = tmp_path / "log"
        subprocess.run([sys.executable, "-c", script.replace("{}", str(hard))], capture_output=True, check=False,
                       env={**os.environ, "OMP_NUM_THREADS": "1"})
        there = History.load(folder)
        assert there["embedding"].steps.tolist() == [0, 5, 10]
        assert there["loss"].steps[-1] == (12 if not hard else 10)     # a look writes the journal out
        with pytest.raises(ValueError, match="already holds a history"): Recorder(folder=folder)
        again = Recorder(nn.Linear(4, 2), torch.rand(6, 4), every=5, folder=folder, resume=10)
        for _ in range(5): again.step(loss=0.0)
        assert again.history["loss"].steps.tolist() == list(range(1, 16))
        assert History.load(folder)["embedding"].steps.tolist() == [0, 5, 10, 15]
        for path in sorted(folder.rglob("*"), reverse=True): path.unlink() if path.is_file() else path.rmdir()


def test_an_exception_leaves_a_mark(tmp_path):
    with pytest.raises(ZeroDivisionError), Recorder(folder=tmp_path) as recorder:
        recorder.step(loss=1.0)
        1 / 0
    assert History.load(tmp_path).marks[-1].text.startswith("ZeroDivisionError")


def test_a_lazy_model_is_looked_at_when_it_has_shapes():
    def train(record):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(2))
        recorder = Recorder(net, images(6), every=1) if record else None
        for _ in range(2):
            out = net(torch.rand(4, 1, 16, 16))
            if recorder: recorder.step(mean=out.mean())
        return net, recorder

    (a, _), (b, recorder) = train(False), train(True)
    assert all(x.equal(y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    assert recorder.history["embedding"].steps.tolist() == [1, 2]


def test_a_compiled_model():
    net = nn.Sequential(nn.Flatten(), nn.Linear(256, 8), nn.ReLU(), nn.Linear(8, 5))
    for compiled in (torch.compile(net, backend="eager"), nn.DataParallel(net)):
        compiled(torch.rand(4, 1, 16, 16))
        assert features_of(compiled, images(6), "2").allclose(net[:3](images(6).float() / 255), atol=1e-6)
    net.compile(backend="eager")
    net(torch.rand(4, 1, 16, 16))
    assert features_of(net, images(6), "2").shape == (6, 8)


# ---------------------------------------------------------------------------------------------------------- features

@pytest.mark.parametrize("name, width", [("resnet18", 512), ("vit_b_16", 768), ("mobilenet_v3_small", 1024),
                                         ("swin_t", 768), ("convnext_tiny", 768), ("vgg11", 4096)])
def test_the_default_layer_of_torchvision_models_is_before_the_classifier(name, width):
    torch.manual_seed(0)
    net = torchvision.models.get_model(name, weights=None)
    x = torch.rand(2, 3, 224 if name == "vit_b_16" else 64, 224 if name == "vit_b_16" else 64)
    h = features_of(net, x, progress=False)
    assert h.shape == (2, width)
    head = [m for m in net.modules() if isinstance(m, nn.Linear)][-1]
    assert head(h).allclose(net.eval()(x), atol=1e-4)


def test_a_network_without_a_head_is_looked_at_where_it_ends():
    assert features_of(resnet18(seed=0), images(4, 3)).shape == (4, 512)
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    tokens = nn.Sequential(nn.Linear(8, 16), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False))
    x = torch.rand(5, 7, 8)
    assert features_of(tokens, x).allclose(tokens.eval()(x).mean(1), atol=1e-5)     # the mean over tokens
    assert features_of(tokens, x, "1.layers.0.linear1").shape == (5, 32)            # not skipped by the fast path
    assert features_of(tokens, x, pool="first").allclose(tokens(x)[:, 0], atol=1e-5)
    assert features_of(nn.Linear(8, 3), torch.rand(4, 8)).shape == (4, 3)
    with_norm = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4), nn.BatchNorm1d(4))
    assert features_of(with_norm, torch.rand(9, 8)).shape == (9, 4)


def test_batches_do_not_matter_and_inputs_are_recognised():
    net = small_convnet(3, 4, seed=0)
    x = images(30, 3)
    expected = copy.deepcopy(net).eval()(x.float() / 255)
    for given in (x, x.numpy(), x.float() / 255, x.permute(0, 2, 3, 1), x.double() / 255, list(x),
                  ImageSet(x, torch.zeros(30, dtype=torch.long), ("a",)), (x,)):
        assert features_of(net, given, batch_size=7).allclose(expected, atol=1e-5)
    grey = images(5, 1)
    assert features_of(net, grey).equal(features_of(net, grey.expand(-1, 3, -1, -1)))
    assert features_of(net, grey[:, 0]).equal(features_of(net, grey))
    negative = features_of(net, x, transform=lambda y: 1 - y.float() / 255)
    assert negative.allclose(copy.deepcopy(net).eval()(1 - x.float() / 255), atol=1e-5)
    half = copy.deepcopy(net).bfloat16()
    assert features_of(half, x).dtype == torch.float32 and next(half.parameters()).dtype == torch.bfloat16


def test_the_preprocessing_of_published_weights():
    how, net = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.transforms(), torchvision.models.resnet18()
    grey = images(3, 1, 8)
    h = features_of(net, grey, transform=how, progress=False)
    net.eval().fc = nn.Identity()
    with torch.no_grad(): assert h.allclose(net(how(grey.expand(-1, 3, -1, -1))), atol=1e-5)


def test_other_signatures():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Embedding(10, 6)

        def forward(self, ids, mask):
            return {"hidden": (self.a(ids) * mask[..., None], None)}

    ids, mask = torch.randint(10, (8, 5)), torch.ones(8, 5)
    for given in ((ids, mask), {"mask": mask, "ids": ids}):
        h = features_of(Two().requires_grad_(False), given)
        assert h.shape == (8, 6)

    class Embeds(Method):
        def __init__(self):
            super().__init__()
            self.encoder = small_convnet(1, 4, seed=0)

        def embed(self, x): return self.encoder(x.float())

    assert features_of(Embeds(), images(4)).shape == (4, 16)

    class Parts(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = small_convnet(1, 4, seed=0)

    assert features_of(Parts(), images(4), "encoder").shape == (4, 16)
    with pytest.raises(ValueError, match=r"neither forward nor embed.*'encoder'"): features_of(Parts(), images(4))
    assert features_of(Parts(), images(4), lambda m, x: m.encoder(x) * 0).eq(0).all()


def test_errors_name_what_is_wrong():
    net = nn.Sequential(nn.Flatten(), nn.Linear(256, 8))
    net.unused = nn.Linear(1, 1)
    with pytest.raises(ValueError, match="no layer 'unusd'; near are 'unused'"): features_of(net, images(3), "unusd")
    net = torchvision.models.resnet18()
    net.spare = nn.Linear(1, 1)
    with pytest.raises(ValueError, match="'spare' was not called"): features_of(net, images(3, 3, 64), "spare")
    assert net.training and not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    with pytest.raises(ValueError, match="at least one image"): features_of(net, images(0, 3))
    with pytest.raises(RuntimeError) as caught: features_of(nn.Linear(3, 2), torch.rand(4, 5))
    assert "was given [2, 5]" in caught.value.__notes__[0]
    with pytest.raises(ValueError, match="pool must be one of"): features_of(net, images(3, 3, 64), pool="median")
    with pytest.raises(ValueError, match=r"gave \[7, 2\] for 3 samples"): pooled(torch.ones(7, 2), 3)


def test_pooling_by_hand():
    x = torch.arange(24.0).reshape(2, 3, 4)
    assert pooled(x, 2).equal(x.mean(1)) and pooled(x, 2, "mean", True).equal(x.mean(2))
    assert pooled(x, 2, "max").equal(x.amax(1)) and pooled(x, 2, "flatten").equal(x.reshape(2, 12))
    assert pooled(x, 2, lambda t: t[:, -1]).equal(x[:, -1]) and pooled(x[:, 0, 0], 2).shape == (2, 1)
    volume = torch.rand(2, 3, 4, 5, 6)
    assert pooled(volume, 2).allclose(volume.mean((2, 3, 4)))
    assert features_of(nn.Sequential(nn.Conv1d(3, 5, 1)), torch.rand(4, 3, 9), "0").shape == (4, 5)


def test_layers_are_listed_as_they_are_called():
    net = torchvision.models.resnet18()
    found = layers_of(net, images(2, 3, 64))
    shapes = {layer.name: layer.shape for layer in found}
    assert shapes["layer1"] == (64, 16, 16) and shapes["avgpool"] == (512, 1, 1) and shapes["fc"] == (1000,)
    names = [layer.name for layer in found]
    assert names.index("conv1") < names.index("layer1") < names.index("layer4") < names.index("fc")
    assert next(layer for layer in found if layer.name == "fc").parameters == 512 * 1000 + 1000
    assert net.training and not any(m._forward_hooks for m in net.modules())


def test_undisturbed_puts_modes_back_after_an_error():
    net = Nasty()
    net.net[2].eval()
    with pytest.raises(KeyError), undisturbed(net): raise KeyError
    assert net.training and net.net[4].training and not net.net[2].training and torch.is_grad_enabled()


# ----------------------------------------------------------------------------------------------------------- weights

def test_weights_are_found_under_every_usual_prefix(tmp_path):
    source = resnet18(seed=1).state_dict()
    for prefix in ("", "module.", "backbone.", "encoder.", "encoder_q.", "module.encoder_q.", "a.b.c."):
        for wrap in (lambda d: d, lambda d: {"epoch": 3, "state_dict": d}, lambda d: {"a": {"model": d}, "lr": 0.1}):
            torch.save(wrap({prefix + k: v for k, v in source.items()}), tmp_path / "w.pt")
            net = resnet18(seed=0)
            report = load_weights(net, tmp_path / "w.pt")
            assert report.prefix == prefix and not report.missing and not report.unexpected
            assert all(v.equal(source[k]) for k, v in net.state_dict().items())
    save_file({f"module.{k}": v for k, v in source.items()}, tmp_path / "w.safetensors")
    assert load_weights(resnet18(seed=0), tmp_path / "w.safetensors").prefix == "module."
    (tmp_path / "no-suffix").write_bytes((tmp_path / "w.safetensors").read_bytes())
    assert load_weights(resnet18(seed=0), tmp_path / "no-suffix").prefix == "module."


def test_two_copies_and_the_choice_between_them(tmp_path):
    q, k = small_convnet(1, 4, seed=1).state_dict(), small_convnet(1, 4, seed=2).state_dict()
    both = {**{f"encoder_k.{n}": v for n, v in k.items()}, **{f"encoder_q.{n}": v for n, v in q.items()}}
    torch.save(both, tmp_path / "m")
    net = small_convnet(1, 4, seed=0)
    report = load_weights(net, tmp_path / "m")
    assert report.prefix == "encoder_q." and report.others == ["encoder_k."] and "choose with prefix=" in str(report)
    load_weights(net, tmp_path / "m", prefix="encoder_k.")
    assert net.state_dict()["features.0.0.weight"].equal(k["features.0.0.weight"])


def test_what_does_not_fit_is_named(tmp_path):
    net = torchvision.models.resnet18(num_classes=7)
    state = torchvision.models.resnet18(num_classes=5).state_dict()
    del state["layer1.0.conv1.weight"]
    torch.save({**state, "projector.weight": torch.ones(2)}, tmp_path / "w.pt")
    before = net.fc.weight.clone()
    with pytest.raises(ValueError) as caught: load_weights(net, tmp_path / "w.pt")
    for word in ("layer1.0.conv1.weight", "fc.weight: [5, 512] in the file, [7, 512] in the model", "projector.weight",
                 "strict=False"):
        assert word in str(caught.value)
    assert net.fc.weight.equal(before) and not net.conv1.weight.equal(state["conv1.weight"])     # nothing half-loaded
    report = load_weights(net, tmp_path / "w.pt", strict=False)
    assert report.missing == ["layer1.0.conv1.weight"] and set(report.mismatched) == {"fc.weight", "fc.bias"}
    assert report.unexpected == ["projector.weight"] and net.conv1.weight.equal(state["conv1.weight"])
    assert net.fc.weight.equal(before)
    with pytest.raises(ValueError, match="nothing in"): load_weights(nn.Linear(3, 3), tmp_path / "w.pt")
    with pytest.raises(FileNotFoundError): load_weights(net, tmp_path / "nowhere.pt")


class Harm:
    def __init__(self, path): self.path = path
    def __reduce__(self): return os.system, (f"touch {self.path}",)


def test_code_in_a_file_is_not_run(tmp_path):
    note = tmp_path / "was-here"
    torch.save({"w": torch.ones(1), "x": Harm(note)}, tmp_path / "zip.pt")
    torch.save({"w": torch.ones(1), "x": Harm(note)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps({"x": Harm(note)}))
    torch.save(Nasty(), tmp_path / "whole.pt")
    for name in ("zip.pt", "old.pt", "whole.pt"):
        with pytest.raises(ValueError, match=r"asks to run code.*state_dict"): load_weights(Nasty(), tmp_path / name)
    with pytest.raises(ValueError): load_weights(Nasty(), tmp_path / "plain.pkl")
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "cut.safetensors").write_bytes(b"\x40\0\0\0\0\0\0\0{")
    (tmp_path / "empty.pt").write_bytes(b"")
    for name in ("text.pt", "cut.safetensors", "empty.pt"):
        with pytest.raises(ValueError): tensors_in(tmp_path / name)
    assert not note.exists()


def test_checkpoints_of_clnb_fit(tmp_path):
    from clnb.run import save_state

    net = small_convnet(1, 4, seed=1)
    state = {f"encoder.{k}": v for k, v in net.state_dict().items()}
    save_state(tmp_path / "s.safetensors", {"step": 3, "method": state})
    report = load_weights(other := small_convnet(1, 4, seed=0), tmp_path / "s.safetensors")
    assert report.prefix == "state/method/encoder."
    assert other.state_dict()["features.0.0.weight"].equal(net.features[0][0].weight)


# --------------------------------------------------------------------------------------------------------- Lightning

class FakeCallback:
    pass


@pytest.fixture
def fake_lightning(monkeypatch):
    parent, child = types.ModuleType("lightning"), types.ModuleType("lightning.pytorch")
    child.Callback = FakeCallback
    monkeypatch.setitem(sys.modules, "lightning", parent)
    monkeypatch.setitem(sys.modules, "lightning.pytorch", child)


def test_lightning_hooks_by_a_fake(fake_lightning, tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(256, 8))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    recorder = Recorder(probe=images(6), every=2, folder=tmp_path)
    callback = recorder.lightning()
    assert isinstance(callback, FakeCallback)
    trainer = types.SimpleNamespace(is_global_zero=True, global_step=0, optimizers=[optimizer], log_every_n_steps=2,
                                    logged_metrics={"train_acc": torch.tensor(0.5)}, sanity_checking=False,
                                    callback_metrics={"val_loss": torch.tensor(2.0), "train_acc": torch.tensor(0.5)})
    callback.on_train_start(trainer, net)
    for batch in range(8):                              # two batches gather gradients for one step
        trainer.global_step = (batch + 1) // 2
        callback.on_train_batch_end(trainer, net, {"loss": torch.tensor(1.0 / (batch + 1))}, None, batch)
    callback.on_validation_end(trainer, net)
    callback.on_train_end(trainer, net)
    history = recorder.history
    assert history["loss"].steps.tolist() == [1, 2, 3, 4] and history["learning_rate"].values.tolist() == [0.1] * 4
    assert history["embedding"].steps.tolist() == [0, 2, 4] and history["train_acc"].steps.tolist() == [2, 4]
    assert history["val_loss"].steps.tolist() == [4]
    callback.on_exception(trainer, net, RuntimeError("stop"))
    assert History.load(tmp_path).marks[-1].text == "RuntimeError: stop"
    other = types.SimpleNamespace(is_global_zero=False, global_step=9)
    callback.on_train_batch_end(other, net, None)
    assert recorder.steps_done == 4


def test_without_lightning_a_sentence(monkeypatch):
    for name in ("lightning", "lightning.pytorch", "pytorch_lightning"): monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match="pip install lightning"): Recorder().lightning()


def test_with_real_lightning(tmp_path):
    pl = pytest.importorskip("lightning.pytorch")

    class Net(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(256, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout())
            self.head = nn.Linear(16, 4)

        def training_step(self, batch, _):
            loss = nn.functional.cross_entropy(self.head(self.encoder(batch[0])), batch[1])
            self.log("train_loss", loss)
            return loss

        def validation_step(self, batch, _): self.log("val_loss", self.head(self.encoder(batch[0])).mean())
        def configure_optimizers(self): return torch.optim.SGD(self.parameters(), lr=0.1)

    def fit(record, accumulate=1):
        pl.seed_everything(0, verbose=False)
        net, x = Net(), images(64).float() / 255
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, torch.arange(64) % 4), 8, shuffle=True)
        recorder = Recorder(net, images(10), every=4, layer="encoder") if record else None
        pl.Trainer(max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
                   enable_model_summary=False, default_root_dir=tmp_path, log_every_n_steps=5,
                   accumulate_grad_batches=accumulate,
                   callbacks=[recorder.lightning()] if record else []).fit(net, loader, loader)
        return net, recorder

    for accumulate in (1, 2):
        (a, _), (b, recorder) = fit(False, accumulate), fit(True, accumulate)
        assert all(x.equal(y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))
        history, last = recorder.history, 16 // accumulate
        assert history["loss"].steps.tolist() == list(range(1, last + 1)) and history["embedding"].steps[-1] == last
        assert {"learning_rate", "val_loss"} <= set(history.names())
        assert np.allclose(history.last("embedding"), features_of(b, images(10), "encoder"), atol=1e-6)


def test_no_jupyter_and_no_lightning_at_import():
    code = ("import sys; import clnb.recorder; print([n for n in sys.modules if n.split('.')[0] in "
            "('IPython', 'ipywidgets', 'anywidget', 'lightning', 'pytorch_lightning', 'torchvision', 'pandas')])")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(out.stdout.replace("'", '"')) == []
    assert "class Recorder" in Path(module.__file__).read_text("utf-8")

"""Run and History: what would clutter the lesson: kills, races, broken files, and bounds."""

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from clnb import nets
from clnb.augment import affine_noise
from clnb.core import seeded
from clnb.data import ImageSet, balanced_indices, load
from clnb.losses import nt_xent
from clnb.methods.simclr import SimCLR
from clnb.run import (
    Column,
    History,
    Method,
    NonFiniteError,
    Run,
    load_state,
    looking,
    save_state,
    schedule_factor,
    watch,
    write_atomically,
)


class Small(Method):
    """Dropout and batch norm included: both carry state that a careless resume would get wrong."""

    tunable = {"temperature": (0.05, 2.0), "learning_rate": (1e-5, 1.0)}

    def __init__(self, temperature=0.5, delay=0.0, fail_at=None):
        super().__init__()
        self.temperature, self.delay, self.fail_at, self.calls = temperature, delay, fail_at, 0
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2),
                                 nn.Linear(16, 8))
        self.optimizer = torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)

    def embed(self, x):
        return self.net(x.float() / 255)

    def loss(self, batch) -> dict[str, Tensor]:
        time.sleep(self.delay)
        self.calls += 1
        if self.calls == self.fail_at:
            raise RuntimeError("broken on purpose")
        noise = torch.randn((2, *batch.images.shape), generator=batch.generator)
        za, zb = (self.net(batch.images / 255 + 0.1 * n) for n in noise)
        return {"loss": nt_xent(za, zb, self.temperature), "norm": za.norm(dim=1).mean()}


@pytest.fixture(scope="module")
def digits():
    return load("digits").subset(torch.arange(200))


def small(**kwargs):
    with seeded(0):
        return Small(**kwargs)


def make(digits, folder=None, steps=40, method=None, **kwargs):
    return Run(method or small(), digits, steps, batch_size=32, device="cpu", folder=folder, progress=False, **kwargs)


def finish(run):
    for _ in run:
        pass
    return run


def same(a, b):
    assert a.history["loss"].steps.tolist() == b.history["loss"].steps.tolist()
    assert a.history["loss"].values.tolist() == b.history["loss"].values.tolist()
    for (name, x), y in zip(a.method.state_dict().items(), b.method.state_dict().values(), strict=True):
        assert x.equal(y), name


# ------------------------------------------------------------------ the same numbers


def test_same_seed_same_numbers_and_other_seed_other_numbers(digits):
    same(finish(make(digits)), finish(make(digits)))
    assert finish(make(digits, seed=1)).history.last("loss") != finish(make(digits)).history.last("loss")


def test_background_equals_loop_equals_steps(digits):
    background = make(digits)
    assert background.start().join()
    stepped = make(digits)
    stepped.step(7)
    assert (stepped.steps_done, stepped.state) == (7, "paused")
    stepped.step(3).resume().join()
    same(background, finish(make(digits)))
    same(background, stepped)


def test_measures_do_not_change_the_training(digits):
    watched = make(digits)
    watched.measure("noise", lambda method: torch.rand(3), every=1)
    watched.measure("h", lambda method: method.embed(digits.images), every=3)
    same(finish(watched), finish(make(digits)))
    assert watched.history["h"].steps.tolist() == [0, *range(3, 40, 3), 40]


@pytest.mark.parametrize("stop_at", [1, 13, 39])
def test_resume_in_the_same_process(digits, tmp_path, stop_at):
    run = make(digits, tmp_path / "a", schedule="cosine", warmup=5)
    for step in run:
        if step == stop_at:
            break
    assert run.state == "paused"
    resumed = Run.load(tmp_path / "a", method=Small(), data=digits, device="cpu")
    assert resumed.steps_done == stop_at
    same(finish(resumed), finish(make(digits, schedule="cosine", warmup=5)))


TRAIN = """
    import sys, torch
    from clnb import nets
    from clnb.augment import affine_noise
    from clnb.core import seeded
    from clnb.data import balanced_indices, load
    from clnb.methods.simclr import SimCLR
    from clnb.run import Run
    torch.set_num_threads(1)
    with seeded(0):
        encoder, head = nets.mlp([64, 32, 32]), nets.mlp([32, 16])
        method = SimCLR(encoder, head, affine_noise(), temperature=0.2)
    run = Run(method, load("digits"), 200, batch_size=64, device="cpu", folder=sys.argv[1], checkpoint_every=20,
              progress=False)
    for step in run:
        if step == 30: run.set(temperature=0.5)
        print(step, flush=True)
"""


def python(code, *arguments):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
                            stdout=subprocess.PIPE, text=True, env=environment)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_in_the_middle_and_taken_up_in_another_process(tmp_path):
    whole = python(TRAIN, tmp_path / "whole")
    killed = python(TRAIN, tmp_path / "killed")
    for line in killed.stdout:
        if int(line) == 93:
            break
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    whole.communicate()
    assert whole.returncode == 0
    resume = """
        import sys, torch
        from clnb.run import Run
        torch.set_num_threads(1)
        run = Run.load(sys.argv[1], device="cpu")     # everything was made by clnb: the folder is enough
        print(run.steps_done, flush=True)
        run.start().join()
    """
    taken_up = python(resume, tmp_path / "killed")
    out, _ = taken_up.communicate()
    assert taken_up.returncode == 0 and 80 <= int(out.split()[0]) < 120
    a, b = (History.load(tmp_path / name) for name in ("whole", "killed"))
    assert a["loss"].steps.tolist() == b["loss"].steps.tolist() == list(range(1, 201))
    assert a["loss"].values.tolist() == b["loss"].values.tolist()
    assert a.marks == b.marks and [(m.step, m.changes) for m in a.marks] == [(30, {"temperature": 0.5})]
    x, y = (load_state(tmp_path / name / "checkpoints/step-00000200.safetensors") for name in ("whole", "killed"))
    assert all(x["method"][name].equal(y["method"][name]) for name in x["method"])


def test_changes_after_the_checkpoint_are_made_again(digits, tmp_path):
    def with_changes(run, last=40):
        for step in run:
            if step == 22:
                run.set(temperature=0.2, learning_rate=0.01)
            if step == last:
                break
        return run

    with_changes(make(digits, tmp_path / "a", checkpoint_every=10), last=27)
    (tmp_path / "a/checkpoints/step-00000027.safetensors").unlink()
    resumed = finish(Run.load(tmp_path / "a", method=Small(), data=digits, device="cpu"))
    whole = with_changes(make(digits))
    same(resumed, whole)
    assert resumed.method.learning_rate == pytest.approx(0.01) and resumed.history.marks == whole.history.marks


def test_a_broken_checkpoint_is_skipped(digits, tmp_path):
    run = finish(make(digits, tmp_path / "a", checkpoint_every=10))
    path = run.checkpoint(40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.warns(UserWarning, match="going back to the checkpoint before"):
        resumed = Run.load(tmp_path / "a", method=Small(), data=digits, device="cpu")
    assert resumed.steps_done == 30
    same(finish(resumed), run)


def test_branch_shares_the_past_and_nothing_else(digits):
    run = finish(make(digits, checkpoint_every=10))
    twin, other = run.branch(20), run.branch(20)
    other.set(temperature=0.05)
    same(finish(twin), run)
    finish(other)
    assert other.history["loss"].values[:20].tolist() == run.history["loss"].values[:20].tolist()
    assert other.history.last("loss") != run.history.last("loss") and not run.history.marks and other.history.marks


# ------------------------------------------------------------------ driving


def test_pause_is_answered_within_a_step(digits):
    run = make(digits, steps=10_000, method=small(delay=0.02)).start()
    time.sleep(0.1)
    began = time.monotonic()
    run.pause(wait=False)
    assert time.monotonic() - began < 0.02          # a callback only moves a number
    run.pause()
    assert run.state == "paused"
    done = run.steps_done
    time.sleep(0.1)
    assert run.steps_done == done
    run.save()
    run.resume()
    run.step(1)
    run.stop()
    assert run.state == "finished" and not run._thread.is_alive() and run.steps_done in run.checkpoints
    run.start()
    assert run.state == "running"
    run.stop()


def test_the_kernel_stays_free_while_awaiting(digits):
    run, ticks = make(digits, steps=60, method=small(delay=0.005)), []

    async def both():
        async def tick():
            while run.state != "finished":
                ticks.append(time.monotonic())
                await asyncio.sleep(0.01)
        task = asyncio.create_task(tick())
        run.start()
        await run
        await task

    asyncio.run(both())
    assert run.state == "finished" and len(ticks) > 10


def test_await_outlasts_a_pause(digits):
    run = make(digits, steps=30, method=small(delay=0.005)).start()
    run.pause()
    threading.Timer(0.2, run.resume).start()

    async def wait():
        await run

    asyncio.run(wait())
    assert run.state == "finished" and run.steps_done == 30


def test_two_drivers_are_refused(digits):
    run = make(digits, steps=1000, method=small(delay=0.01)).start()
    with pytest.raises(RuntimeError, match="pause\\(\\) it before"):
        next(iter(run))
    with pytest.raises(RuntimeError, match="pause\\(\\) it before save"):
        run.save()
    run.stop()
    for _ in run:
        with pytest.raises(RuntimeError, match="for loop is iterating"):
            run.start()
        break
    with pytest.raises(RuntimeError, match="has not been started"):
        make(digits).join()


def test_stop_inside_the_loop_ends_it(digits):
    run = make(digits)
    for step in run:
        if step == 5:
            run.stop()
    assert run.steps_done == 5 and run.state == "finished"


def test_an_error_in_the_thread_reaches_the_caller_and_stays(digits):
    run = make(digits, method=small(fail_at=5)).start()
    with pytest.raises(RuntimeError, match="broken on purpose"):
        run.join()
    assert run.state == "failed" and "broken on purpose" in run.trace and "in loss" in run.trace
    for again in (run.start, run.join, run.step, lambda: next(iter(run))):
        with pytest.raises(RuntimeError, match="broken on purpose"):
            again()


def test_an_error_in_a_measure_names_it(digits):
    run = make(digits).measure("wrong", lambda method: 1 / 0, every=10)
    with pytest.raises(ZeroDivisionError) as caught:
        finish(run)
    assert "'wrong' at step 0" in caught.value.__notes__[0]


def test_looking_restores_every_mode():
    net = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout())
    net[0].eval()
    with looking(net):
        assert not net[1].training and not torch.is_grad_enabled()
    assert net[1].training and not net[0].training


# ------------------------------------------------------------------ numbers that are not numbers


class Diverging(Small):
    def loss(self, batch):
        parts = super().loss(batch)
        return parts | {"loss": parts["loss"] * (math.nan if self.calls == 17 else 1.0)}


def test_a_loss_that_is_not_finite_stops_the_run(digits):
    run = make(digits, method=Diverging(), checkpoint_every=5)
    with pytest.raises(NonFiniteError, match="the loss is not finite at step 17: loss = nan, norm =") as caught:
        finish(run)
    assert caught.value.step == 17 and caught.value.checkpoint == run.checkpoint(15) and run.state == "failed"
    saved = load_state(caught.value.checkpoint)["method"].values()
    assert all(value.isfinite().all() for value in saved if value.is_floating_point())
    branch = run.branch(15)
    assert branch.steps_done == 15 and branch.state == "paused"


class Poisoned(Small):
    def update(self, batch):
        parts = super().update(batch)
        if self.calls == 8:
            self.net[1].weight.data[0, 0] = math.inf
        return {"loss": parts["norm"] * 0}          # the loss itself looks fine


def test_parameters_that_are_not_finite_are_not_saved(digits):
    run = make(digits, method=Poisoned(), checkpoint_every=4)
    with pytest.raises(NonFiniteError, match=r"a parameter is not finite at step 8: net\.1\.weight"):
        finish(run)
    assert run.checkpoints == [0, 4]


# ------------------------------------------------------------------ bad input


def test_bad_arguments(digits, tmp_path):
    with pytest.raises(ValueError, match="between 1 and the 200 samples"):
        Run(Small(), digits, 10, batch_size=201)
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        Run(Small(), digits, 0, batch_size=10)
    with pytest.raises(ValueError, match="schedule must be one of"):
        Run(Small(), digits, 10, batch_size=10, schedule="step")
    run = make(digits, tmp_path / "a")
    with pytest.raises(ValueError, match="already holds a run"):
        make(digits, tmp_path / "a")
    with pytest.raises(FileNotFoundError, match="holds no run"):
        Run.load(tmp_path)
    finish(run)
    other = ImageSet(digits.images.flip(-1), digits.labels, digits.classes)
    with pytest.raises(ValueError, match="trained on other data"):
        Run.load(tmp_path / "a", method=Small(), data=other)
    with pytest.raises(ValueError, match="pass method="):
        Run.load(tmp_path / "a", data=digits)
    with pytest.raises(ValueError, match="no hyper-parameter 'tau'"):
        run.set(tau=1.0)
    with pytest.raises(ValueError, match="must be a finite number, got 'high'"):
        run.set(temperature="high")
    with pytest.raises(ValueError, match="every must be at least 1"):
        run.measure("x", len, every=0)


def test_a_full_disk_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"before")

    def full(file):
        file.write(b"half of")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="free some disk space"):
        write_atomically(path, full)
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


def test_state_refuses_objects(tmp_path):
    with pytest.raises(TypeError, match="state/method/0 is a object"):
        save_state(tmp_path / "x", {"method": [object()]})
    tree = {"half": torch.ones(2, dtype=torch.bfloat16), "empty": torch.zeros(0, 3), 1: (None, "a", 0.1)}
    save_state(tmp_path / "x", tree)
    back = load_state(tmp_path / "x")
    assert back["half"].dtype == torch.bfloat16 and back["empty"].shape == (0, 3) and back[1] == (None, "a", 0.1)


# ------------------------------------------------------------------ the history


def test_a_column_is_bounded_and_keeps_its_shape():
    column = Column(limit=1000)
    for step in range(50_000):
        column.append(step, float(step))
    assert 400 <= len(column.steps) <= 1000 and column.values.tolist() == column.steps.tolist()
    assert np.all(np.diff(column.steps) > 0) and column.steps[0] == 0 and column.steps[-1] > 49_900


def test_arrays_are_bounded_in_memory_and_complete_on_disk(tmp_path):
    memory, disk = History(budget=100_000), History(tmp_path / "h", budget=100_000)
    for step in range(100):
        for history in (memory, disk):
            history.record(step, z=np.full((50, 20), step, np.float64))
    kept = memory["z"].steps
    assert len(kept) <= 13 and kept[-1] == 99 and memory["z"].thinned > 0 and "thinned" in repr(memory["z"])
    assert all(memory["z"].frame(k)[0, 0] == step for k, step in enumerate(kept))
    assert disk["z"].steps.tolist() == list(range(100)) and all(disk["z"].frame(k)[0, 0] == k for k in range(100))
    assert sum(frame.nbytes for frame in disk._series["z"]._kept.values()) <= 100_000
    assert History.load(tmp_path / "h")["z"].values.shape == (100, 50, 20)


def test_history_round_trip(tmp_path):
    history = History()
    history.record(1, loss=1.5, **{"a/b c": np.arange(6).reshape(2, 3), "flag": True})
    history.record(2, loss=torch.tensor(float("nan")), half=torch.ones(2, dtype=torch.bfloat16), vector=np.ones(2))
    history.mark(2, "τ → <b>1</b>", temperature=1.0)
    back = History.load(history.save(tmp_path / "h.npz"))
    assert back.names() == history.names() and back.marks == history.marks
    for name in history.names():
        assert back[name].is_array == history[name].is_array
        np.testing.assert_array_equal(back[name].frame(-1), history[name].frame(-1))
    frame = back.to_frame()
    assert frame.index.name == "step" and list(frame.columns) == ["loss", "flag"] and math.isnan(frame.loc[2, "loss"])


def test_a_history_can_be_read_while_it_is_written(tmp_path):
    history, wrong = History(tmp_path), []

    def write():
        for step in range(2000):
            history.record(step, loss=step, z=np.full(4, step))

    def read():
        while writer.is_alive():
            for name in history.names():
                series = history[name]
                if len(series) and series.frame(-1) is None:
                    wrong.append(name)

    writer = threading.Thread(target=write)
    readers = [threading.Thread(target=read) for _ in range(3)]
    writer.start()
    for reader in readers: reader.start()
    for thread in (writer, *readers): thread.join()
    assert not wrong and history["loss"].values.tolist() == list(range(2000))


def test_a_torn_journal_is_read_up_to_the_tear(tmp_path):
    history = History(tmp_path)
    for step in range(5):
        history.record(step, loss=step, z=np.ones(2))
    history.flush()
    text = (tmp_path / "history.jsonl").read_text()
    (tmp_path / "history.jsonl").write_text(text[:-8])
    (tmp_path / "arrays/z/0000000002.npy").unlink()
    back = History.load(tmp_path)
    assert back["loss"].steps.tolist() == [0, 1, 2, 3] and back["z"].steps.tolist() == [0, 1, 3]
    assert json.loads(text.splitlines()[0])["step"] == 0


def test_listeners_hear_and_stop_hearing():
    history, heard = History(), []
    end = history.subscribe(lambda: heard.append(history.version))
    history.record(1, loss=1)
    end()
    end()
    history.record(2, loss=1)
    assert heard == [1]
    with pytest.raises(TypeError, match="recorded as a number before"):
        history.record(3, loss=np.ones(3))
    with pytest.raises(FileNotFoundError, match="neither a file"):
        History.load("nowhere")


# ------------------------------------------------------------------ odds and ends


def test_schedule():
    assert [schedule_factor(t, 10, "constant", 4) for t in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert schedule_factor(4, 104, "cosine", 4) == 1.0 and schedule_factor(54, 104, "cosine", 4) == pytest.approx(0.5)


def test_learning_rate_scales_groups_and_is_recorded(digits):
    method = small()
    groups = [{"params": method.net[1].parameters()}, {"params": method.net[5].parameters(), "lr": 0.5}]
    method.optimizer = torch.optim.SGD(groups, lr=0.05)
    run = make(digits, steps=4, method=method)
    run.step(2)
    run.set(learning_rate=0.1)
    run.resume().join()
    assert [group["lr"] for group in method.optimizer.param_groups] == pytest.approx([0.1, 1.0])
    assert run.history["learning_rate"].values.tolist() == pytest.approx([0.05, 0.05, 0.1, 0.1])
    assert run.history.marks[0].text == "learning_rate 0.05 → 0.1"


def test_watch_records_what_the_views_draw(digits):
    with seeded(0):
        method = SimCLR(nets.mlp([64, 32]), nets.mlp([32, 8]), affine_noise(), temperature=0.2)
    run = watch(Run(method, digits, 6, batch_size=50, device="cpu", progress=False), digits, every=3, pairs=5)
    finish(run)
    shapes = {name: run.history.last(name).shape for name in ("embedding", "projection", "pairs")}
    assert shapes == {"embedding": (200, 32), "projection": (200, 8), "pairs": (2, 5, 8)}
    assert 0 <= run.history.last("learned_fraction") <= 1
    assert run.history.last("loss.floor") < run.history.last("loss") < run.history.last("loss.chance") * 1.1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu(digits, tmp_path):
    with seeded(0):
        method = SimCLR(nets.small_convnet(1, 16), nets.mlp([16, 8]), affine_noise(), temperature=0.2)
    run = Run(method, digits, 300, batch_size=64, folder=tmp_path / "a", progress=False)
    assert run.note["precision"] == "bf16"
    run.start().join()
    assert len(run.history["loss"]) == 300 and run.history.last("loss") < run.history["loss"].values[0]
    assert Run.load(tmp_path / "a").steps_done == 300


def test_a_script_may_end_while_its_run_goes_on(tmp_path):
    leaving = python("""
        import sys, time
        from clnb import nets
        from clnb.augment import affine_noise
        from clnb.data import balanced_indices, load
        from clnb.methods.simclr import SimCLR
        from clnb.run import Run
        method = SimCLR(nets.mlp([64, 32]), nets.mlp([32, 16]), affine_noise())
        run = Run(method, load("digits"), 1_000_000, batch_size=64, device="cpu", folder=sys.argv[1]).start()
        while run.steps_done < 5: time.sleep(0.01)
    """, tmp_path / "a")
    leaving.communicate()
    assert leaving.returncode == 0
    assert Run.load(tmp_path / "a", device="cpu").steps_done >= 5      # its last step is saved


def test_two_runs_at_once_give_their_own_numbers(digits):
    alone, together = [finish(make(digits, seed=seed)) for seed in (0, 1)], [make(digits, seed=seed) for seed in (0, 1)]
    for run in together: run.start()
    for run in together: run.join()
    for a, b in zip(alone, together, strict=True): same(a, b)


class Census(Small):
    """Looks at the whole data before each pass, in three parts."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))
        self.asked, self.interrupt = [], None

    def start_epoch(self, data, epoch):
        """Three numbers of all the data and of the random state."""
        for part in range(3):
            self.asked.append((epoch, part))
            self.mean[part] = data.images.float().mean() + torch.rand(())
            yield f"part {part}"
            if self.interrupt: self.interrupt()

    def loss(self, batch):
        """Uses what was found."""
        return {"loss": super().loss(batch)["loss"] + self.mean.sum()}


def test_before_each_pass(digits, tmp_path):
    """Once before each pass, in the background and in a loop, and again to the same numbers after a resume."""
    def census(folder, until):
        with seeded(0): method = Census()
        run = Run(method, digits, 12, batch_size=60, device="cpu", folder=folder, checkpoint_every=2, progress=False)
        for step in run:
            if step == until: break
        return run

    whole = census(tmp_path / "a", 12)
    passes = len(digits) // 60
    assert whole.method.asked == [(epoch, part) for epoch in range(-(-12 // passes)) for part in range(3)]
    for until in (passes - 1, passes, passes + 1):
        part = census(tmp_path / f"b{until}", until)
        part.save()
        part.method.asked.clear()
        for _ in part: pass
        assert part.history["loss"].values.tolist() == whole.history["loss"].values.tolist()


class Dealer(Small):
    """Deals its own batches: five a pass, balanced by class."""

    def steps_in_pass(self, data, batch_size): return 5

    def deal(self, data, batch_size, generator): return balanced_indices(data.labels, batch_size // 10, 5, generator)

    def loss(self, batch):
        """Counts the classes."""
        return {**super().loss(batch), "fewest": batch.labels.bincount(minlength=10).min().float()}


def test_a_method_that_deals_its_own_batches(digits, tmp_path):
    """They are balanced, another pass deals others, and a run that is taken up within a pass goes on with its deal."""
    def new(folder):
        with seeded(0): return Run(Dealer(), digits, 12, batch_size=40, device="cpu", folder=folder, progress=False)

    whole, part = finish(new(tmp_path / "a")), new(tmp_path / "b")
    assert (whole.history["fewest"].values == 4).all()
    assert not whole._batch(0).index.equal(whole._batch(5).index)
    for step in part:
        if step == 7: break
    part.save()
    same(finish(Run.load(tmp_path / "b", Dealer(), digits, device="cpu")), whole)


def test_a_pause_inside_the_preparation(digits):
    """It is answered between two parts, takes no step, and what follows is the same."""
    def new():
        with seeded(0): return Run(Census(), digits, 12, batch_size=60, device="cpu", progress=False)

    whole, run = new(), new()
    for _ in whole: pass
    seen = []

    def interrupt() -> None:
        seen.append(run.activity)
        if len(seen) == 2: run.pause(wait=False)

    run.method.interrupt = interrupt
    run.start()
    while run.state != "paused": time.sleep(0.001)
    assert run.steps_done == 0 and seen == ["part 0", "part 1"] and run.activity == ""
    run.start().join()
    assert run.history["loss"].values.tolist() == whole.history["loss"].values.tolist()
    assert run.method.asked[:4] == [(0, 0), (0, 1), (0, 2), (0, 0)]      # begun again

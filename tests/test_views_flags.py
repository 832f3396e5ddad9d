"""A collapse of any run is named, with numbers, in the monitor, on the curves and beside the buttons, if it stays."""

import json

import numpy as np
import pytest
import torch

from clnb.augment import Noise
from clnb.data import load
from clnb.methods.simclr import SimCLR, alignment_only
from clnb.nets import mlp, projection_head
from clnb.run import History, Run
from clnb.views import CollapseMonitor, Controls, Curves
from clnb.views.live import flags_of, judged, spells

RNG = np.random.default_rng(0)
HEALTHY, POINT = RNG.standard_normal((200, 16)), np.ones((200, 16)) + 1e-4 * RNG.standard_normal((200, 16))
FLAT = np.pad(RNG.standard_normal((200, 2)), ((0, 0), (0, 14))) + 1e-6 * RNG.standard_normal((200, 16))


def recorded(*, every=50, loss=4.0, **series):
    "Each series is a list of arrays, one for each record."
    history = History()
    for k in range(len(next(iter(series.values())))):
        named = {name: arrays[k] for name, arrays in series.items()}
        history.record(k * every, loss=loss, **{"loss.chance": 5.0, "loss.floor": 1.0}, **named)
    return history


def test_a_healthy_run_is_left_alone():
    history = recorded(projection=[HEALTHY] * 12, embedding=[HEALTHY] * 12)
    flags = flags_of(history)
    assert flags.marks(wait=True) == [] and flags.says(wait=True) == "" and flags.says(ended=True, wait=True) == ""
    assert Curves(history).picture(-1)["faults"] == []


@pytest.mark.parametrize(("now", "kind"), [(POINT, "complete collapse"), (FLAT, "dimensional collapse")])
def test_a_collapse_is_marked_where_it_began(now, kind):
    history = recorded(projection=[HEALTHY] * 8 + [now] * 5, embedding=[HEALTHY] * 13)
    flags = flags_of(history)
    (step, text), = flags.marks(wait=True)
    assert step == 400 and text.startswith(f"projection z: {kind}") and any(c.isdigit() for c in text)
    assert f"since step 400: {flags.worst(wait=True)[1].diagnosis.evidence}" in flags.says(wait=True)
    assert "embedding h keeps" in flags.says(wait=True)                     # the other level is not blamed
    frame = Curves(history).picture(-1)
    assert [fault["step"] for fault in frame["faults"]] == [400] and kind in frame["reading"]
    levels = CollapseMonitor(history).picture(-1)["levels"]
    assert [level["kind"] for level in levels] == [kind, "healthy"]


def test_what_passes_is_no_collapse():
    history = recorded(projection=[HEALTHY] * 4 + [POINT] * 2 + [HEALTHY] * 4)
    assert flags_of(history).marks(wait=True) == [] and flags_of(history).says(wait=True) == ""


def test_a_network_that_recovers_from_its_start_is_not_blamed():
    "Untrained outputs point nearly the same way; that gets better at each record."
    spread = [np.ones((200, 16)) + 0.02 * 1.5 ** k * HEALTHY for k in range(14)]
    assert flags_of(recorded(projection=spread)).marks(wait=True) == []
    assert [step for step, _ in flags_of(recorded(projection=[POINT] * 14)).marks(wait=True)] == [0]


def test_one_that_ends_collapsed_need_not_wait():
    found = {0: flags_of(recorded(projection=[POINT])).at("projection", 0)}
    assert spells(found) == [] and len(spells(found, ended=True)) == 1


def test_a_loss_alone_is_judged():
    history = History()
    for step in range(200): history.record(step, loss=5.0, **{"loss.chance": 5.0, "loss.floor": 1.0})
    assert judged(history) == ["loss"]
    assert "not learning" in flags_of(history).says(wait=True)
    frame = CollapseMonitor(history).picture(-1)
    assert frame["kind"] == "not learning" and "5" in frame["reason"]


def test_not_a_number_counts_at_once():
    broken = HEALTHY.copy()
    broken[3, 2] = np.nan
    assert flags_of(recorded(projection=[HEALTHY] * 3 + [broken])).worst(wait=True)[1].diagnosis.kind == "not finite"


def test_any_matrix_of_any_history_is_judged():
    history = recorded(features=[HEALTHY] * 4 + [POINT] * 4)
    assert judged(history) == ["features"]
    assert [step for step, _ in flags_of(history).marks(wait=True)] == [200]
    assert "complete collapse" in Curves(history).picture(-1)["faults"][0]["text"]


def test_large_records_are_judged_in_the_background():
    rows = torch.randn(6000, 256).numpy()
    history = recorded(projection=[rows] * 6)
    flags = flags_of(history)
    flags.over_time("projection", wait=False)
    flags._worker.join(60)
    assert len(flags.over_time("projection", wait=False)) == 6 and flags.stirred


def test_a_run_that_only_attracts_is_flagged_beside_its_buttons(tmp_path):
    "The first lesson's broken run: the verdict names the kind, the numbers and where it began."
    data = load("digits")
    encoder = mlp([64, 64, 32], seed=0)
    method = SimCLR(torch.nn.Sequential(torch.nn.Flatten(), encoder), projection_head(32, 16, seed=0), Noise(0.1),
                    objective=alignment_only, learning_rate=3e-2)
    run = Run(method, data, steps=120, batch_size=64, folder=tmp_path / "run")
    run.measure("projection", lambda method: method.project(data.images[:200]), every=10)
    for _ in run: pass
    said = Controls(run).says(wait=True)
    assert "collapse since" in said and "projection z" in said and any(c.isdigit() for c in said)


def test_the_page_marks_it_and_changes_between_levels(open_page, tmp_path):
    history = recorded(projection=[HEALTHY] * 8 + [POINT] * 5, embedding=[HEALTHY] * 13)
    page = open_page(Curves(history).save(tmp_path / "curves.html"))
    faults = json.loads(page.page.locator("canvas").first.get_attribute("data-faults"))
    assert [fault["step"] for fault in faults] == [400]
    assert not page.problems()
    page = open_page(CollapseMonitor(history).save(tmp_path / "monitor.html"))
    verdict, canvas = page.page.locator(".clnb-verdict"), page.page.locator("canvas").first
    assert verdict.locator(".clnb-level").count() == 2 and "complete collapse" in verdict.inner_text()
    before = canvas.get_attribute("data-now")
    page.page.get_by_role("button", name="embedding h").click()
    page.page.wait_for_timeout(200)
    assert canvas.get_attribute("data-now") != before and verdict.get_attribute("data-kind") == "healthy"
    assert not page.problems()

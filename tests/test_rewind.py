"""Selections, boards, rewinding and the bounds of a history's memory, without a browser."""

import json
import re
import threading
import time

import numpy as np
import pytest
import torch

from clnb.run import Frames, History
from clnb.views.base import (
    Board,
    Painter,
    Pool,
    Selection,
    SubsetBar,
    View,
    landmarks,
    message,
    packed,
    position,
    rows_of,
    stacked,
)
from clnb.views.live import CollapseMonitor, Curves, Spectrum
from clnb.views.pictures import ImageGrid, LogitMatrix
from clnb.views.rewind import Rewind, steps_of

NASTY = "<img src=x onerror=window.hacked=1></script>"


def rng(seed=0): return np.random.default_rng(seed)


def recorded(steps=range(0, 101, 10), pairs=range(0, 101, 25)):
    history = History()
    for step in sorted({*steps, *pairs}):
        z = rng(step).normal(size=(30, 8))
        more = {"embedding": z} if step in steps else {}
        if step in pairs: more["pairs"] = np.stack([z[:6], z[6:12]])
        history.record(step, loss=1 / (step + 1), **more)
    return history


# ------------------------------------------------------------------------------------------------------ selection

@pytest.mark.parametrize("given, rows", [
    ([3, 1, 3], [1, 3]), ((), []), ({5, 2}, [2, 5]), (range(3), [0, 1, 2]), (np.array([True, False, True]), [0, 2]),
    (torch.tensor([4, 0]), [0, 4]), (np.array([7], np.uint8), [7]),
    (torch.tensor([False, True]), [1]), (np.int64(6), [6]),
])
def test_rows_come_in_many_kinds(given, rows):
    found = rows_of(given)
    assert found.dtype == np.uint32 and found.tolist() == rows
    with pytest.raises(ValueError): found[:1] = 9                # read-only


@pytest.mark.parametrize("given", [[-1], np.array([-1, 2]), [0.5], ["a"], [[1, 2], [3, 4]], [2**32]])
def test_what_cannot_be_rows_is_refused_and_changes_nothing(given):
    selection = Selection([1, 2])
    with pytest.raises(ValueError, match="rows are whole numbers"): selection.set(given)
    assert selection.index.tolist() == [1, 2]


@pytest.mark.parametrize("seed", range(4))
def test_subsets_are_sets(seed):
    a, b = (set(rng(seed + k).choice(50, 20).tolist()) for k in (0, 10))
    selection = Selection(a)
    selection.save("a")
    for how, expected in (("add", a | b), ("within", a & b), ("without", b - a), ("replace", a)):
        selection.set(b)
        selection.select("a", how)
        assert set(selection.index.tolist()) == expected
    with pytest.raises(ValueError, match="replace, add, within, without"): selection.select("a", "xor")
    with pytest.raises(KeyError, match="the subsets are: 'a'"): selection.select("b")
    with pytest.raises(KeyError, match="the subsets are: 'a'"): selection.remove("b")
    with pytest.raises(TypeError): selection.subsets["c"] = [1]
    selection.remove("a")
    assert not selection.subsets
    for name in ("", " ", 3):
        with pytest.raises(ValueError, match="needs a name"): selection.save(name)


def test_subsets_survive_a_file(tmp_path):
    selection, heard = Selection([1, 2]), []
    end = selection.watch_subsets(lambda s: heard.append(list(s.subsets)))
    selection.save(NASTY)
    selection.set([7])
    end(), end()
    selection.save("later")
    back = Selection.read(selection.write(tmp_path / "s.json"))
    assert back.index.tolist() == [7]
    assert {name: rows.tolist() for name, rows in back.subsets.items()} == {NASTY: [1, 2], "later": [7]}
    assert heard == [[NASTY]] and [p.name for p in tmp_path.iterdir()] == ["s.json"]
    (tmp_path / "wrong.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match="is not a selection"): Selection.read(tmp_path / "wrong.json")


def test_the_bar_shows_the_subsets_of_its_selection():
    bar, first, second = SubsetBar(), Selection([1]), Selection([2, 3])
    bar.link(first), first.save("a")
    assert [(one["name"], one["rows"]["shape"]) for one in bar.named] == [("a", [1])]
    bar.link(second), first.save("b")
    assert bar.named == []
    bar._asked(None, {"id": 1, "ask": "save", "name": NASTY}, [])
    assert [one["name"] for one in bar.named] == [NASTY] and NASTY not in bar.page() and bar.static()._repr_png_()
    bar._asked(None, {"id": 1, "ask": "remove", "name": NASTY}, [])
    assert bar.named == [] and not second.subsets


def test_listeners_may_leave_fail_and_select_while_they_are_told():
    selection, heard = Selection(), []
    ends = []
    ends.append(selection.subscribe(lambda s: (ends[0](), ends[1]())))       # leaves, and takes the next along
    ends.append(selection.subscribe(lambda s: heard.append("gone")))
    selection.subscribe(lambda s: 1 / 0 if 3 in s.index else None)
    selection.subscribe(lambda s: s.set(s.index[s.index < 10]))              # corrects what was selected
    selection.subscribe(lambda s: heard.append(s.index.tolist()))
    selection.set([1, 20])
    assert heard[-1] == [1] and "gone" not in heard
    with pytest.raises(ZeroDivisionError): selection.set([3])
    assert heard[-1] == [3]                                                   # the others were told all the same
    def stop(_): raise KeyboardInterrupt
    end = selection.subscribe(stop)
    with pytest.raises(KeyboardInterrupt): selection.set([4])
    end()
    selection.set([5])
    assert heard[-1] == [5]                                                   # and they are told again


def test_many_threads_select():
    selection, last = Selection(), []
    selection.subscribe(lambda s: last.append(s.index.tolist()))
    threads = [threading.Thread(target=lambda k=k: [selection.set([k, j]) for j in range(200)]) for k in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert last[-1] == selection.index.tolist()          # whoever listens ends with what is selected


def test_page_and_kernel_do_not_echo():
    views, selection, sent = [Spectrum(rng().normal(size=(20, 4))) for _ in range(3)], Selection(), []
    for view in views:
        view.link(selection)
        view.observe(lambda change: sent.append(change["owner"]), "selected")
    views[0].set_state({"selected": memoryview(np.array([5, 2, 5], "<u4").tobytes())})
    assert [np.frombuffer(view.selected, "<u4").tolist() for view in views] == [[2, 5]] * 3
    assert len(sent) <= 4                                # the page's own, put in order, and two others


# ------------------------------------------------------------------------------------------------------ moments

@pytest.mark.parametrize("seed", range(5))
def test_position_is_the_newest_that_is_not_later(seed):
    steps = np.unique(rng(seed).integers(0, 1000, 50)).tolist()
    for moment in rng(seed).integers(0, 1100, 100).tolist():
        before = [k for k, step in enumerate(steps) if step <= moment]
        assert position(steps, moment) == (before[-1] if before else 0)
    assert position(steps, -1) == position([], 5) == -1


@pytest.mark.parametrize("count, marks", [(1000, [333, 700]), (61, []), (60, [5]), (500, list(range(500))),
                                          (3, [1]), (1, [])])
def test_landmarks_keep_ends_and_marks(count, marks):
    steps = [10 * k for k in range(count)]
    kept = landmarks(steps, [10 * mark + 3 for mark in marks], 60)
    assert len(kept) <= 60 and kept == sorted(set(kept)) and {0, count - 1} <= set(kept)
    if len(marks) < 10: assert set(marks) <= set(kept)
    assert len(kept) >= min(count, 55)


def test_a_view_stays_with_its_step_when_the_history_thins_itself():
    history = History(budget=20 * 30 * 8 * 8)
    view = Spectrum(history, names=("embedding",))
    for step in range(15): history.record(step, embedding=rng(step).normal(size=(30, 8)))
    history.mark(9, "here")
    view.seek(9)
    assert view.at == 9 and view.frame["step"] == 9
    for step in range(15, 80): history.record(step, embedding=rng(step).normal(size=(30, 8)))
    view.follow()
    assert history["embedding"].thinned and view.frame["step"] == 9 and view.steps[view.at] == 9


def test_the_slider_of_the_page_speaks_of_the_steps_it_knows():
    view = LogitMatrix(history := recorded())
    view.set_state({"at": 2})
    assert view.moment == 50
    for step in (110, 120): history.record(step, pairs=np.zeros((2, 6, 8)))
    view.set_state({"at": -1})
    assert view.moment == -1
    view.close()


# ------------------------------------------------------------------------------------------------------ rewind

def test_rewind_moves_views_in_step():
    history = recorded()
    curves, spectrum, matrix = Curves(history), Spectrum(history, names=("embedding",)), LogitMatrix(history)
    monitor = CollapseMonitor(history, name="embedding")
    rewind = Rewind(curves, [spectrum, matrix], monitor)
    assert rewind.steps == sorted({*range(0, 101, 10), *range(0, 101, 25)})
    for step in (37, 0, 99, 100, 25):
        rewind.seek(step)
        assert rewind.steps[rewind.at] == max(s for s in rewind.steps if s <= step)
        assert spectrum.frame["step"] == monitor.frame["step"] == step // 10 * 10
        assert matrix.frame["step"] == step // 25 * 25 and curves.moment == step
    rewind.seek()
    assert spectrum.frame["step"] == 100 and curves.moment == -1 and rewind.at == -1
    history.record(110, embedding=rng().normal(size=(30, 8)))
    spectrum.follow(), rewind.follow()
    assert spectrum.frame["step"] == 110 == rewind.steps[-1]
    assert all(view.led == rewind.options["id"] for view in rewind.walks)
    rewind.close()
    assert not any(view.led for view in rewind.walks)


def test_looking_back_is_not_disturbed():
    history = recorded()
    spectrum = Spectrum(history, names=("embedding",))
    rewind = Rewind(spectrum)
    rewind.seek(40)
    frames = []
    spectrum.observe(lambda change: frames.append(change["new"]), "frame")
    for step in (110, 120, 130):
        history.record(step, embedding=rng(step).normal(size=(30, 8)))
        spectrum.follow(), rewind.follow()
    assert not frames and rewind.steps[-1] == 130 and rewind.steps[rewind.at] == 40 and spectrum.steps[-1] == 130


def test_bookmarks_and_marks():
    history = recorded()
    history.mark(33, NASTY)
    rewind = Rewind(Spectrum(history, names=("embedding",)))
    assert rewind.marked == [{"step": 33, "text": NASTY, "own": False}]
    rewind.seek(60)
    rewind.bookmark("here")
    rewind._asked(None, {"id": 1, "ask": "bookmark", "step": 10, "text": "from the page"}, [])
    assert [mark["text"] for mark in rewind.marked] == ["from the page", NASTY, "here"]
    assert rewind.bookmarks == ((10, "from the page"), (60, "here"))
    rewind._asked(None, {"id": 2, "ask": "forget", "step": 10, "text": "from the page"}, [])
    assert rewind.bookmarks == ((60, "here"),)
    history.mark(70, "later")
    rewind.follow()
    assert rewind.marked[-1]["text"] == "later"
    with pytest.raises(KeyError, match="'here'"): rewind.forget("there")
    with pytest.raises(ValueError, match="nothing has been recorded"): Rewind(Spectrum(History())).bookmark("x")
    with pytest.raises(ValueError, match="give it some"): Rewind()


def test_only_numbers_can_be_walked_too():
    history = History()
    for step in range(5000): history.record(step, loss=1.0)
    steps = steps_of([Curves(history)])
    assert len(steps) <= 2000 and steps[0] == 0 and steps[-1] == 4999


# ------------------------------------------------------------------------------------------------------ boards, pages

def states(text):
    "The states of the views of a page, and its arrays."
    found = re.findall(r"^const model = new PageModel\((.*)\);$", text, flags=re.M)
    return [json.loads(part) for part in found], json.loads(re.search(r"^POOL.texts = (.*);$", text, flags=re.M)[1])


def test_a_board_is_one_thing(tmp_path):
    history = recorded()
    images = rng().integers(0, 256, (30, 3, 8, 8), dtype=np.uint8)
    both = [ImageGrid(images, title="a"), ImageGrid(images, title=NASTY)]
    board = Board([both, Spectrum(history, names=("embedding",))], title=NASTY)
    selection = Selection([4])
    assert board.link(selection) is board and all(view.selection is selection for view in board.views)
    board.views[1].selected = np.array([9], "<u4").tobytes()
    assert selection.index.tolist() == [9]
    text = board.save(tmp_path / "board.html").read_text("utf-8")
    assert text == board.page() and NASTY not in text and "<img" not in text and text.count("</script>") == 1
    assert "http" not in text.replace("http-equiv", "")
    assert f"<title>{NASTY.replace('<', '&lt;').replace('>', '&gt;')}" in text
    views, pool = states(text)
    assert [view["name"] for view in views] == ["imagegrid", "imagegrid", "spectrum"] and len(set(pool)) == len(pool)
    pictures = [view["frames"][0]["columns"][0]["images"]["bytes"] for view in views[:2]]
    assert pictures[0] == pictures[1]                                       # the same bytes: one entry
    assert text.count("class PageModel") == 1 and text.count("MODULES[\"imagegrid\"] = ") == 1
    assert board.static()._repr_png_()[:4] == b"\x89PNG" and "<img" not in board.to_html()
    assert Board([board, both[0]]).rows == [both, [board.views[2]], [both[0]]]
    with pytest.raises(TypeError, match="a board holds views"): Board([3])


def test_views_keep_the_selection_they_were_given():
    selection = Selection([1])
    views = [Spectrum(rng().normal(size=(20, 4))) for _ in range(2)]
    views[1].link(selection)
    assert Board(views).selection is selection and Board(views, chosen := Selection()).selection is chosen


def test_the_views_of_a_page_carry_the_same_moments():
    history = History()
    for step in range(0, 3000, 3):
        history.record(step, embedding=rng(step).normal(size=(20, 4)))
        if step % 2 == 0: history.record(step, pairs=rng(step).normal(size=(2, 4, 4)))
        if step == 1500: history.mark(step, "turn")
    rewind = Rewind(Spectrum(history, names=("embedding",)), LogitMatrix(history))
    rewind.bookmark("own", 777)
    views, _ = states(rewind.page(frames=20))
    first, second, slider = (view["steps"] for view in views)
    assert all(len(steps) <= 20 and steps[0] == 0 for steps in (first, second, slider)) and slider == first
    assert {1500, 777} <= set(slider) and slider[-1] == 2997 and second[-1] == 2994
    assert [view["led"] for view in views[:2]] == [views[2]["options"]["id"]] * 2
    assert [mark["text"] for mark in views[2]["marked"]] == ["own", "turn"]
    alone, _ = states(rewind.walks[0].page())
    assert alone[0]["led"] == "" and len(alone[0]["steps"]) <= 60 and 1500 in alone[0]["steps"]


def test_numbers_that_are_none_and_bytes():
    pool = Pool()
    made = pool.plain({"a": [float("nan"), float("inf"), np.float32(1.5)], "b": b"xy",
                       "c": (memoryview(b"xy"), {1: None})})
    assert made == {"a": [None, None, 1.5], "b": {"pool": 0}, "c": [{"pool": 0}, {"1": None}]} and len(pool.texts) == 1


def test_arrays_at_any_depth_of_a_reply():
    reply, buffers = message({"a": packed([1.0]), "list": [{"x": packed([2, 3], "uint8")}], "bytes": 3})
    assert buffers == [np.float32([1]).tobytes(), b"\x02\x03"]
    assert reply["list"][0]["x"]["bytes"] == 1 and reply["bytes"] == 3


def test_pictures_are_stacked():
    view = Spectrum(rng().normal(size=(20, 4)))
    tall = stacked([[view.static(), view.static()], [view.static()]], "two $ rows")
    assert tall.get_figwidth() == 8 and tall.get_figheight() > view.size[1] and tall._repr_png_()


# ------------------------------------------------------------------------------------------------------ memory

def test_ten_thousand_frames_stay_within_the_budget():
    one = np.zeros((400, 64), np.float32)
    frames = Frames(budget=50 * one.nbytes, marks=lambda: (3333, 7001))
    most = 0
    for step in range(10_000):
        frames.append(step, one)
        most = max(most, frames.bytes)
        assert frames.steps[-1] == step
    steps = frames.steps
    assert most <= 51 * one.nbytes and {0, 3333, 7001, 9999} <= set(steps.tolist()) and len(steps) >= 20
    gaps = np.diff(steps)
    assert gaps.max() <= 4 * np.median(gaps)                        # evenly spread over the whole history
    assert frames.bytes == sum(a.nbytes for a in frames._kept.values()) and "of 10,000 frames kept" in frames.says()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8])
def test_small_budgets_and_many_marks(size):
    frames = Frames(budget=size * 80, marks=lambda: range(200))
    for step in range(200):
        frames.append(step, np.full(10, step, np.float64))
        assert len(frames.steps) <= max(size, 2) and frames.steps[0] == 0 and frames.steps[-1] == step
        assert all(frames.frame(k)[0] == kept for k, kept in enumerate(frames.steps))


def test_a_history_says_what_it_dropped(tmp_path):
    memory, disk, small = History(budget=4000), History(tmp_path / "h", budget=4000), History()
    for history in (memory, disk, small):
        for step in range(100): history.record(step, loss=1.0, z=np.zeros(50))
    assert "z: " in memory.says() and "of 100 frames kept" in memory.says() and small.says() == ""
    assert "in memory" in disk.says() and "all on disk" in disk.says() and len(disk["z"]) == 100
    assert "of 100 frames kept" in Rewind(ImageGrid(memory, name="z")).frame["note"]


# ------------------------------------------------------------------------------------------------------ views

def test_every_front_end_can_stand_beside_the_others():
    from clnb.views.base import STATIC, scoped

    for file in STATIC.glob("*.js"):
        text = scoped(file.stem)
        assert text.startswith("(") and text.endswith(")") and "\nexport default" not in text


def test_painter_and_seek_work_without_a_page():
    history = recorded()
    view = Spectrum(history, names=("embedding",))
    assert isinstance(view, View) and view.painter.thread is None
    view.seek(20)
    assert view.frame["step"] == 20 and view.painter.thread is None
    painted = []
    painter = Painter(lambda: painted.append(1), lambda: True)
    painter.start(), painter.news()
    time.sleep(0.2)
    painter.close()
    assert painted == [1]

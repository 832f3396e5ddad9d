"""Which negatives were chosen? Counts, paths, orders and coins against loops, and the view's Python side."""

import math

import numpy as np
import pytest
import torch

from clnb.core import Picture
from clnb.data import ImageSet, VectorSet
from clnb.run import History
from clnb.views.base import Board
from clnb.views.selection import (
    Choice,
    SelectionProbe,
    branches,
    choice_of,
    classes_of,
    in_words,
    kept_in,
    orders,
    percent,
    shared_from,
    shared_words,
    some_anchors,
    tally,
    thrown,
)

EVIL = "<img src=x onerror=window.hacked=1>"


def arrays_of(levels=3, anchors=6, count=20, seed=0, sizes=(8, 4, 2), classes=3, **more):
    "A random choice on a true tree; rows 0 … of the anchors, candidates half from the probe and half from a queue."
    rng = np.random.default_rng(seed)
    leaf = rng.integers(sizes[0], size=anchors + count)
    paths = [leaf]
    for level in range(1, levels): paths.append(paths[-1] * sizes[level] // sizes[level - 1])
    paths = np.stack(paths)
    keep = rng.random((levels, anchors, count)).astype(np.float32)
    label = rng.integers(classes, size=anchors + count)
    agrees = (label[:anchors, None] == label[anchors:]).astype(np.int8)
    agrees[:, 3] = -1
    rows = np.where(np.arange(count) % 2, np.arange(count) + anchors, -1)
    similarity = rng.uniform(-1, 1, (anchors, count)).astype(np.float32)
    similarity[1, 2] = np.nan
    return {"keep": keep, "kept": rng.random(keep.shape) < keep, "similarity": similarity,
            "anchors": np.arange(anchors), "candidate_rows": rows, "anchor_path": paths[:, :anchors],
            "candidate_path": paths[:, anchors:], "agrees": agrees, **more}


def labels_of(seed=0, anchors=6, count=20, classes=3, sizes=(8, 4, 2)):
    rng = np.random.default_rng(seed)
    rng.integers(sizes[0], size=anchors + count), rng.random((3, anchors, count))
    return rng.integers(classes, size=anchors + count)


# ------------------------------------------------------------------------------------------------------------ numbers

@pytest.mark.parametrize("level", [0, 2, None])
@pytest.mark.parametrize("anchor", [1, None])
@pytest.mark.parametrize("throw", [0, 4])
def test_tally_against_loops(level, anchor, throw):
    choice = choice_of(arrays_of())
    kept = kept_in(choice, throw)
    n = dict.fromkeys((f"{who}{what}" for who in ("", "known ", "false ") for what in ("all", "kept", "keep")), 0)
    for k in range(3) if level is None else [level]:
        for a in range(6) if anchor is None else [anchor]:
            for c in range(20):
                if math.isnan(choice.similarity[a, c]): continue
                for kind in ("", "known ", "false ")[: choice.agrees[a, c] + 2]:
                    n[f"{kind}all"] += 1
                    n[f"{kind}kept"] += int(kept[k, a, c])
                    n[f"{kind}keep"] += float(choice.keep[k, a, c])
    t = tally(choice, level, anchor, throw)
    assert (t.candidates, t.kept, t.known) == (n["all"], n["kept"], n["known all"])
    assert (t.false, t.false_kept) == (n["false all"], n["false kept"])
    assert t.keep == pytest.approx(n["keep"] / n["all"])
    assert t.false_keep == pytest.approx(n["false keep"] / n["false all"])
    assert t.before == pytest.approx(n["false all"] / n["known all"])
    assert t.after == pytest.approx(n["false kept"] / n["known kept"])
    assert t.expected == pytest.approx(n["false keep"] / n["known keep"])


def test_the_reports_rates_of_hcsc_are_these():
    "`selection_report` of notebook 13: kept, false_kept and false_rate of a level from the same probabilities."
    choice = choice_of(arrays_of(similarity=np.zeros((6, 20))))
    known = choice.agrees[0] >= 0
    false = (choice.agrees == 1)[:, known]
    for level in range(3):
        keep, t = choice.keep[level][:, known].astype(float), tally(choice, level)
        assert t.false_keep == pytest.approx(keep[false].mean())
        assert t.expected == pytest.approx(keep[false].sum() / keep.sum()) and t.before == pytest.approx(false.mean())


def test_no_labels_no_false_negatives_nothing_kept():
    arrays = arrays_of()
    none = choice_of({**arrays, "agrees": None})
    assert math.isnan(tally(none).before) and "without labels nobody knows" in in_words(none)
    other = choice_of({**arrays, "agrees": np.zeros((6, 20), int)})
    assert tally(other).before == 0 and math.isnan(tally(other).false_keep) and "none of them" in in_words(other)
    dropped = choice_of({**arrays, "keep": np.zeros((3, 6, 20)), "kept": np.zeros((3, 6, 20), bool)})
    assert math.isnan(tally(dropped).after) and math.isnan(tally(dropped).expected) and "–" in in_words(dropped)


@pytest.mark.parametrize(("share", "text"), [(0, "0 %"), (1, "100 %"), (1 / 3, "33.3 %"), (0.0625, "6.3 %"),
                                             (0.125, "12.5 %"), (1e-4, "< 0.1 %"), (0.0006, "0.1 %"), (math.nan, "–")])
def test_percent(share, text): assert percent(share) == text


def test_coins_have_the_recorded_probabilities_and_are_numbered():
    keep = np.full((2, 50, 400), 0.3, np.float32)
    throws = np.stack([thrown(keep, t) for t in range(1, 11)])
    assert abs(throws.mean() - 0.3) < 0.002 and np.abs(throws.mean((1, 2, 3)) - 0.3).max() < 0.01
    assert (thrown(keep, 3) == throws[2]).all()
    flat = throws.reshape(10, -1).astype(float)
    apart = np.corrcoef(flat) - np.eye(10)                                       # throws know nothing of each other
    assert np.abs(apart).max() < 0.03
    assert abs(np.corrcoef(flat[0, :-1], flat[0, 1:])[0, 1]) < 0.02              # nor do neighbours
    assert not thrown(np.zeros((1, 3, 4)), 5).any() and thrown(np.ones((1, 3, 4)), 5).all()
    arrays = arrays_of()
    assert (kept_in(choice_of(arrays)) == arrays["kept"]).all()
    assert (kept_in(choice_of({**arrays, "kept": None})) == thrown(arrays["keep"], 1)).all()


def test_where_paths_part():
    for levels in (1, 2, 3):
        choice = choice_of(arrays_of(levels))
        found = shared_from(choice)
        for a in range(6):
            for c in range(20):
                level = levels
                while level and choice.anchor_path[level - 1, a] == choice.candidate_path[level - 1, c]: level -= 1
                assert found[a, c] == level
    met_twice = {"anchor_path": np.zeros((3, 6), int), "candidate_path": np.array([[0], [1], [0]]).repeat(20, 1)}
    loose = choice_of(arrays_of(**met_twice))
    assert (shared_from(loose) == 2).all()                                       # met once, parted, met again
    assert shared_words(2, 3) == "shares its branch from level 3 on" and "same leaf" in shared_words(0, 3)
    assert shared_words(3, 3) == "shares no branch with the anchor" and shared_words(1, 1) == "sits in another branch"


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_the_drawn_tree_holds_every_path(levels):
    choice = choice_of(arrays_of(levels))
    tree = branches(choice)
    for places, paths in ((tree.anchors, choice.anchor_path), (tree.candidates, choice.candidate_path)):
        assert (tree.number[places] == paths).all() and (tree.level[places] == np.arange(levels)[:, None]).all()
        for level in range(levels - 1): assert (tree.parent[places[level]] == places[level + 1]).all()
        assert (tree.parent[places[-1]] == -1).all()
    every = np.concatenate([choice.anchor_path, choice.candidate_path], 1)
    assert len(tree.x) == sum(len({tuple(path[level:]) for path in every.T}) for level in range(levels))
    for place in np.flatnonzero(tree.level > 0):                                 # above the middle of what is below
        assert tree.x[place] == pytest.approx(tree.x[tree.parent == place].mean())
    leaves = np.sort(tree.x[tree.level == 0])
    assert np.allclose(np.diff(leaves), 1 / len(leaves)) and 0 < tree.x.min() <= tree.x.max() < 1


def test_a_prototype_with_two_parents_has_two_places():
    loose = choice_of(arrays_of(2, anchor_path=np.array([[0] * 6, [0] * 6]),
                                candidate_path=np.array([[0] * 20, [0] * 10 + [1] * 10])))
    tree = branches(loose)
    assert (tree.level == 0).sum() == 2 and tree.number[tree.level == 0].tolist() == [0, 0]


def test_classes_from_labels_and_from_agreement():
    labels, arrays = labels_of(), arrays_of()
    agrees = (labels[:6, None] == labels[6:]).astype(int)
    choice = choice_of({**arrays, "agrees": agrees})
    anchors, candidates, named = classes_of(choice, labels[:6])                  # candidates by agreement alone
    seen = np.isin(labels[6:], labels[:6])
    assert named and (anchors == labels[:6]).all() and (candidates == np.where(seen, labels[6:], -1)).all()
    anchors, candidates, named = classes_of(choice)                              # nobody knows names
    assert not named
    for a in range(6): assert anchors[a] == np.flatnonzero(labels[:6] == labels[a])[0] or not agrees[a].any()
    assert (candidates[seen] == [np.flatnonzero(labels[:6] == k)[0] for k in labels[6:][seen]]).all()
    none = choice_of({**arrays, "agrees": None})
    assert (classes_of(none)[0] == -1).all() and "class" not in orders(none, *classes_of(none)[:2])


def test_agreement_from_labels_where_it_was_not_recorded():
    labels, arrays = labels_of(), arrays_of()
    choice = choice_of({**arrays, "agrees": None}, labels)
    rows = arrays["candidate_rows"]
    assert (choice.agrees[:, rows < 0] == -1).all()
    assert (choice.agrees[:, rows >= 0] == (labels[:6, None] == labels[rows[rows >= 0]])).all()


def test_orders_are_orders():
    choice = choice_of(arrays_of())
    found = orders(choice, *classes_of(choice, labels_of())[:2])
    assert list(found) == ["class", "tree", "as recorded"]
    for first, second in found.values():
        assert sorted(first) == list(range(6)) and sorted(second) == list(range(20))
    kinds = classes_of(choice, labels_of())
    for side in (0, 1): assert (np.diff(kinds[side][found["class"][side]] % 99) >= 0).all()      # −1 comes last
    for path, order in zip((choice.anchor_path, choice.candidate_path), found["tree"], strict=True):
        tops = [tuple(path[::-1, i]) for i in order]
        assert tops == sorted(tops)


# ------------------------------------------------------------------------------------------------------------- errors

@pytest.mark.parametrize(("change", "message"), [
    ({"kept": np.zeros((2, 6, 20))}, r"kept has the shape \[2, 6, 20\]; expected \[3, 6, 20\]"),
    ({"similarity": np.zeros((20, 6))}, r"similarity has the shape \[20, 6\]; expected \[6, 20\] \[A, C\]"),
    ({"anchor_path": np.zeros((6, 3))}, r"anchor_path has the shape \[6, 3\]; expected \[3, 6\]"),
    ({"candidate_path": np.zeros(20)}, r"candidate_path has the shape \[20\]; expected \[3, 20\]"),
    ({"candidate_rows": np.zeros(6)}, r"candidate_rows has the shape \[6\]; expected \[20\]"),
    ({"anchors": np.zeros(20)}, r"anchors has the shape \[20\]; expected \[6\]"),
    ({"agrees": np.zeros((6, 3))}, r"agrees has the shape \[6, 3\]; expected \[6, 20\]"),
    ({"keep": np.zeros((6, 20))}, r"keep has the shape \[6, 20\]; expected \[levels, anchors, candidates\]"),
    ({"keep": np.full((3, 6, 20), 1.5)}, "probabilities from 0 to 1, got 1.5 to 1.5"),
    ({"keep": np.full((3, 6, 20), np.nan)}, "probabilities from 0 to 1"),
    ({"keep": None}, "keep missing"),
    ({"keep": np.zeros((3, 6, 0)), "similarity": np.zeros((6, 0)), "kept": None, "agrees": None, "candidate_path": None,
      "candidate_rows": None}, r"keep is empty: \[3, 6, 0\]"),
])
def test_wrong_arrays_are_named(change, message):
    with pytest.raises(ValueError, match=message): SelectionProbe({**arrays_of(), **change})
    history = History()
    given = {name: value for name, value in {**arrays_of(), **change}.items() if value is not None}
    history.record(0, **{f"choice.{name}": value for name, value in given.items()})
    view = SelectionProbe(history)                                               # a live view says it in its place
    assert "error" in view.frame or "waiting" in view.frame["note"]


def test_other_faults():
    with pytest.raises(TypeError, match=r"expected a history, a run, or a dict of arrays.*got ndarray"):
        SelectionProbe(np.zeros(3))
    with pytest.raises(ValueError, match="cannot sort by 'size'"): SelectionProbe({}, sort="size")
    with pytest.raises(ValueError, match="numbered from 1"): SelectionProbe({}, level=-2)


# --------------------------------------------------------------------------------------------------------------- view

def test_nothing_recorded_says_what_to_record():
    for source in (History(), {}):
        view = SelectionProbe(source, name="picks")
        assert "run.measure('picks', function)" in view.frame["note"] and isinstance(view.static(), Picture)
        assert "waiting" in view.page()


def test_only_what_is_needed():
    rng = np.random.default_rng(0)
    view = SelectionProbe({"keep": torch.rand(1, 4, 7), "similarity": rng.random((4, 7)).tolist()})
    assert view.frame["tree"] is None and view.frame["kept"] is None and list(view.frame["orders"]) == ["as recorded"]
    assert isinstance(view.static(), Picture) and view.choice().agrees.max() == -1
    prefixed = SelectionProbe({f"choice.{name}": value for name, value in arrays_of().items()})
    assert (prefixed.choice().keep == arrays_of()["keep"]).all()


@pytest.mark.parametrize("level", [None, 0, 1, 3, 9])
def test_stills(level):
    data = ImageSet(torch.zeros(30, 1, 8, 8, dtype=torch.uint8), torch.arange(30) % 3, ("a", "b$", EVIL))
    for arrays in (arrays_of(), arrays_of(1), arrays_of(agrees=None, anchor_path=None)):
        view = SelectionProbe(arrays, data, level=level, anchor=77, throw=3, sort="tree", levels=["leaf$", "mid"])
        figure = view.static()
        figure.savefig("/dev/null", format="png")
        levels = len(arrays["keep"])
        shown = None if level == 0 else levels - 1 if level is None else min(level, levels) - 1
        assert view.level_of(view.choice()) == shown
        assert in_words(view.choice(), shown, 5, 3) in figure.get_suptitle().replace("\n", " ")


def test_a_history_is_walked_through_and_pieces_may_be_rare():
    history = History()
    for step in (0, 10, 20):
        now = arrays_of(seed=step)
        once = {"anchors", "candidate_rows"} if step else set()
        history.record(step, **{f"choice.{name}": value for name, value in now.items() if name not in once})
    view = SelectionProbe(history, labels=labels_of())
    assert list(view.recorded()) == [0, 10, 20]
    for k, step in enumerate((0, 10, 20)):
        assert (view.choice(k).keep == arrays_of(seed=step)["keep"]).all()
        assert (view.choice(k).anchors == np.arange(6)).all()
    view.seek(10)
    assert view.frame["step"] == 10
    assert isinstance(view.static(0), Picture) and len(view.part()["state"]["frames"]) == 3

    class Training:
        pass

    run = Training()
    run.history = history
    assert (SelectionProbe(run).choice().keep == view.choice(-1).keep).all()


def test_images_of_the_page_are_those_that_are_shown():
    images = torch.arange(40 * 64, dtype=torch.int64).remainder(251).to(torch.uint8).reshape(40, 1, 8, 8)
    view = SelectionProbe(arrays_of(), ImageSet(images, torch.arange(40) % 3, ("a", "b", "c")))
    atlas, rows = view.part()["state"]["atlas"], np.unique(np.r_[np.arange(6), np.arange(7, 26, 2)])
    assert np.frombuffer(atlas["rows"]["bytes"], np.int32).tolist() == rows.tolist()
    assert (np.frombuffer(atlas["images"]["bytes"], np.uint8).reshape(-1, 8, 8) == images[rows, 0].numpy()).all()
    assert view.answer({"ask": "images", "rows": [7]})["images"]["shape"] == [1, 1, 8, 8]
    few = SelectionProbe(arrays_of(), images[:4])                                # rows beyond the images have none
    assert np.frombuffer(few.atlas()["rows"]["bytes"], np.int32).tolist() == [0, 1, 2, 3]
    vectors = SelectionProbe(arrays_of(), VectorSet(torch.zeros(40, 5), torch.arange(40) % 3, ("a", "b", "c")))
    assert vectors.pictures is None and vectors.atlas() == {} and vectors.options["pictured"] == 0


def test_labels_of_another_kind_are_noticed():
    labels, arrays = labels_of(), arrays_of()
    arrays["agrees"] = (labels[:6, None] == labels[6:]).astype(np.int8)
    assert SelectionProbe(arrays, labels=labels).frame["scope"] == ""
    assert "not those with which" in SelectionProbe(arrays, labels=labels // 2).frame["scope"]


def test_very_many_anchors_are_cut():
    class Small(SelectionProbe):
        entries = 3 * 20 * 4

    view = Small(arrays_of())
    assert len(view.choice().anchors) == 4 and view.frame["scope"] == "the first 4 of 6 anchors"
    whole = choice_of(arrays_of())
    cut = some_anchors(whole, 4)
    assert isinstance(cut, Choice) and cut.keep.shape == (3, 4, 20) and cut.anchor_path.shape == (3, 4)
    assert cut.candidate_path.shape == (3, 20) and (cut.agrees == whole.agrees[:4]).all()


def test_text_of_data_is_no_markup():
    view = SelectionProbe(arrays_of(), labels=labels_of(), classes=["a", EVIL, "</script>"], levels=[EVIL])
    page = Board([view], title=EVIL).page()
    assert EVIL not in page

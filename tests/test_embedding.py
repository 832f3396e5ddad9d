"""The embedding explorer without a browser: layouts, tables, answers, pages."""

import threading
import time
from concurrent.futures import Future

import numpy as np
import pytest

from clnb.layouts import Layout, nearest, trust
from clnb.run import History
from clnb.views import embedding
from clnb.views.base import Selection
from clnb.views.embedding import Embedding, Layouts, between_rows, table_columns


def rng(seed=0):
    return np.random.default_rng(seed)


def array(packed):
    return np.frombuffer(packed["bytes"], packed["dtype"]).reshape(packed["shape"])


def series(steps=4, n=30, d=6):
    """A history of features that move a little."""
    history, x = History(), rng().normal(size=(n, d))
    for step in range(steps): history.record(step * 10, embedding=x + 0.1 * step * rng(1).normal(size=x.shape))
    return history


class Worker:
    """Stands in for the other process: keeps what was asked, answers when the test says so."""

    def __init__(self): self.asked = []

    def submit(self, features, kind, reference=None, seed=0):
        future = Future()
        self.asked.append((future, kind, np.array(features), reference))
        return future

    def finish(self, k=-1, shift=5.0):
        future, kind, features, _ = self.asked[k]
        future.set_result(Layout(points=features[:, :2].astype(np.float32) + shift, kind=kind, share=None, drift=0.5,
                                 length=None, spread=None))


@pytest.fixture
def worker(monkeypatch):
    made = Worker()
    monkeypatch.setattr(embedding, "worker", lambda: made)
    return made


def test_a_slow_layout_arrives_later(worker):
    x = rng().normal(size=(40, 8)).astype(np.float32)
    view = Embedding(x, layout="umap")
    assert view.frame["layout"] == "pca" and "UMAP is being computed" in view.frame["note"]
    assert "PCA meanwhile" in view.frame["note"] and len(worker.asked) == 1
    assert worker.asked[0][1] == "umap" and worker.asked[0][3].points.shape == (40, 2)      # it starts from the PCA
    view.refresh()
    assert len(worker.asked) == 1                                                     # asked once
    worker.finish()
    view.refresh()
    assert view.frame["layout"] == "umap" and "computed" not in view.frame["note"]
    assert view.frame["trust"] is not None and "trust" in view.frame["note"]


def test_never_a_queue(worker):
    history = series(1)
    view = Embedding(history, layout="tsne")
    x = np.array(history["embedding"].frame(0))
    for step in range(1, 9):
        history.record(step * 10, embedding=x + step)
        view.refresh()
    assert len(worker.asked) == 1
    worker.finish()
    view.refresh()
    assert len(worker.asked) == 2 and "t-SNE of step 0" in view.frame["note"]
    assert "t-SNE of step 80 is being computed" in view.frame["note"]
    assert worker.asked[1][3] is view.layouts.near("tsne", 0).made                    # it starts from the last one
    worker.finish()
    view.refresh()
    assert view.frame["of"] == 80 and len(worker.asked) == 2


def test_rewinding_shows_the_nearest_layout_and_says_so(worker):
    history = series(4)
    view = Embedding(history, layout="umap")
    worker.finish()
    view.refresh()
    view.at = 1
    view.refresh()
    assert view.frame["step"] == 10 and view.frame["of"] == 30 and view.frame["layout"] == "umap"
    assert "UMAP of step 30" in view.frame["note"]


def test_the_page_shows_an_arrived_layout_by_itself(worker):
    view = Embedding(rng().normal(size=(40, 8)), layout="umap")
    view.painter.fastest = 0.005
    view.drawn = 1                                            # a page has drawn: the painter works
    threading.Thread(target=worker.finish).start()
    end = time.monotonic() + 5
    while view.frame["layout"] != "umap" and time.monotonic() < end: time.sleep(0.01)
    assert view.frame["layout"] == "umap"
    view.close()


def test_errors_of_the_worker_are_said(worker):
    view = Embedding(rng().normal(size=(40, 8)), layout="umap")
    worker.asked[0][0].set_exception(ImportError("no module named umap"))
    view.refresh()
    assert "no UMAP: ImportError: no module named umap" in view.frame["note"] and view.frame["layout"] == "pca"
    view.refresh()
    assert len(worker.asked) == 1 and view.settle(1) is False


def test_a_choice_from_python_and_back(worker):
    view = Embedding(rng().normal(size=(40, 8)))
    view.kind = "umap"
    worker.finish()
    view.refresh()
    assert view.frame["layout"] == "umap"
    view.kind = "first two"
    assert np.allclose(view.layouts.near("first two", 0).points, view.source[:, :2])
    view.kind = "pca"
    assert view.frame["layout"] == "pca"
    with pytest.raises(Exception, match="kind"): view.kind = "mds"
    with pytest.raises(ValueError, match="layout must be one of"): Embedding(rng().normal(size=(9, 3)), layout="mds")
    with pytest.raises(ValueError, match="renderer"): Embedding(rng().normal(size=(9, 3)), renderer="gl")


def test_the_real_worker():
    x = np.concatenate([rng(s).normal(size=(40, 10)) + 8 * s for s in range(3)]).astype(np.float32)
    view = Embedding(x, labels=np.arange(120) // 40, layout="tsne")
    assert view.settle(100), view.frame["note"]
    points = view.layouts.near("tsne", 0).points
    same = np.arange(120) // 40
    rows, _ = nearest(points, range(120), 5)
    assert (same[rows] == same[:, None]).mean() > 0.95
    assert view.static()._repr_png_()[:4] == b"\x89PNG"


def test_layouts_glide():
    layouts, x = Layouts(), (rng().normal(size=(200, 12)) * np.r_[4, 2, np.ones(10)]).astype(np.float32)
    before = layouts.at("pca", 0, x)
    turn = np.linalg.qr(rng(3).normal(size=(12, 12)))[0].astype(np.float32)
    after = layouts.at("pca", 10, x @ turn)
    assert after.made.drift < 1e-3 and np.allclose(after.points, before.points, atol=1e-3)
    assert layouts.at("pca", 0, x) is before                                      # what was seen stays


def test_old_layouts_are_forgotten():
    layouts = Layouts(numbers=1000)
    for step in range(40): layouts.at("pca", step, rng(step).normal(size=(50, 4)).astype(np.float32))
    assert sorted(layouts.done["pca"]) == list(range(30, 40))


def test_trust_is_that_of_the_layout():
    x = rng().normal(size=(300, 20)).astype(np.float32)
    view = Embedding(x)
    made = trust(x, view.layouts.near("pca", 0).points)
    assert view.frame["trust"] == {"trustworthiness": made.trustworthiness, "kept": made.kept}
    assert f"trust {made.trustworthiness:.2f}" in view.frame["note"]


def test_points_with_a_space_of_their_own():
    points, x = rng().normal(size=(60, 2)), rng(1).normal(size=(60, 9))
    view = Embedding(points, features=x)
    assert view.frame["layout"] == "first two" and view.frame["trust"] is not None
    assert array(view.answer({"ask": "neighbours", "row": 3})["rows"]).tolist() == nearest(x, [3], 5)[0][0].tolist()
    view.kind = "pca"
    assert not np.allclose(view.layouts.near("pca", 0).points, points)
    assert Embedding(points).kinds == ("first two",) and Embedding(points, space=x).space.shape == (60, 9)


def test_a_view_follows_a_history():
    history = History()
    view = Embedding(history, labels=np.zeros(30, int))
    assert "waiting" in view.frame["note"]
    x = rng().normal(size=(30, 6))
    history.record(0, embedding=x)
    history.record(10, embedding=x[:, ::-1])
    view.refresh()
    assert view.steps == [0, 10] and view.frame["step"] == 10
    newest = view.frame["points"]["bytes"]
    view.at = 0
    view.refresh()
    assert view.frame["step"] == 0 and "step 0" in view.frame["note"]
    view.at = -1
    view.refresh()
    assert view.frame["points"]["bytes"] == newest      # rewinding and coming back shows the same picture
    assert list(view.drifts()) == [0] or list(view.drifts()) == [10]


def test_an_earlier_frame_is_not_sent_again():
    history = series(3, 9, 4)
    view = Embedding(history)
    view.at = 1
    view.follow()
    number = view.frame["number"]
    history.record(30, embedding=rng(3).normal(size=(9, 4)))
    view.follow()
    assert view.frame["number"] == number and view.steps == [0, 10, 20, 30]


def test_frames_are_built_only_for_a_page_that_draws():
    history = History()
    view = Embedding(history)
    view.painter.fastest = 0.005
    for step in range(50): history.record(step, embedding=rng(step).normal(size=(9, 4)))
    assert view.frame["number"] == 1                     # no page has spoken: nothing is built
    view.drawn = 1                                       # a page draws the first frame, and then no other
    time.sleep(0.3)
    assert view.frame["number"] == 2 and view.frame["step"] == 49
    view.close()


def test_answers():
    x, images = rng().normal(size=(40, 6)), rng().integers(0, 256, (40, 1, 60, 60), dtype=np.uint8)
    view = Embedding(x, images)
    assert np.array_equal(array(view.answer({"ask": "images", "rows": [7, 3]})["images"]), images[[7, 3]])
    assert array(view.answer({"ask": "images", "rows": [7], "size": 30})["images"]).shape == (1, 1, 30, 30)
    reply = view.answer({"ask": "neighbours", "row": 4})
    assert array(reply["rows"]).tolist() == nearest(x, [4], 5)[0][0].tolist()
    with pytest.raises(ValueError, match="cannot answer"): view.answer({"ask": "everything"})


def test_trails_are_the_layouts():
    view = Embedding(series(20))
    trails = array(view.answer({"ask": "trails", "rows": [3, 8]})["points"])
    assert trails.shape == (12, 2, 2)
    for t, step in enumerate(range(80, 200, 10)):
        assert np.allclose(trails[t], view.layouts.done["pca"][step].points[[3, 8]])
    view.at = 4
    assert array(view.answer({"ask": "trails", "rows": [3]})["points"]).shape == (5, 1, 2)


def test_density_is_sent_when_it_is_there():
    x = np.concatenate([rng().normal(size=(50, 4)) * 0.01, rng(1).normal(size=(50, 4))])
    view, sent = Embedding(x), []
    view.send = lambda content, buffers=None: sent.append((content, buffers))
    assert view.answer({"ask": "density"}) == {"pending": True}
    view._counting.join(20)
    content, buffers = sent[0]
    values = np.frombuffer(buffers[content["values"]["bytes"]], np.float32)
    assert content["news"] == "density" and values[:50].min() > values[50:].max()
    assert np.array_equal(values, view.density())


def test_linked_views_share_a_selection():
    shared = Selection()
    one, two = (Embedding(rng().normal(size=(9, 3))).link(shared) for _ in range(2))
    one.selected = np.array([5, 2], "<u4").tobytes()
    assert shared.index.tolist() == [2, 5] == np.frombuffer(two.selected, "<u4").tolist()


def test_tables():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"loss": [0.5, 1.5, np.nan], "word": ["a", None, "b"], 7: [1, 2, 3],
                              "when": pandas.to_datetime(["2024-01-01", "2024-01-02", None])},
                             index=[10, 20, 30])
    frame["kind"] = pandas.Categorical(["x", "y", "x"])
    frame["count"] = pandas.array([1, None, 3], dtype="Int64")
    view = Embedding(rng().normal(size=(3, 5)), labels=[0, 1, 0], columns=frame, colour_by="loss")
    kinds = {c["name"]: c["kind"] for c in view.columns}
    assert kinds == {"label": "category", "loss": "number", "word": "category", "7": "category", "when": "category",
                     "kind": "category", "count": "number"}
    assert "error" not in view.frame
    assert list(table_columns({"a": [1]})) == ["a"] and table_columns(None) == {}
    with pytest.raises(ValueError, match="mapping"): table_columns([1, 2])


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match=r"\[n, d\]"): Embedding(np.zeros(5))
    with pytest.raises(ValueError, match=r"\[n, d\]"): Embedding([["a", "b"]])
    assert "5 rows, but there are 9 points" in Embedding(np.zeros((9, 3)), labels=np.zeros(5, int)).frame["error"]


def test_a_page_carries_the_layouts_already_computed(worker):
    history = series(5)
    view = Embedding(history, layout="umap")
    worker.finish()
    view.refresh()
    view.kind = "pca"
    state = view.part(frames=3)["state"]
    assert [f["layout"] for f in state["frames"]] == ["pca"] * 3
    assert set(state["atlas"]["layouts"]) == {"umap", "first two"}
    assert list(state["atlas"]["layouts"]["umap"]) == [40] and len(state["atlas"]["layouts"]["first two"]) == 3
    assert state["atlas"]["layouts"]["umap"][40]["layout"] == "umap"


def test_names_stay_text_and_everything_has_a_picture(tmp_path):
    view = Embedding(rng().normal(size=(3, 5)), rng().random((3, 4, 4)), [0, 1, -1],
                     ["<img src=x onerror=alert(1)>", "</script>$x"], columns={"<b>": ["<i>a", "b", "c"]})
    page = view.page()
    assert "<img" not in page and page.count("</script>") == 1 and "<i>a" not in page
    assert "<img src=x" not in view.to_html() and view.save(tmp_path / "view.html").read_text("utf-8") == page
    assert "http" not in page.replace("http-equiv", "")
    assert view.static()._repr_png_()[:4] == b"\x89PNG"


def test_a_page_of_many_points_stays_small():
    history = History()
    for step in range(40): history.record(step, embedding=rng(step).normal(size=(20_000, 4)).astype(np.float32))
    view = Embedding(history, labels=np.arange(20_000) % 10, neighbours=0)
    page = view.page(frames=40)
    assert len(page) < 16_000_000 and len(view.part(frames=40)["state"]["frames"]) > 10


@pytest.mark.parametrize("points", [np.ones((1, 8)), np.ones((20, 8)), np.full((5, 8), np.nan), np.zeros((0, 4))])
def test_degenerate_clouds(points):
    view = Embedding(points, labels=np.zeros(len(points), int))
    assert "error" not in view.frame and view.static()._repr_png_()[:4] == b"\x89PNG"
    assert f"{len(points)} points" in view.frame["note"]


def test_landmarks_lie_between_their_nearest_rows():
    """On a row: there; between two: between; missing rows carry nothing; a wrong width is named."""
    rng = np.random.default_rng(0)
    space, points = rng.normal(size=(50, 6)), rng.normal(size=(50, 2)).astype(np.float32)
    points[7] = np.nan
    found = between_rows(space[[3, 7]], space, points)
    assert np.allclose(found[0], points[3], atol=1e-4) and np.isfinite(found).all()
    line, places = np.arange(10.0)[:, None], np.stack([np.arange(10.0), np.zeros(10)], 1)
    assert np.allclose(between_rows(np.array([[4.5]]), line, places, k=2), [[4.5, 0]], atol=1e-5)
    assert np.allclose(between_rows(np.array([[4.2]]), line, places, k=1), [[4, 0]])
    with pytest.raises(ValueError, match=r"landmarks must be \[m, 6\]"): between_rows(np.ones((2, 5)), space, points)


def test_landmarks_of_a_history_follow_its_steps():
    """The newest recorded ones at or before the step that is shown; none before the first."""
    history, rng = History(), np.random.default_rng(0)
    x = rng.normal(size=(30, 4))
    for step in (0, 5, 10):
        more = {} if step == 0 else {"prototypes.vectors": x[:step], "prototypes.level": np.zeros(step)}
        history.record(step, embedding=x, **more)
    view = Embedding(history, landmarks="prototypes")
    counts = []
    for k in range(3):
        found = view.picture(k).get("landmarks")
        counts.append(0 if found is None else found["places"]["shape"][0])
    assert counts == [0, 5, 10] and view.static()
    assert Embedding(x, landmarks=x[:2]).picture(-1)["landmarks"]["places"]["shape"] == [2, 2]

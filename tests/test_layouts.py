"""Layouts against scikit-learn, SciPy and brute force; the helper process; edge cases."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness

from clnb import layouts
from clnb.layouts import (
    KINDS,
    LayoutWorker,
    Neighbours,
    aligned,
    density,
    layout,
    nearest,
    neighbour_changes,
    neighbours_kept,
    sequence,
    trust,
    worker,
)

rng = np.random.default_rng(0)


@pytest.mark.parametrize("d", [3, 40, 400])
def test_pca_is_scikit_learns_up_to_signs_and_units(d):
    x = (rng.normal(size=(300, d)) * np.r_[9, 5, np.linspace(2, 0.5, d - 2)] + 2).astype(np.float32)
    made, fit = layout(x), PCA(2, svd_solver="full").fit(x.astype(np.float64))
    theirs = fit.transform(x.astype(np.float64)) / np.sqrt((x.astype(np.float64) ** 2).sum(1).mean())
    assert np.allclose(np.abs(made.points), np.abs(theirs), atol=2e-3)
    assert np.isclose(made.share, fit.explained_variance_ratio_.sum(), atol=2e-3)


def test_alignment_is_scipys():
    points, reference = rng.normal(size=(2, 50, 2))
    turn, _ = orthogonal_procrustes(points, reference)
    assert np.allclose(aligned(points, reference)[0], points @ turn)
    assert np.isclose(aligned(points, reference)[1], np.linalg.norm(points @ turn - reference, axis=1).mean())


@pytest.mark.parametrize("seed", range(3))
def test_alignment_with_scale_undoes_any_similarity(seed):
    draw = np.random.default_rng(seed)
    reference, angle = draw.normal(size=(30, 2)), draw.uniform(0, 6)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * [1, (-1) ** seed]
    back, drift = aligned(draw.uniform(0.1, 9) * reference @ turn + draw.normal(size=2), reference, scale=True)
    assert np.allclose(back, reference) and drift < 1e-6


def test_alignment_of_equal_points_divides_by_nothing():
    assert np.isfinite(aligned(np.ones((5, 2)), rng.normal(size=(5, 2)), scale=True)[0]).all()


@pytest.mark.parametrize("k", [3, 10])
def test_trustworthiness_is_scikit_learns(k):
    x = rng.normal(size=(200, 12))
    points = x[:, :2] + 0.3 * rng.normal(size=(200, 2))
    found = trust(x, points, k=k)
    assert np.isclose(found.trustworthiness, trustworthiness(x.astype(np.float32), points, n_neighbors=k), atol=1e-6)
    near = [set(np.argsort(np.linalg.norm(y - y[i], axis=1))[1: k + 1]) for y in (x, points) for i in range(200)]
    assert np.isclose(found.kept, np.mean([len(near[i] & near[200 + i]) / k for i in range(200)]))


def test_trust_of_a_perfect_and_of_a_tiny_picture():
    flat = rng.normal(size=(60, 2))
    assert trust(flat, flat) == (1.0, 1.0)
    assert trust(flat[:2], flat[:2]) == (1.0, 1.0)
    with pytest.raises(ValueError, match="3 points were given for 60 rows"):
        trust(flat, flat[:3])


def test_nearest_is_brute_force():
    x = rng.normal(size=(150, 9)).astype(np.float32)
    x[7] = np.nan
    rows, far = nearest(x, [3, 140], 6)
    for i, row in enumerate((3, 140)):
        d = np.linalg.norm(x - x[row], axis=1)
        d[[row, 7]] = np.inf
        assert rows[i].tolist() == np.argsort(d)[:6].tolist()
        assert np.allclose(far[i], np.sort(d)[:6], atol=1e-5)
    assert Neighbours(x).query([3, 140], 6)[0].tolist() == rows.tolist()
    assert nearest(x[:2], [0], 5)[0].tolist() == [[1]]


@pytest.mark.parametrize("offset", [0, 30, 3000])
def test_nearest_is_exact_far_from_zero(offset):
    x = (np.random.default_rng(1).normal(size=(400, 64)) + offset).astype(np.float32)
    x[13] = x[11]
    d = np.linalg.norm(x[:, None].astype(np.float64) - x[None], axis=2)
    np.fill_diagonal(d, np.inf)
    rows, far = nearest(x, range(400), 5)
    assert np.allclose(far, np.sort(d, axis=1)[:, :5], rtol=1e-4, atol=1e-6)
    assert (rows == np.argsort(d, axis=1, kind="stable")[:, :5]).mean() > 0.999
    assert rows[11, 0] == 13 and far[11, 0] == 0


def test_nearest_of_missing_rows_and_of_equal_rows():
    x = np.array([[0.0, 0], [np.nan, 1], [1, 0], [5, 5]])
    rows, far = nearest(x, [0, 1], 9)
    assert rows[0, :2].tolist() == [2, 3] and rows.shape == (2, 3) and 0 not in rows[0]
    assert np.isinf(far[0, 2]) and np.isnan(far[1]).all()
    assert nearest(np.ones((300, 3)), [7, -1], 3)[0].shape == (2, 3)
    assert all(i not in row for i, row in zip((7, 299), nearest(np.ones((300, 3)), [7, -1], 3)[0], strict=True))
    assert nearest(x, [], 3)[0].shape == (0, 3)
    assert nearest(x[:1], [0], 3)[0].shape == (1, 0)


def test_neighbours_in_many_blocks():
    x = rng.normal(size=(3000, 4)).astype(np.float32)
    rows = np.arange(3000)
    assert np.array_equal(nearest(x, rows, 3)[0][2990:], nearest(x, rows[2990:], 3)[0])


def test_density_is_brute_force_and_its_sample_agrees():
    x = rng.normal(size=(400, 3)).astype(np.float32)
    d = np.sort(np.linalg.norm(x[:, None] - x[None], axis=2), axis=1)[:, 1:11].mean(1)
    assert np.allclose(density(x), -np.log(d), atol=1e-4)
    many = np.concatenate([rng.normal(0, 0.2, (2000, 3)), rng.normal(0, 3, (2000, 3))])
    assert np.corrcoef(density(many), density(many, sample=1000))[0, 1] > 0.9


def test_changes_are_set_differences():
    a, b = rng.normal(size=(2, 80, 5))
    found = neighbour_changes(a, b, k=7)
    for i in range(80):
        was, now = (set(nearest(x, [i], 7)[0][0].tolist()) for x in (a, b))
        assert set(found.lost[i][found.lost[i] >= 0]) == was - now
        assert set(found.gained[i][found.gained[i] >= 0]) == now - was
        assert found.kept[i] == len(was & now)
    assert np.isclose(found.share, found.kept.mean() / 7)
    with pytest.raises(ValueError, match="80 rows and the second 79"):
        neighbour_changes(a, b[:79])


def test_changes_leave_out_rows_that_one_side_lacks():
    a, b = rng.normal(size=(2, 40, 3))
    a[3], b[8] = np.nan, np.inf
    found, keep = neighbour_changes(a, b, k=4), np.setdiff1d(np.arange(40), [3, 8])
    assert found.rows.tolist() == keep.tolist() and not np.isin([3, 8], np.r_[found.lost, found.gained]).any()
    assert found.share == neighbour_changes(a[keep], b[keep], k=4).share
    assert neighbour_changes(a, a, k=99).share == 1
    assert neighbour_changes(np.full((4, 2), np.nan), np.ones((4, 2))).share == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
def test_few_points(kind, n):
    made = layout(rng.normal(size=(n, 6)), kind)
    assert made.points.shape == (n, 2) and np.isfinite(made.points).all() and made.kind == kind


@pytest.mark.parametrize("kind", KINDS)
def test_missing_rows_and_a_collapsed_cloud(kind):
    x = rng.normal(size=(40, 6)).astype(np.float32)
    x[5], x[9, 2] = np.nan, np.inf
    made = layout(x, kind)
    assert np.isnan(made.points[[5, 9]]).all() and np.isfinite(np.delete(made.points, [5, 9], 0)).all()
    assert np.isfinite(layout(np.ones((30, 6)), kind).points).all()
    assert np.isnan(layout(np.full((4, 6), np.nan), kind).points).all()
    assert layout(np.ones((30, 6))).spread == 0
    assert np.isfinite(layout(np.repeat(rng.normal(size=(4, 6)), 10, 0), kind).points).all()


@pytest.mark.parametrize("kind", ["umap", "tsne"])
def test_a_slow_layout_keeps_its_frame_when_followed(kind):
    x = np.concatenate([rng.normal(3 * k, 1, (40, 8)) for k in range(4)]).astype(np.float32)
    first = layout(x, kind)
    later = layout(x + 0.05 * rng.normal(size=x.shape), kind, first)
    assert later.drift < 0.5 * first.points.std()
    assert np.isclose(np.median(np.abs(later.points)), np.median(np.abs(first.points)), rtol=0.4)
    assert np.array_equal(layout(x, kind).points, first.points)


@pytest.mark.parametrize("kind", ["umap", "tsne"])
def test_a_followed_layout_stays_as_wide_as_it_is(kind):
    made = layout(rng.normal(size=(60, 6)), kind)
    for _ in range(6):
        before, made = made, layout(rng.normal(size=(60, 6)), kind, made)
        assert np.isclose(made.points.std(0).sum(), before.points.std(0).sum(), rtol=0.2)
        assert np.isclose(np.square(made.points - made.points.mean(0)).sum(),
                          np.square(before.points - before.points.mean(0)).sum(), rtol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_that_was_missing_does_not_move_the_others(kind):
    x = np.concatenate([rng.normal(3 * k, 1, (30, 8)) for k in range(3)]).astype(np.float32)
    gone = x.copy()
    gone[4] = np.nan
    first = layout(gone, kind)
    later = layout(x, kind, first)
    assert np.isfinite(later.points).all() and np.isfinite(later.drift)
    assert later.drift < 0.35 * np.nanstd(first.points)


def test_huge_numbers_of_a_diverging_run():
    x = rng.normal(size=(50, 8)) * np.r_[4, 2, np.ones(6)]
    small, huge = layout(x), layout((x * 1e25).astype(np.float32))
    assert np.allclose(small.points, huge.points, atol=1e-4) and np.isclose(huge.length / small.length, 1e25, rtol=1e-4)


def test_tensors_on_the_way_of_a_gradient_are_features():
    torch = pytest.importorskip("torch")
    x = torch.randn(20, 4, requires_grad=True)
    assert np.array_equal(layout(x).points, layout(x.detach().numpy()).points)
    assert layout(x.bfloat16()).points.shape == (20, 2)


def test_kept_alone_is_that_of_trust():
    x = rng.normal(size=(100, 6))
    assert neighbours_kept(x, x[:, :2], 5) == trust(x, x[:, :2], 5).kept


def test_rows_beyond_the_sample_lie_between_their_neighbours(monkeypatch):
    monkeypatch.setattr(layouts, "MOST", 120)
    x = np.concatenate([rng.normal(6 * k, 0.5, (100, 5)) for k in range(3)]).astype(np.float32)
    made, group = layout(x, "umap"), np.arange(300) // 100
    assert made.placed == 180
    middles = np.stack([made.points[group == k].mean(0) for k in range(3)])
    own = np.linalg.norm(made.points[:, None] - middles[None], axis=2).argmin(1)
    assert (own == group).mean() > 0.95


def test_a_reference_of_another_shape_is_ignored():
    x = rng.normal(size=(30, 4))
    assert layout(x, reference=np.zeros((7, 2))).drift is None


def test_the_helper_process_computes_the_same():
    x = [rng.normal(size=(60, 6)).astype(np.float32) for _ in range(3)]
    made = worker().submit(x[0], "umap", seed=3).result(120)
    assert np.array_equal(made.points, layout(x[0], "umap", seed=3).points)
    for a, b in zip(worker().sequence(x, "pca").result(60), sequence(x, "pca"), strict=True):
        assert np.array_equal(a.points, b.points) and a.drift == b.drift


def test_the_helper_process_reports_and_survives():
    mine = LayoutWorker()
    try:
        with pytest.raises(RuntimeError, match="a layout is one of"):
            mine.submit(np.ones((3, 3)), "nonsense").result(60)
        assert mine.submit(np.eye(5), "pca").result(60).kind == "pca"
        mine.process.kill()
        mine.process.wait()
        assert mine.submit(np.eye(5), "pca").result(60).kind == "pca"       # a new process
        slow = mine.submit(rng.normal(size=(3000, 20)), "tsne")
        while not slow.running(): time.sleep(0.01)
        time.sleep(0.3)
        mine.process.kill()
        with pytest.raises(RuntimeError, match="layout process ended"):
            slow.result(60)
    finally:
        mine.close()
    assert mine.process is None


def test_requests_are_answered_in_order_and_one_process_serves_all():
    asked, done = [np.eye(n) for n in (4, 5, 6, 7)], []
    futures = [worker().submit(x, "pca") for x in asked]
    for n, future in zip((4, 5, 6, 7), futures, strict=True): future.add_done_callback(lambda _, n=n: done.append(n))
    assert [len(f.result(60).points) for f in futures] == [4, 5, 6, 7] and done == [4, 5, 6, 7]
    assert worker() is worker()


def test_an_interrupted_cell_leaves_the_process_alone():
    mine = LayoutWorker()
    try:
        mine.submit(np.eye(4), "pca").result(60)
        pid = mine.process.pid
        os.kill(pid, signal.SIGINT)
        assert mine.submit(np.eye(4), "pca").result(60).kind == "pca" and mine.process.pid == pid
    finally:
        mine.close()


def test_a_process_that_cannot_start_says_why(monkeypatch):
    monkeypatch.setattr(sys, "executable", os.devnull)
    mine = LayoutWorker()
    with pytest.raises(RuntimeError, match="layout process ended"): mine.submit(np.eye(4), "pca").result(60)
    mine.close()


def test_prints_and_crashes_inside_do_not_disturb_the_answers(monkeypatch):
    noisy = ("import os, clnb.layouts as l\nreal = l.layout\n"
             "def loud(x, *rest):\n    print('noise ' * 1000, flush=True)\n    os.system('echo more noise')\n"
             "    if len(x) == 3: raise SystemExit('a crash')\n    return real(x, *rest)\n"
             "l.layout = loud\nl.serve()\n")
    start, mine = subprocess.Popen, LayoutWorker()
    monkeypatch.setattr(subprocess, "Popen", lambda args, **kw: start([sys.executable, "-c", noisy], **kw))
    try:
        assert len(mine.submit(np.eye(5), "pca").result(60).points) == 5
        with pytest.raises(RuntimeError, match="layout process ended") as raised:
            mine.submit(np.eye(3), "pca").result(60)
        assert "a crash" in raised.value.__notes__[0]
        assert len(mine.submit(np.eye(4), "pca").result(60).points) == 4
    finally:
        mine.close()


def test_a_newer_request_replaces_a_waiting_one():
    mine = LayoutWorker()
    try:
        first = mine.submit(rng.normal(size=(800, 10)), "tsne", key="map")
        while not first.running(): time.sleep(0.01)
        second = mine.submit(np.eye(5), "pca", key="map")
        third = mine.submit(np.eye(4), "pca", key="map")
        assert second.cancelled() and len(third.result(120).points) == 4 and len(first.result(120).points) == 800
    finally:
        mine.close()


def test_the_helper_process_ends_with_its_parent_and_does_not_run_the_script_again(tmp_path):
    script = tmp_path / "mine.py"
    script.write_text("import os, numpy as np\nprint('script')\nfrom clnb.layouts import worker\n"
                      "worker().submit(np.eye(6), 'pca').result(60)\n"
                      "print(worker().process.pid, flush=True)\nos._exit(0)\n")
    out = said(script)
    assert out[0] == "script" and len(out) == 2
    for _ in range(100):
        if not alive(int(out[1])): break
        time.sleep(0.05)
    assert not alive(int(out[1]))


def said(*args) -> list[str]:
    done = subprocess.run([sys.executable, *args], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.split()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return open(f"/proc/{pid}/stat").read().split()[2] != "Z" if sys.platform == "linux" else True
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_layouts_import_without_torch():
    heavy = "('torch', 'umap', 'sklearn', 'matplotlib')"
    assert said("-c", f"import sys, clnb.layouts; print([m for m in {heavy} if m in sys.modules])") == ["[]"]

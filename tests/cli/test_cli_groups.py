"""The command line by group, by time and by cluster: the same results as the library gives for the same rows."""

import datetime as dt
import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

import streamce as ce
from streamce.cli.main import main

N = 3000
TASK = ["--task", "binary", "--target", "y", "--preds", "p"]


@pytest.fixture
def table():
    rng = np.random.default_rng(5)
    countries = np.array(["de", "fr", "Côte d'Ivoire"])
    return pa.table({
        "y": rng.integers(0, 2, N),
        "p": rng.uniform(0.01, 0.99, N),
        "user": rng.integers(0, 40, N),
        "country": pa.array(countries[rng.integers(0, 3, N)]).dictionary_encode(),
        "at": np.datetime64("2026-11-01", "us") + rng.integers(0, 5 * 86400, N).astype("timedelta64[s]"),
        "region": pa.array([None if i % 7 == 0 else f"r{i % 3}" for i in range(N)]),
    })  # fmt: skip


@pytest.fixture
def path(tmp_path, table):
    parquet.write_table(table, tmp_path / "a.parquet")
    return str(tmp_path / "a.parquet")


def grouped(table, *columns, **more):
    by = tuple(table[name].combine_chunks() for name in columns)
    times = {"by_time": more.pop("at")} if "at" in more else {}
    metric = ce.Grouped(ce.BinaryCrossEntropy(**more.pop("options", {})), **more)
    return metric.update(table["p"].to_numpy(), table["y"].to_numpy(), by=by or None, **times)


def run(capsys, *words):
    status = main(["eval", *words])
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    return out


def groups_of(capsys, *words):
    found = json.loads(run(capsys, *words, "--json"))
    return found, {json.dumps(group["key"]): group for group in found["groups"]}


@pytest.mark.parametrize("columns", [["user"], ["country"], ["region"], ["country", "user"], ["y"]])
def test_json_has_every_group(path, table, capsys, columns):
    found, groups = groups_of(capsys, path, *TASK, *(word for name in columns for word in ("--by", name)))
    expected = grouped(table, *columns)
    assert len(groups) == len(expected) == found["macro"]["groups"]
    for key, summary in expected.summary().items():
        group = groups[json.dumps(list(key) if isinstance(key, tuple) else key)]
        assert group["value"] == summary.value
        assert group["interval"] == list(summary.interval)
        assert (group["count"], group["stderr"]) == (summary.count, summary.stderr)
    assert found["value"] == expected.micro().value
    assert found["macro"]["value"] == expected.macro().value
    assert found["options"]["by"] == columns


def test_the_table_shows_the_worst_and_the_best(path, table, capsys):
    lines = run(capsys, path, *TASK, "--by", "user").splitlines()
    expected = grouped(table, "user")
    worst, best = (
        lines.index(next(line for line in lines if "the worst of 40" in line)),
        lines.index(next(line for line in lines if line.startswith("the best"))),
    )
    assert [line.split()[0] for line in lines[worst + 1 : worst + 6]] == [str(key) for key, _ in expected.worst(5)]
    assert [line.split()[0] for line in lines[best + 1 : best + 6]] == [str(key) for key, _ in expected.best(5)]
    assert max(map(len, lines[1:])) <= 80


def test_few_groups_are_all_shown_the_worst_first(path, table, capsys):
    lines = run(capsys, path, *TASK, "--by", "country").splitlines()
    shown = [line.rsplit("  ", 1)[0].split("  ")[0] for line in lines[lines.index("") + 2 :]]
    assert shown == [key for key, _ in grouped(table, "country").worst(3)]


def test_time_gives_the_history_of_a_run(path, table, capsys):
    lines = run(capsys, path, *TASK, "--by-time", "at", "--period", "1d").splitlines()
    shown = [line.split("  ")[0] for line in lines[lines.index("") + 2 :]]
    assert shown == [f"2026-11-0{day} 00:00:00 UTC" for day in range(1, 6)]
    _, groups = groups_of(capsys, path, *TASK, "--by-time", "at", "--period", "1d")
    expected = grouped(table, at=table["at"].combine_chunks(), period="1d")
    assert [group["key"] for group in groups.values()] == [f"{key.isoformat()}Z" for key in expected]
    assert [group["value"] for group in groups.values()] == list(expected.compute().values())


def test_time_and_other_columns_go_together(path, table, capsys):
    words = [path, *TASK, "--by", "country", "--by-time", "at", "--period", "24h"]
    _, groups = groups_of(capsys, *words)
    expected = grouped(table, "country", at=table["at"].combine_chunks(), period="1d")
    assert {json.dumps([key, f"{at.isoformat()}Z"]) for key, at in expected} == set(groups)


@pytest.mark.parametrize("form", ["csv", "jsonl", "npz", "arrow"])
def test_every_format_has_the_same_groups(tmp_path, table, capsys, form):
    table = table.drop_columns(["region"]).set_column(3, "country", table["country"].cast(pa.string()))
    path = tmp_path / f"a.{form}"
    if form == "csv":
        csv.write_csv(table, path)
    elif form == "jsonl":
        path.write_text("".join(json.dumps(row, default=str) + "\n" for row in table.to_pylist()), encoding="utf-8")
    elif form == "npz":
        np.savez(path, **{name: table[name].to_numpy() for name in ("y", "p", "user", "at")}, country=np.array(
            table["country"].to_pylist()
        ))  # fmt: skip
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    for words, expected in (
        (["--by", "country"], grouped(table, "country")),
        (["--by-time", "at", "--period", "1d"], grouped(table, at=table["at"].combine_chunks(), period="1d")),
    ):
        _, groups = groups_of(capsys, str(path), *TASK, *words)
        keys = [f"{key.isoformat()}Z" if isinstance(key, dt.datetime) else key for key in expected]
        assert [group["key"] for group in groups.values()] == keys
        assert [group["value"] for group in groups.values()] == list(expected.compute().values())


def test_keys_in_csv_are_text(tmp_path, table, capsys):
    """Keys are text, because a column of whole numbers in one shard may hold text in the next."""
    csv.write_csv(table.select(["y", "p", "user"]), tmp_path / "a.csv")
    _, groups = groups_of(capsys, str(tmp_path / "a.csv"), *TASK, "--by", "user")
    assert set(groups) == {json.dumps(str(user)) for user in range(40)}


def test_shards_merge_to_the_whole(tmp_path, table, capsys):
    for i, name in enumerate(("a", "b", "all")):
        part = table.slice(1000 * i, 1000) if name != "all" else table.slice(0, 2000)
        parquet.write_table(part, tmp_path / f"{name}.parquet")
        run(
            capsys,
            str(tmp_path / f"{name}.parquet"),
            *TASK,
            "--by",
            "country",
            "--state",
            str(tmp_path / f"{name}.state"),
        )
    merged = tmp_path / "merged.state"
    assert main(["merge", str(tmp_path / "a.state"), str(tmp_path / "b.state"), "-o", str(merged)]) == 0
    assert "2,000 samples" in capsys.readouterr().out
    assert merged.read_bytes() == (tmp_path / "all.state").read_bytes()
    assert main(["show", str(merged)]) == 0
    assert "mean of groups" in capsys.readouterr().out
    assert main(["show", str(merged), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [group["key"] for group in shown["groups"]] == ce.load(merged).keys()


def test_a_run_by_group_can_be_resumed(tmp_path, path, capsys):
    words = [path, *TASK, "--by", "user", "--chunk-rows", "100", "--state"]
    run(capsys, *words, str(tmp_path / "plain.state"))
    run(capsys, *words, str(tmp_path / "s.state"), "--resume")
    assert (tmp_path / "s.state").read_bytes() == (tmp_path / "plain.state").read_bytes()
    found = json.loads(run(capsys, *words, str(tmp_path / "s.state"), "--resume", "--json"))
    assert found["rows_resumed"] == N
    status = main(["eval", path, *TASK, "--by", "country", "--state", str(tmp_path / "s.state"), "--resume"])
    assert status == 1
    assert "--by has changed" in capsys.readouterr().err


def test_clusters_widen_the_interval(path, table, capsys):
    found = json.loads(run(capsys, path, *TASK, "--cluster", "user", "--json"))
    metric = ce.BinaryCrossEntropy()
    metric.update(table["p"].to_numpy(), table["y"].to_numpy(), cluster=table["user"].to_numpy())
    assert found["stderr"] == metric.summary().stderr
    assert found["buckets"] == metric.summary().buckets
    assert "clusters" in run(capsys, path, *TASK, "--cluster", "user")


def test_multilabel_and_multiclass_go_by_group(tmp_path, capsys):
    rng = np.random.default_rng(2)
    data = {f"y{i}": rng.integers(0, 2, 90) for i in range(3)} | {f"p{i}": rng.uniform(0.1, 0.9, 90) for i in range(3)}
    parquet.write_table(pa.table(data | {"g": np.arange(90) % 3}), tmp_path / "a.parquet")
    words = [str(tmp_path / "a.parquet"), "--task", "multilabel", "--target", "y*", "--preds", "p*", "--by", "g"]
    _, groups = groups_of(capsys, *words)
    preds, target = (np.stack([data[f"{letter}{i}"] for i in range(3)], axis=1) for letter in "py")
    whole = ce.Grouped(ce.MultilabelCrossEntropy(per_label=False)).update(preds, target, by=np.arange(90) % 3)
    assert [group["value"] for group in groups.values()] == list(whole.compute().values())


@pytest.mark.parametrize(
    ("words", "message", "status"),
    [
        (["--by", "nobody"], "no column 'nobody'", 2),
        (["--by", "p"], "row 0: column 'p' is", 1),
        (["--by", "country", "--by", "p"], "row 0: column 'p' is", 1),
        (["--by-time", "at"], "--by-time needs --period", 2),
        (["--by", "user", "--period", "1h"], "--period needs --by-time", 2),
        (["--by-time", "at", "--period", "fortnight"], "--period: period is 'fortnight'", 2),
        (["--by-time", "country", "--period", "1h"], "column 'country' is 'de': expected a moment such as", 1),
        (["--by-time", "*", "--period", "1h"], "--by-time takes one column", 2),
        (["--cluster", "region"], "row 0: column 'region' is None", 1),
        (["--normalized", "--tail"], "--tail cannot be combined with --normalized", 2),
        (["--normalized", "--label-smoothing", "0.1"], "--label-smoothing cannot be combined with --normalized", 2),
        (["--cluster", "p"], "row 0: column 'p' is", 1),
    ],
)
def test_columns_that_are_no_keys_are_an_error(path, capsys, tmp_path, words, message, status):
    found = main(["eval", path, *TASK, *words, "--state", str(tmp_path / "s.state")])
    out, err = capsys.readouterr()
    assert found == status
    assert message in err
    assert err.startswith("streamce: error: ")
    assert err.count("\n") == 1
    assert out == ""
    assert not (tmp_path / "s.state").exists()


@pytest.mark.parametrize("made", [
    lambda: ce.GANCrossEntropy().update(real=[0.75, 0.5], fake=[0.25, 0.5]),
    lambda: ce.NormalizedEntropy().update([0.2, 0.3, 0.5, 0.4], [1, 0, 1, 0]),
    lambda: ce.Grouped(ce.MeanLoss()).update([0.2, 0.3, 0.5, 0.4], by=["a", "b", "a", "b"]),
    lambda: ce.Sliding(ce.MeanLoss(), period="1h", step="1h").update([0.2, 0.3, 0.5, 0.4], by_time=[0.0] * 4),
    lambda: ce.Decayed(ce.MeanLoss(), half_life="1h").update([0.2, 0.3, 0.5, 0.4], by_time=[0.0, 1e3, 1e4, 1e9]),
    lambda: ce.Grouped(ce.BinaryCrossEntropy(tail=True)).update([0.2, 0.3, 0.5, 0.4], [0, 1, 1, 0], by=[1, 2, 1, 2]),
    lambda: ce.Grouped(ce.NormalizedEntropy()).update([0.2, 0.3, 0.5, 0.4], [0, 1, 1, 0], by=[1, 2, 1, 2]),
    lambda: ce.Grouped(ce.Sliding(ce.MeanLoss(), period="1h", step="1h")).update(
        [0.2, 0.3, 0.5, 0.4], by=[1, 2, 1, 2], by_time=[0.0] * 4),
    lambda: ce.Sliding(ce.Paired(ce.MeanLoss()), period="1h", step="1h").update(
        [0.2, 0.3, 0.5, 0.4], [0.3] * 4, by_time=[0.0] * 4),
    lambda: ce.Decayed(ce.NormalizedEntropy(), half_life="1h").update(
        [0.2, 0.3, 0.5, 0.4], [0, 1, 1, 0], by_time=[0.0] * 4),
    lambda: ce.Grouped(ce.GANCrossEntropy()).update(real=[0.2, 0.3], fake=[0.5, 0.4], by=[1, 2]),
])  # fmt: skip
def test_states_of_any_metric_are_merged_and_shown(tmp_path, capsys, made):
    metric, path, merged = made(), tmp_path / "a.state", tmp_path / "b.state"
    metric.save(path)
    metric.save(tmp_path / "equal.state")
    assert main(["merge", str(path), str(tmp_path / "equal.state"), "-o", str(merged)]) == 0
    assert "8 samples" in capsys.readouterr().out
    assert ce.load(merged) == metric + metric
    assert main(["show", str(path)]) == 0
    assert type(metric).__name__ in capsys.readouterr().out
    assert main(["show", str(path), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    inner = metric.options.get("metric", metric)
    options = {**inner.options, **{name: x for name, x in metric.options.items() if x is not None}}
    for name in ("period", "step", "half_life"):
        assert shown["options"].get(name) == options.get(name)
    assert shown["value"] == (metric.micro().value if isinstance(metric, ce.Grouped) else metric.compute())


def test_groups_of_a_collection_are_shown_by_metric(tmp_path, capsys):
    metrics = {"loss": ce.BinaryCrossEntropy(tail=True), "NE": ce.NormalizedEntropy()}
    preds, target, by = [0.2, 0.3, 0.5, 0.4], [0, 1, 1, 0], ["a", "b", "a", "a"]
    ce.Grouped(ce.Collection(metrics)).update(preds, target, by=by).save(tmp_path / "a.state")
    assert main(["show", str(tmp_path / "a.state"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["metrics"]
    assert main(["show", str(tmp_path / "a.state")]) == 0
    assert "\nNE\n" in capsys.readouterr().out
    for name, metric in metrics.items():
        groups = ce.Grouped(metric).update(preds, target, by=by)
        assert shown[name]["value"] == groups.micro().value
        values = [None if np.isnan(value) else value for value in groups.compute().values()]
        assert [group["value"] for group in shown[name]["groups"]] == values


def test_a_window_of_samples_is_shown_and_not_merged(tmp_path, capsys):
    path, equal = tmp_path / "a.state", tmp_path / "equal.state"
    for each in (path, equal):
        ce.Sliding(ce.MeanLoss(), samples=2).update([8.0, 1.0, 2.0]).save(each)
    assert main(["show", str(path), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["value"], shown["options"]["samples"]) == (1.5, 2)
    assert main(["merge", str(path), str(equal), "-o", str(tmp_path / "b.state")]) == 1
    assert "the last samples of two streams do not add up" in capsys.readouterr().err
    assert not (tmp_path / "b.state").exists()


# ---- more than the mean ----


def test_the_tail_is_printed(path, table, capsys):
    metric = ce.BinaryCrossEntropy(tail=True).update(table["p"].to_numpy(), table["y"].to_numpy())
    assert str(metric.tail()) in run(capsys, path, *TASK, "--tail")
    assert json.loads(run(capsys, path, *TASK, "--tail", "--json"))["tail"] == metric.tail().to_dict()


def test_calibration_is_printed(path, table, capsys):
    metric = ce.BinaryCrossEntropy(calibration=True).update(table["p"].to_numpy(), table["y"].to_numpy())
    assert str(metric.calibration()) in run(capsys, path, *TASK, "--calibration")
    found = json.loads(run(capsys, path, *TASK, "--calibration", "--json"))["calibration"]
    assert found == json.loads(json.dumps(metric.calibration().to_dict()))


def test_soft_targets_are_split(tmp_path, capsys):
    rng = np.random.default_rng(0)
    columns = {"p": rng.random(500), "y": rng.random(500)}
    parquet.write_table(pa.table(columns), tmp_path / "soft.parquet")
    metric = ce.BinaryCrossEntropy(divergence=True).update(columns["p"], columns["y"])
    state = str(tmp_path / "soft.state")
    words = [str(tmp_path / "soft.parquet"), *TASK, "--divergence", "--state", state]
    assert str(metric.summary()) in run(capsys, *words)
    assert ce.load(state) == metric
    assert json.loads(run(capsys, *words, "--json"))["divergence"] == metric.summary().divergence


@pytest.mark.parametrize(
    ("words", "metric"),
    [
        (["--tail"], ce.BinaryCrossEntropy(tail=True)),
        (["--calibration"], ce.BinaryCrossEntropy(calibration=True)),
        (["--divergence"], ce.BinaryCrossEntropy(divergence=True)),
        (["--normalized"], ce.NormalizedEntropy()),
        (["--cluster", "user"], ce.BinaryCrossEntropy()),
        (["--cluster", "user", "--normalized"], ce.NormalizedEntropy()),
    ],
)
def test_groups_have_all_sums_of_the_metric(tmp_path, path, table, capsys, words, metric):
    state = str(tmp_path / "a.state")
    preds, target, by = table["p"].to_numpy(), table["y"].to_numpy(), table["country"].combine_chunks()
    cluster = {"cluster": table["user"].to_numpy()} if "--cluster" in words else {}
    metric = metric.copy()
    expected = ce.Grouped(metric).update(preds, target, by=by, **cluster)
    found, groups = groups_of(capsys, path, *TASK, *words, "--by", "country", "--state", state)
    assert ce.load(state) == expected
    assert [group["value"] for group in groups.values()] == list(expected.compute().values())
    assert found["value"] == expected.micro().value == metric.update(preds, target, **cluster).compute()
    assert found["macro"]["value"] == expected.macro().value
    printed = run(capsys, path, *TASK, *words, "--by", "country")
    assert str(metric.summary()) in printed
    assert all(f"{summary.value:.6g}" in printed for summary in expected.summary().values())
    if "--tail" in words:
        assert str(metric.tail()) in printed
        assert found["tail"] == metric.tail().to_dict()


def test_the_value_of_a_normalized_entropy_is_not_in_nats(path, capsys):
    lines = run(capsys, path, *TASK, "--normalized", "--by", "country").splitlines()
    mean, head = next(each for each in lines if each.startswith("mean of groups")), lines[-4]
    assert head.split() == ["group", "value", "interval", "losses"]
    assert "nats" not in mean


def test_classes_are_normalized_by_group(tmp_path, capsys):
    rng = np.random.default_rng(1)
    preds, target, by = rng.dirichlet(np.ones(3), 90), rng.integers(0, 3, 90), np.arange(90) % 3
    names = np.array(["cat", "dog", "eel"])
    parquet.write_table(
        pa.table({"y": names[target], "by": by, **{name: preds[:, i] for i, name in enumerate(names)}}),
        tmp_path / "a.parquet",
    )
    words = [str(tmp_path / "a.parquet"), "--task", "multiclass", "--target", "y", "--preds", "cat,dog,eel"]
    found, groups = groups_of(capsys, *words, "--normalized", "--by", "by")
    whole = ce.Grouped(ce.MulticlassNormalizedEntropy()).update(preds, target, by=by)
    assert [group["value"] for group in groups.values()] == list(whole.compute().values())
    assert found["macro"]["value"] == pytest.approx(np.mean(list(whole.compute().values())))
    assert main(["eval", *words, "--normalized", "--cluster", "by"]) == 2
    assert "--cluster cannot be combined with --normalized" in capsys.readouterr().err


def test_bytes_by_group(tmp_path, capsys):
    rng = np.random.default_rng(2)
    losses, n_bytes, subject = rng.uniform(0.1, 2, (30, 4)), rng.integers(4, 20, 30), np.arange(30) % 3
    parquet.write_table(pa.table({"lp": list(-losses), "n": n_bytes, "s": subject}), tmp_path / "a.parquet")
    state = str(tmp_path / "a.state")
    words = [str(tmp_path / "a.parquet"), "--task", "sequence", "--token-log-probs", "lp", "--n-bytes", "n"]
    found, _ = groups_of(capsys, *words, "--by", "s", "--state", state)
    whole = ce.Grouped(ce.SequenceCrossEntropy(kind="log_probs"))
    whole.update_token_log_probs(-losses, by=subject, n_bytes=n_bytes)
    assert ce.load(state) == whole
    assert found["per_byte"]["bits"] == pytest.approx(losses.sum() / n_bytes.sum() / np.log(2))
    assert "bits per byte" in run(capsys, *words, "--by", "s")


def test_a_normalized_entropy_fails_a_limit(path, table, capsys):
    metric = ce.NormalizedEntropy().update(table["p"].to_numpy(), table["y"].to_numpy())
    assert main(["eval", path, *TASK, "--normalized", "--fail-above", "0.5"]) == 3
    out, err = capsys.readouterr()
    assert str(metric.summary()) in out
    assert f"because the normalized entropy is {metric.compute():.6g} and its" in err


def test_a_collection_is_merged_and_shown(tmp_path, table, capsys):
    metric = ce.BinaryCrossEntropy()
    metrics = ce.Collection({"all": metric, "by user": ce.Grouped(metric)})
    metrics.update(table["p"].to_numpy(), table["y"].to_numpy(), by=table["user"].to_numpy())
    for name in ("a", "equal"):
        metrics.save(tmp_path / f"{name}.state")
    assert main(["merge", *(str(tmp_path / f"{name}.state") for name in ("a", "equal")), "-o",
                 str(tmp_path / "b.state")]) == 0  # fmt: skip
    assert f"{2 * N:,} samples" in capsys.readouterr().out
    assert ce.load(tmp_path / "b.state") == metrics + metrics
    assert main(["show", str(tmp_path / "a.state")]) == 0
    shown = capsys.readouterr().out
    assert f"all\n{metrics['all'].summary()}" in shown
    assert f"\n\nby user\n{metrics['by user'].micro()}" in shown
    assert main(["show", str(tmp_path / "a.state"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["metrics"]
    assert found["all"]["value"] == metrics["all"].compute()
    assert len(found["by user"]["groups"]) == len(metrics["by user"])

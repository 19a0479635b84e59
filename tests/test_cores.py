"""The cores that are ours: those of the affinity, or what the control groups grant."""

import os

import pytest

from gate.cores import core_count

CORES = len(os.sched_getaffinity(0))


def counted(tmp_path, lines, files):
    """The cores where /proc/self/cgroup has these lines and /sys/fs/cgroup these files."""
    own = tmp_path / "own"
    own.write_text("".join(f"{line}\n" for line in lines))
    for name, text in files.items():
        file = tmp_path / "groups" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    return core_count(groups=tmp_path / "groups", own=own)


@pytest.fixture
def many(monkeypatch):
    """A machine of eight cores, all of which may be used."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _process: set(range(8)))


def test_without_control_groups_the_cores_of_the_affinity_count(tmp_path):
    assert core_count(groups=tmp_path / "none", own=tmp_path / "none") == CORES


@pytest.mark.parametrize(
    ("limit", "cores"), [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2)]
)
def test_a_container_counts_what_it_is_granted_and_a_part_of_a_core_as_one(
    many, tmp_path, limit, cores
):
    assert counted(tmp_path, ["0::/"], {"cpu.max": limit}) == cores


def test_a_limit_around_the_own_group_counts_too(many, tmp_path):
    files = {"system.slice/cpu.max": "300000 100000", "system.slice/gate.service/cpu.max": "max 1"}
    assert counted(tmp_path, ["0::/system.slice/gate.service"], files) == 3


def test_the_first_version_of_control_groups_counts_too(many, tmp_path):
    files = {"cpu/a/cpu.cfs_quota_us": "400000", "cpu/a/cpu.cfs_period_us": "100000"}
    assert counted(tmp_path, ["4:cpu,cpuacct:/a", "2:memory:/a"], files) == 4


def test_the_first_version_says_minus_one_where_there_is_no_limit(many, tmp_path):
    files = {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}
    assert counted(tmp_path, ["4:cpu,cpuacct:/lost/in/a/container"], files) == 8


def test_more_than_the_affinity_is_never_counted(many, tmp_path):
    assert counted(tmp_path, ["0::/"], {"cpu.max": "9900000 100000"}) == 8


def test_there_is_always_one_core(monkeypatch, tmp_path):
    monkeypatch.setattr("os.sched_getaffinity", lambda _process: set())
    assert core_count(groups=tmp_path, own=tmp_path / "none") == 1

"""Every program answers --help, and the scripts for clusters start launch/main.py with flags that it has."""

import os
import re
import subprocess
import sys
import time

import pytest

from tests import experiments

LAUNCH = experiments.ROOT / "launch"
PROGRAMS = sorted(path.name for path in LAUNCH.glob("*.py"))
SCRIPTS = sorted(path.name for path in LAUNCH.glob("*.sh"))
PATHS = os.pathsep.join([str(experiments.ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
ENVIRONMENT = {**os.environ, "PYTHONPATH": PATHS, "JAX_PLATFORMS": "cpu"}


def run(*command, **environment):
    """A command in the root of the checkout, and what it answers."""
    return subprocess.run(
        command, cwd=experiments.ROOT, env={**ENVIRONMENT, **environment}, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_answers_help(program):
    answer = run(sys.executable, f"launch/{program}", "--help")
    assert answer.returncode == 0, answer.stderr
    assert f"python launch/{program}" in answer.stdout  # an example to copy
    assert "--" in answer.stdout.split(f"python launch/{program}")[-1]  # and the flags


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_bash_and_explain_themselves(script):
    path = str(LAUNCH / script)
    assert run("bash", "-n", path).returncode == 0
    assert os.access(path, os.X_OK)
    told = run("bash", path, "--help")
    assert told.returncode == 0
    assert f"launch/{script}" in told.stdout
    assert "#" not in told.stdout
    wrong = run("bash", path)
    assert wrong.returncode == 2
    assert wrong.stderr == told.stdout


def flags_of_main():
    return set(re.findall(r"--(?:\[no\])?(\w+)", run(sys.executable, "launch/main.py", "--help").stdout))


def commands(name):
    """The command lines in a file that start launch/main.py, each to its end."""
    text = re.sub(r"\\\n", " ", (LAUNCH / name).read_text())
    return [line.split("launch/main.py", 1)[1] for line in text.splitlines() if re.search(r"launch/main\.py +--", line)]


@pytest.mark.parametrize("name", [*SCRIPTS, "gke.yaml"])
def test_main_has_the_flags_that_scripts_give_it(name):
    (command,) = commands(name)
    given = set(re.findall(r"--(\w+)", command))
    assert "distributed" in given
    assert given <= flags_of_main()


@pytest.fixture
def fakes(tmp_path):
    """A folder of commands that only write down how they were called."""

    def make(name, also=""):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/bash\nprintf "%s\\n" "{name} $*" >> {tmp_path}/calls\n{also}\n')
        path.chmod(0o755)

    make.path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    make.calls = lambda: (tmp_path / "calls").read_text().splitlines() if (tmp_path / "calls").exists() else []
    return make


def slurm(fakes, **environment):
    arguments = ["--config", "experiments/gan.py:smoke", "--workdir", "runs/x"]
    return run("bash", "launch/slurm.sh", *arguments, PATH=fakes.path, SLURM_JOB_ID="7", **environment)


def test_slurm_starts_main_in_every_task(fakes):
    fakes("srun")
    fakes("scontrol")
    assert slurm(fakes, SLURM_CPUS_PER_TASK="8", SLURM_JOB_END_TIME="99999999999").returncode == 0
    (call,) = fakes.calls()
    assert call.endswith("launch/main.py --distributed --config experiments/gan.py:smoke --workdir runs/x")
    assert "--cpus-per-task=8" in call


def test_slurm_queues_a_run_again_that_was_told_to_stop(fakes):
    fakes("srun", also="kill -TERM $PPID; sleep 0.2")
    fakes("scontrol")
    assert slurm(fakes).returncode == 0
    assert fakes.calls()[-1] == "scontrol requeue 7"


def test_slurm_queues_a_run_again_that_reached_its_time_limit(fakes):
    fakes("srun")
    fakes("scontrol")
    assert slurm(fakes, SLURM_JOB_END_TIME="1").returncode == 0
    assert fakes.calls()[-1] == "scontrol requeue 7"


def test_slurm_does_not_repeat_a_run_that_failed(fakes):
    fakes("srun", also="exit 3")
    fakes("scontrol")
    assert slurm(fakes, SLURM_JOB_END_TIME="1").returncode == 3
    assert len(fakes.calls()) == 1


def test_tpu_pod_starts_main_on_all_hosts_and_stops_it(fakes):
    fakes("gcloud")
    arguments = ["--config=experiments/dcgan.py:lsun", "--config.data.path=a folder", "--workdir=/mnt/x"]
    for command in (["train", *arguments], ["stop"]):
        answer = run("bash", "launch/tpu_pod.sh", *command, PATH=fakes.path, TPU="pod", ZONE="here", PROJECT="p")
        assert answer.returncode == 0, answer.stderr
    text = "\n".join(fakes.calls())
    start, stop = text.split("gcloud compute tpus tpu-vm ")[1:]
    assert start.startswith("ssh pod --zone=here --project=p --worker=all --command=")
    assert r"launch/main.py --distributed --config=experiments/dcgan.py:lsun --config.data.path=a\ folder" in start
    assert "kill -TERM" in stop
    assert run("bash", "launch/tpu_pod.sh", "train", PATH=fakes.path).returncode == 2


def test_tpu_pod_stops_when_a_host_fails(fakes):
    fakes("gcloud", also="exit 5")
    assert run("bash", "launch/tpu_pod.sh", "log", PATH=fakes.path).returncode == 5


@pytest.fixture(scope="module")
def jobset():
    yaml = pytest.importorskip("yaml")
    (document,) = yaml.safe_load_all((LAUNCH / "gke.yaml").read_text())
    return document


def test_gke_agrees_with_itself(jobset):
    (workers,) = jobset["spec"]["replicatedJobs"]
    job = workers["template"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    name = jobset["metadata"]["name"]
    assert job["parallelism"] == job["completions"] == int(environment["PROCESSES"])
    (port,) = [entry["containerPort"] for entry in container["ports"]]
    assert environment["COORDINATOR"] == f"{name}-{workers['name']}-0-0.{name}:{port}"
    volumes = {volume["name"] for volume in job["template"]["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes


@pytest.mark.parametrize(("main", "told", "status"), [("exit 0", False, 0), ("exit 4", False, 4), (None, True, 143)])
def test_gke_restarts_what_was_told_to_stop(jobset, fakes, tmp_path, main, told, status):
    """The container's shell: main's own status, but a failure after SIGTERM, which main has been given time for."""
    trap = f"trap 'sleep 0.3; touch {tmp_path}/saved; exit 0' TERM"
    saves = f"{trap}; touch {tmp_path}/runs; while :; do sleep 0.05; done"
    fakes("python", also=main or saves)
    (container,) = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["containers"]
    given = {"COORDINATOR": "c:1", "PROCESSES": "2", "JOB_COMPLETION_INDEX": "1"}
    environment = {**ENVIRONMENT, **given, "PATH": fakes.path}
    shell = subprocess.Popen([*container["command"], *container["args"]], env=environment)
    if told:
        while not (tmp_path / "runs").exists():
            assert shell.poll() is None
            time.sleep(0.05)
        shell.terminate()
    assert shell.wait(timeout=30) == status
    assert (tmp_path / "saved").exists() == told
    assert "--coordinator=c:1 --processes=2 --process=1" in fakes.calls()[0]

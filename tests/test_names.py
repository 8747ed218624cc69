"""The same name everywhere, imports that run one way, and experiments that say how to run them."""

import ast
import pathlib
import re
import subprocess
import sys

import pytest

from tests import experiments

ROOT = experiments.ROOT
PAPERS = sorted(path.stem for path in (ROOT / "gan_jax/gans").glob("*.py") if path.stem != "__init__")
MODULES = sorted((ROOT / "gan_jax").rglob("*.py"))


def imports(path: pathlib.Path) -> set[str]:
    """Every module of the project, or of elsewhere, that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def importers(name: str) -> set[str]:
    """Files of the package that import this module, or anything in it."""
    pattern = re.compile(rf"^{re.escape(name)}(\.|$)")
    return {str(path.relative_to(ROOT)) for path in MODULES if any(map(pattern.match, imports(path)))}


def test_every_paper_has_its_three_files():
    assert PAPERS == experiments.NAMES
    for paper in PAPERS:
        assert (ROOT / f"tests/gans/test_{paper}.py").exists()


@pytest.mark.parametrize("paper", PAPERS)
def test_a_paper_is_cited(paper):
    text = ast.get_docstring(ast.parse((ROOT / f"gan_jax/gans/{paper}.py").read_text()))
    assert re.search(r"\b(19|20)\d\d\b", text), "no year"
    assert re.search(r"arXiv:\d{4}\.\d{4,5}", text), "no arXiv number"
    assert "Numbers to expect" in text


@pytest.mark.parametrize("paper", PAPERS)
def test_an_experiment_says_how_to_run_it(paper):
    text = ast.get_docstring(ast.parse((ROOT / f"experiments/{paper}.py").read_text()))
    assert f"python launch/main.py --config experiments/{paper}.py" in text
    assert f"experiments/{paper}.py:smoke" in text
    assert "Expect" in text


@pytest.mark.parametrize("paper", PAPERS)
def test_every_variant_that_is_announced_exists(paper):
    text = ast.get_docstring(ast.parse((ROOT / f"experiments/{paper}.py").read_text()))
    for variant in re.findall(rf"experiments/{paper}\.py:(\w+)", text):
        assert experiments.get_config(paper, variant).gan == paper


@pytest.mark.parametrize("paper", PAPERS)
def test_a_paper_knows_nothing_of_the_world(paper):
    allowed = {
        "config",
        "contract",
        "errors",
        "latents",
        "losses",
        "divergences",
        "penalties",
        "optimizers",
        "tricks",
        "reconstruction",
        "augment",
        "pools",
    }
    allowed |= {"layers", "nets", "gans"}
    used = {name.split(".")[1] for name in imports(ROOT / f"gan_jax/gans/{paper}.py") if name.startswith("gan_jax.")}
    assert used <= allowed


def test_imports_run_one_way():
    assert importers("grain") == {"gan_jax/data/loader.py"}
    assert importers("orbax") == {"gan_jax/train/checkpoint.py"}
    assert not {name for name in importers("gan_jax.gans") if not name.startswith("gan_jax/gans/")}
    inside = ("gan_jax/train/", "gan_jax/analysis/")  # a run directory is opened by what it was written with
    assert not {name for name in importers("gan_jax.train") if not name.startswith(inside)}
    sharding = {name for module in ("jax.sharding", "jax.experimental.mesh_utils") for name in importers(module)}
    assert sharding <= {"gan_jax/parallel.py"}
    for layer in ("layers", "nets"):
        for path in (ROOT / "gan_jax" / layer).glob("*.py"):
            used = {name.split(".")[1] for name in imports(path) if name.startswith("gan_jax.")}
            assert used <= {"layers", "nets", "errors"}, path


def test_no_program_hides_a_standard_module():
    names = {path.stem for path in (ROOT / "launch").glob("*.py")}
    assert names
    assert not names & sys.stdlib_module_names  # `python launch/main.py` puts that folder first on the path


def test_training_does_not_import_tensorflow():
    code = "import sys, gan_jax.train.loop, gan_jax.gans.dcgan; print('tensorflow' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.strip() == "False"

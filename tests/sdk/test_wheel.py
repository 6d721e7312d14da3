"""What `pip install` brings: one name, and everything that the package needs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("app", "chaos", "rmq", "LICENSE", "README.md", "pyproject.toml", "requirements.txt", "setup.py")
PROGRAM = """
import sys
import app.main
from rmq.beside import ROOT, make_importable
assert app.main.whose == "the user's"
del sys.modules["app"]
make_importable()
import app, chaos.checker
assert all(path.startswith(str(ROOT)) for path in (app.__file__, chaos.checker.__file__))
assert (ROOT / "app" / "main.py").is_file()
"""


def test_an_installed_rmq_takes_no_name_but_its_own(tmp_path: Path) -> None:
    """Many a project has an `app`."""
    source, site, project = tmp_path / "source", tmp_path / "site", tmp_path / "project"
    source.mkdir()
    for part in PARTS:
        (shutil.copytree if (ROOT / part).is_dir() else shutil.copy)(ROOT / part, source / part)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(source)]
    subprocess.run(build, check=True, timeout=240)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(site)
    assert {path.name for path in site.iterdir()} == {"rmq", f"{'-'.join(wheel.name.split('-')[:2])}.dist-info"}
    assert [path.name for path in site.glob("*.dist-info/top_level.txt")] == ["top_level.txt"]
    (project / "app").mkdir(parents=True)
    (project / "app" / "main.py").write_text('whose = "the user\'s"\n')
    environment = {"PYTHONPATH": f"{project}:{site}"}
    subprocess.run([sys.executable, "-P", "-c", PROGRAM], check=True, timeout=60, env=environment, cwd=project)

"""Which packages a wheel has, and where: what is no client's lies within `rmq` (`rmq/beside.py`). The rest stands in
pyproject.toml."""

from setuptools import find_namespace_packages, setup

BESIDE = "rmq._beside"
# Of chaos the judge alone, for `rmq verify`; the modules beside it come along, and need what only this folder has.
INSIDE = (*find_namespace_packages(include=["app*"]), "chaos", "chaos.checks")

setup(
    packages=[*find_namespace_packages(include=["rmq*"]), *(f"{BESIDE}.{name}" for name in INSIDE)],
    package_dir={f"{BESIDE}.{name}": name for name in ("app", "chaos")},
)

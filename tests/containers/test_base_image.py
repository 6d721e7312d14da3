"""How a base image is chosen and where its packages come from, on machines unlike this one."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import base_image
from scripts.console import Failure

CERTIFICATE_VARIABLES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("sources.list", "deb http://mirror.example/debian bookworm main", "http://mirror.example/debian"),
        ("sources.list", "deb [arch=amd64] https://m.example/debian/ sid main", "https://m.example/debian"),
        ("sources.list.d/debian.sources", "Types: deb\nURIs: http://m.example/debian\n", "http://m.example/debian"),
        ("sources.list.d/other.list", "deb https://packages.example/apt stable main", base_image.DEFAULT_MIRROR),
        ("sources.list", "deb http://security.example/debian-security x main", base_image.DEFAULT_MIRROR),
        ("sources.list", "# deb http://m.example/debian bookworm main", base_image.DEFAULT_MIRROR),
        ("sources.list.d/ubuntu.sources", "URIs: http://archive.example/ubuntu/\n", base_image.DEFAULT_MIRROR),
        ("nothing", "", base_image.DEFAULT_MIRROR),
    ],
)
def test_the_mirror_is_that_of_the_machine(name: str, text: str, found: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    assert base_image.mirror(tmp_path) == found


def test_a_named_base_image_overrules_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASE_IMAGE", "registry.example/python:3.13")
    assert base_image.choose() == "registry.example/python:3.13"


@pytest.mark.parametrize("present", [{base_image.OFFICIAL}, {base_image.OFFICIAL, base_image.OWN}, {base_image.OWN}])
def test_what_is_there_is_used_without_a_pull(present: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BASE_IMAGE", raising=False)
    monkeypatch.setattr(base_image, "is_present", present.__contains__)
    monkeypatch.setattr(base_image, "run_logged", lambda *_, **__: pytest.fail("nothing is to be run"))
    assert base_image.choose() == (base_image.OFFICIAL if base_image.OFFICIAL in present else base_image.OWN)


def test_with_no_way_to_a_base_the_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot_pull(command: list[str], *_: object, **__: object) -> None:
        assert command[:2] == ["docker", "pull"]
        raise Failure("no route")

    monkeypatch.delenv("BASE_IMAGE", raising=False)
    monkeypatch.setattr(base_image, "is_present", lambda name: False)
    monkeypatch.setattr(base_image, "run_logged", cannot_pull)
    monkeypatch.setattr(base_image.os, "geteuid", lambda: 1000)
    with pytest.raises(base_image.NoBaseImage, match="sudo make build"):
        base_image.choose()


def test_the_build_gets_a_bundle_only_where_one_is_named_or_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in CERTIFICATE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(base_image, "ADDED_CERTIFICATES", tmp_path / "none")
    assert base_image.extra_certificates() is None
    bundle = tmp_path / "bundle.crt"
    bundle.write_bytes(b"certificates")
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    assert base_image.extra_certificates() == b"certificates"

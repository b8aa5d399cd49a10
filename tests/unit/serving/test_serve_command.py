"""What ``posterion serve`` makes of its options."""

import pytest

from posterion.cli import main
from posterion.serving import launch
from posterion.serving.settings import ServeSettings


def settings_for(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> ServeSettings:
    """The settings that the command line would serve with."""
    asked: list[ServeSettings] = []

    def serve(settings: ServeSettings) -> int:
        asked.append(settings)
        return 0

    monkeypatch.setattr(launch, "serve", serve)
    monkeypatch.setattr("sys.argv", ["posterion", "serve", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    (settings,) = asked
    return settings


def test_without_options_the_settings_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POSTERION_STORE", raising=False)
    assert settings_for(monkeypatch) == ServeSettings()


@pytest.mark.parametrize("ingress", ["haproxy", "ray"])
def test_the_ingress_is_the_operators_choice(monkeypatch: pytest.MonkeyPatch, ingress: str) -> None:
    assert settings_for(monkeypatch, "--ingress", ingress).ingress == ingress


def test_an_unknown_ingress_is_refused_with_the_choices(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["posterion", "serve", "--ingress", "nginx"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "--ingress: Input should be 'haproxy' or 'ray'" in capsys.readouterr().err

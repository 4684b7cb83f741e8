"""What the source says about a built-in is what the imported object says, for every one."""

import pytest

from pbrl import registry
from pbrl.registry import annotations, describing, finding

BUILT_IN = [(kind, name) for kind in finding.REGISTERED for name in sorted(finding.sources(kind))]


@pytest.mark.parametrize(("kind", "name"), BUILT_IN, ids=[" ".join(b) for b in BUILT_IN])
def test_source_and_object_agree(kind: str, name: str) -> None:
    read = describing.of_source(kind, name)
    imported = describing.of_object(kind, name, registry.resolve(kind, name))
    settings = [
        [(p.name, p.expected, p.default, p.doc) for p in entry.parameters.values()]
        for entry in (read, imported)
    ]
    assert settings[0] == settings[1]
    assert [annotations.bounds(p.type) for p in read.parameters.values()] == [
        annotations.bounds(p.type) for p in imported.parameters.values()
    ]
    assert (read.summary, read.meta) == (imported.summary, imported.meta)


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_setting_has_a_type_and_a_default_that_it_takes(kind: str) -> None:
    for name in registry.names(kind):
        entry = registry.describe(kind, name)
        for p in entry.parameters.values():
            assert p.type is not annotations.Any, (name, p.name)
        given = {p.name: "x" for p in entry.parameters.values() if p.default is registry.REQUIRED}
        registry.check_parameters(entry, given, "here")


def test_a_name_that_is_only_talked_of_is_none() -> None:
    text = (
        '"""\n@loss("ghost")\ndef ghost(): ...\n"""\n# @loss("ghost")\n@loss("real", kind="pair")\n'
    )
    assert finding.names_in(text, "loss") == ["real"]

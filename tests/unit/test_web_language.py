"""Everything that the pages say is in the catalogue, and translated."""

import re

from tools import catalogue


def test_nothing_is_left_untranslated() -> None:
    assert list(catalogue.missing(catalogue.kept())) == []


def test_the_catalogue_is_what_the_pages_say() -> None:
    def ids(which: object) -> set[object]:
        return {each.id for each in which if each.id}  # type: ignore[attr-defined]

    assert ids(catalogue.kept()) == ids(catalogue.extracted()), "run `make catalogue`"


def test_translations_name_what_their_messages_name() -> None:
    for each in catalogue.kept():
        if isinstance(each.id, str) and each.id:
            names = re.findall(r"%\(\w+\)s", each.id)
            assert sorted(names) == sorted(re.findall(r"%\(\w+\)s", str(each.string))), each.id
            # Templates put names into every message: a per cent sign has to be doubled, or said in words.
            assert str(each.string) % dict.fromkeys(re.findall(r"%\((\w+)\)s", each.id), "x"), each.id


def test_no_template_has_words_outside_the_catalogue() -> None:
    for path in (catalogue.WEB / "templates").rglob("*.html"):
        text = re.sub(
            r"\{% (trans|set|include|import|extends|block)\b.*?%\}.*?(\{% endtrans %\}|\n|$)",
            "",
            path.read_text(),
        )
        text = re.sub(r"\{%.*?%\}|\{#.*?#\}|\{\{.*?\}\}|<[^>]*>", " ", text, flags=re.DOTALL)
        words = set(re.findall(r"[A-Za-z]{3,}", text)) - {"Duly"}
        assert not words, (path.name, words)

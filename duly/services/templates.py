"""The templates that notices are rendered from: read, held against the rules about words, only then used.

A template is plain text with values (`{{ amount }}`), conditions (`{% if late_fee %}`) and parts of other
templates (`{% include "en/_pay.txt" %}`), and nothing else: so every branch can be taken before any borrower
reads it. How one is written stands in docs/words.md.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from importlib.resources import files as resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from eth_hash.auto import keccak
from jinja2 import DictLoader, StrictUndefined, TemplateError, TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from duly.domain.errors import InvalidInput
from duly.domain.notice import Kind
from duly.domain.words import PREVIEW, Said, WordRules, check

LOCALES = ("en", "zh")
"""The languages that notices are written in: English, Simplified Chinese."""

Values = Mapping[str, object]
Situation = tuple[Kind, str, Values]
"""A notice's kind, its language, and the values that its template may name."""

E = TypeVar("E", bound=ImmutableSandboxedEnvironment)

_MARK = re.compile("\0([bv/])([^\0]*)\0")
_SHOWN = 20


class InvalidTemplates(InvalidInput):
    """No notice can be rendered from these templates."""


class Branch(NamedTuple):
    """A branch of a condition: its file, the condition's line, and whether the condition holds in it."""

    file: str
    line: int
    holds: bool
    number: int
    """Of the file's conditions; two may stand in one line."""

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: the condition {'holds' if self.holds else 'does not hold'}"


class TemplateSet:
    """Files by name, such as en/overdue.txt, with their contents."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.files = {name: files[name] for name in sorted(files)}
        # The texts that are rendered are the ones that were hashed. Plain text: there is nothing to escape.
        self._plain = _environment(ImmutableSandboxedEnvironment, self.files)
        self._marked = _environment(_Marked, self.files)
        self._checked: set[str] = set()

    @cached_property
    def hash(self) -> bytes:
        """Keccak-256 of all names and contents, as JSON with sorted keys and without spaces."""
        content = json.dumps(self.files, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return keccak(content.encode())

    def render(self, kind: Kind, locale: str, values: Values) -> tuple[str, str]:
        """Subject and body."""
        return _divided(self._plain.get_template(_name(kind, locale)).render(values))

    def check(self, rules: WordRules, situations: Iterable[Situation]) -> None:
        """Render every template in every situation, through every branch, and hold the texts against rules.

        Raises: InvalidTemplates, which names the file, and the line or phrase that is missing or prohibited.
        """
        key = rules.model_dump_json()
        if key in self._checked:
            return
        problems = self.problems(rules, situations)
        if problems:
            more = len(problems) - _SHOWN
            raise InvalidTemplates(
                "\n".join(["these templates cannot be used:", *problems[:_SHOWN]])
                + (f"\n… and {more} more" if more > 0 else ""),
                remedy="Correct the files; docs/words.md tells how templates are written.",
            )
        self._checked.add(key)

    def problems(self, rules: WordRules, situations: Iterable[Situation]) -> list[str]:
        """What speaks against using the templates, each thing once; empty where nothing does."""
        wanted = {_name(kind, locale) for kind in Kind for locale in LOCALES}
        found = [f"{name}: the file is missing" for name in sorted(wanted - self.files.keys())]
        found += list(self._unreadable())
        if found:
            return found
        marked = self._marked
        problems: dict[str, None] = {}
        taken: set[Branch] = set()
        subjects: dict[str, str] = {}
        seen: set[tuple[str, tuple[str, ...], frozenset[str]]] = set()
        for kind, locale, values in situations:
            name = _name(kind, locale)
            try:
                text = marked.get_template(name).render(values)
            except TemplateError as error:
                problems[f"{name}: {error.message}"] = None
                continue
            # Texts that were made in one way differ in their values alone, and say the same.
            empty = frozenset(name for name, value in values.items() if value == "")
            way = name, tuple(mark[0] for mark in _MARK.finditer(text)), empty
            if way in seen:
                continue
            seen.add(way)
            taken |= marked.branches_in(text)
            said = said_of(kind, locale, text, values)
            problems |= dict.fromkeys(f"{name}: {problem}" for problem in check(said, rules))
            if said.subject != subjects.setdefault(locale, said.subject):
                problems[f"{name}: its subject differs from the others', and so tells what it is about"] = (
                    None
                )
        problems |= dict.fromkeys(
            f"{branch} in no situation, so that what it says cannot be checked"
            for branch in sorted(self.branches() - taken)
        )
        return list(problems)

    def branches(self) -> set[Branch]:
        """Every branch of every template."""
        for name in self.files:
            self._marked.get_template(name)
        return set(self._marked.branches)

    def branches_taken(self, situations: Iterable[Situation]) -> set[Branch]:
        """The branches that are taken in some situations."""
        return {
            branch
            for kind, locale, values in situations
            for branch in self._marked.branches_in(self._with_marks(kind, locale, values))
        }

    def marked(self, kind: Kind, locale: str, values: Values, show: Callable[[str, str], str]) -> str:
        """The text with each value as `show` writes it, given its name and what it is."""
        text = re.sub("\0b[^\0]*\0", "", self._with_marks(kind, locale, values))
        return re.sub("\0v([^\0]*)\0([^\0]*)\0/\0", lambda found: show(found[1], found[2]), text)

    def said(self, kind: Kind, locale: str, values: Values) -> Said:
        """The text as the rules about words see it."""
        return said_of(kind, locale, self._with_marks(kind, locale, values), values)

    def _with_marks(self, kind: Kind, locale: str, values: Values) -> str:
        return self._marked.get_template(_name(kind, locale)).render(values)

    def _unreadable(self) -> Iterator[str]:
        for name, text in self.files.items():
            try:
                _Marked(loader=DictLoader({})).parse(text, name, name)
            except TemplateSyntaxError as error:
                yield f"{name}, line {error.lineno}: {error.message}"
                continue
            if "\0" in text:
                yield f"{name}: characters that no text needs"


def read_templates(folder: Path) -> TemplateSet:
    """The templates of a folder of one's own, with a folder in it per language. To be checked before use.

    Raises: InvalidTemplates, where they cannot be read.
    """
    try:
        return TemplateSet(_read(folder))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidTemplates(f"the templates in {folder} cannot be read: {error}") from None


def shipped_templates() -> TemplateSet:
    """The templates that come with the program. To be checked before use."""
    return TemplateSet(_read(resources("duly") / "templates"))


def _read(root: Traversable) -> dict[str, str]:
    """All files by name, such as en/overdue.txt, with their contents; line endings are always LF."""
    return {
        f"{locale}/{file.name}": file.read_text(encoding="utf-8").replace("\r\n", "\n")
        for locale in LOCALES
        for file in (root / locale).iterdir()
        if file.name.endswith(".txt")
    }


def said_of(kind: Kind, locale: str, marked: str, values: Values) -> Said:
    """A text that was rendered with marks, as the rules about words see it."""
    shown: dict[str, int] = {}
    text = ""
    end = 0
    for mark in _MARK.finditer(marked):
        text += marked[end : mark.start()]
        end = mark.end()
        if mark[1] == "v":
            shown.setdefault(mark[2], len(text))
    text += marked[end:]
    subject, body = _divided(text)
    early = len(subject) + 2 + PREVIEW
    return Said(
        kind=kind.name,
        locale=locale,
        subject=subject,
        body=body,
        shown=frozenset(shown),
        shown_early=frozenset(name for name, at in shown.items() if at < early),
        empty=frozenset(name for name, value in values.items() if value in ("", None)),
    )


def _name(kind: Kind, locale: str) -> str:
    return f"{locale}/{kind.name.lower()}.txt"


def _divided(text: str) -> tuple[str, str]:
    subject, _, body = text.partition("\n\n")
    return subject, body.rstrip() + "\n"


# ------------------------------------------------------------------------------------ marks in a template


class _Marked(ImmutableSandboxedEnvironment):
    """Renders what the templates say, with marks that tell the branches taken and the values shown."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.branches: list[Branch] = []

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        _refuse_all_but_words(tree, name or "")
        for number, condition in enumerate(tree.find_all(nodes.If)):
            for holds in (True, False):
                branch = Branch(name or "", condition.lineno, holds, number)
                mark = _text(f"\0b{len(self.branches)}\0", condition.lineno)
                self.branches.append(branch)
                if holds:
                    condition.body.insert(0, mark)
                elif condition.elif_:
                    # Not the condition of an elif in itself: it is asked first.
                    rest = nodes.If(
                        condition.elif_[0].test,
                        condition.elif_[0].body,
                        condition.elif_[1:],
                        condition.else_,
                        lineno=condition.elif_[0].lineno,
                    )
                    condition.elif_, condition.else_ = [], [mark, rest]
                else:
                    condition.else_.insert(0, mark)
        for output in tree.find_all(nodes.Output):
            output.nodes = [part for node in output.nodes for part in _with_marks(node)]
        return tree

    def branches_in(self, text: str) -> set[Branch]:
        """The branches that a text was rendered through."""
        return {self.branches[int(mark[2])] for mark in _MARK.finditer(text) if mark[1] == "b"}


def _with_marks(node: nodes.Expr) -> list[nodes.Expr]:
    if not isinstance(node, nodes.Name):
        return [node]
    before = nodes.TemplateData(f"\0v{node.name}\0", lineno=node.lineno)
    return [before, node, nodes.TemplateData("\0/\0", lineno=node.lineno)]


def _text(text: str, line: int) -> nodes.Output:
    return nodes.Output([nodes.TemplateData(text, lineno=line)], lineno=line)


_WORDS = (
    nodes.Output, nodes.TemplateData, nodes.Name, nodes.If, nodes.Include, nodes.Const,
    nodes.Not, nodes.And, nodes.Or, nodes.Compare, nodes.Operand,
)  # fmt: skip


def _refuse_all_but_words(tree: nodes.Template, name: str) -> None:
    """Refuse what would make a text that no sample shows.

    Raises: TemplateSyntaxError.
    """
    line = 1
    for node in tree.find_all(nodes.Node):
        line = node.lineno or line
        right = isinstance(node, _WORDS)
        if isinstance(node, nodes.Output):
            right = all(isinstance(part, nodes.TemplateData | nodes.Name) for part in node.nodes)
        elif isinstance(node, nodes.Include):
            right = isinstance(node.template, nodes.Const) and not node.ignore_missing
        elif isinstance(node, nodes.Operand):
            right = node.op in ("eq", "ne")
        if not right:
            raise TemplateSyntaxError(
                "a template holds text, values such as {{ amount }}, conditions and includes, nothing else",
                line,
                name,
                name,
            )


def _environment(kind: type[E], files: Mapping[str, str]) -> E:
    return kind(
        loader=DictLoader(files),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # A template that is compiled anew would count its branches twice.
        cache_size=-1,
    )

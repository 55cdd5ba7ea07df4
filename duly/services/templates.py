"""The templates that notices are rendered from: read, held against the rules about words, only then used.

A template is plain text with values (`{{ amount }}`), conditions (`{% if late_fee %}`) and parts of other
templates (`{% include "en/_pay.txt" %}`), and nothing else: so every branch can be taken before any borrower
reads it. How one is written stands in docs/words.md.

A notice has the template of its kind. Reminders about several loans in one message are rendered each by
`_reminder.txt`, and set into `reminders.txt`, which says once what holds for all of them. What goes to a
telephone is rendered by `short.txt`, of whatever kind.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property, lru_cache
from importlib.resources import files as resources
from importlib.resources.abc import Traversable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from eth_hash.auto import keccak
from jinja2 import DictLoader, StrictUndefined, TemplateError, TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from duly.domain.errors import InvalidInput
from duly.domain.notice import Kind
from duly.domain.words import PREVIEW, Said, WordRules, check, missing

LOCALES = ("en", "zh")
"""The languages that notices are written in: English, Simplified Chinese."""

Values = Mapping[str, object]

TOGETHER, ONE_OF_THEM = "reminders", "_reminder"
"""The templates of reminders in one message: of what they share, and of each."""

SHORT = "short"
"""The template of what goes to a telephone, one notice at a time."""

_SHARED = ("reference", "lender", "consents", "registry", "chain")
"""What the first of them tells for all. In subject and preview stands its reference alone."""


class Situation(NamedTuple):
    """What a text is made from: its language, and of each notice the kind and the values that its template
    may name. Several are reminders in one message. A short one is for a telephone, of one notice.
    """

    locale: str
    notices: tuple[tuple[Kind, Values], ...]
    short: bool = False

    @property
    def file(self) -> str:
        """The template that it is rendered from."""
        (kind, _), *others = self.notices
        if self.short:
            return f"{self.locale}/{SHORT}.txt"
        return f"{self.locale}/{TOGETHER if others else kind.name.lower()}.txt"


E = TypeVar("E", bound=ImmutableSandboxedEnvironment)

_Operand = tuple[str, object]

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

    def render(self, situation: Situation) -> tuple[str, str]:
        """Subject and body."""
        return _divided(_rendered(self._plain, situation))

    def check(self, rules: WordRules, trials: "Trials") -> None:
        """Render every template in every situation, through every branch, and hold the texts against rules.

        Raises: InvalidTemplates, which names the file, and the line or phrase that is missing or prohibited.
        """
        key = rules.model_dump_json()
        if key in self._checked:
            return
        problems = self.problems(rules, trials)
        if problems:
            more = len(problems) - _SHOWN
            raise InvalidTemplates(
                "\n".join(["these templates cannot be used:", *problems[:_SHOWN]])
                + (f"\n… and {more} more" if more > 0 else ""),
                remedy="Correct the files; docs/words.md tells how templates are written.",
            )
        self._checked.add(key)

    def problems(self, rules: WordRules, trials: "Trials") -> list[str]:
        """What speaks against using the templates, each thing once; empty where nothing does."""
        names = [*(kind.name.lower() for kind in Kind), TOGETHER, ONE_OF_THEM, SHORT]
        wanted = {f"{locale}/{name}.txt" for name in names for locale in LOCALES}
        found = [f"{name}: the file is missing" for name in sorted(wanted - self.files.keys())]
        found += [wrong for file in self.files.items() if (wrong := _parsed(*file).wrong)]
        if found:
            return found
        key = rules.model_dump_json()
        problems: dict[str, None] = {}
        taken: set[Branch] = set()
        subjects: dict[str, str] = {}
        for name in trials.files:
            trial = trials.of(name, self)
            taken |= trial.taken
            problems |= dict.fromkeys(f"{name}: {problem}" for problem in trial.problems(rules, key))
            for _, (said, *_) in trial.texts:
                if said.subject != subjects.setdefault(said.locale, said.subject):
                    different = f"{name}: its subject differs from the others', and so tells what it is about"
                    problems[different] = None
        problems |= dict.fromkeys(
            f"{branch} in no situation, so that what it says cannot be checked"
            for branch in sorted(self.branches() - taken)
        )
        return list(problems)

    def branches(self) -> set[Branch]:
        """Every branch of every template."""
        return {branch for file in self.files.items() for branch in _parsed(*file).branches}

    def marked(self, situation: Situation, show: Callable[[str, str], str]) -> str:
        """The text with each value as `show` writes it, given its name and what it is."""
        text = re.sub("\0b[^\0]*\0", "", _rendered(self._marked, situation))
        return re.sub("\0v([^\0]*)\0([^\0]*)\0/\0", lambda found: show(found[1], found[2]), text)

    def tried(self, situation: Situation) -> tuple[set[Branch], list[Said]]:
        """The branches that a text goes through, and the text as the rules about words see it: the whole; and
        of several notices each by itself, with what they share, since each has to say what its kind requires.
        """
        locale, notices, short = situation
        whole = _rendered(self._marked, situation)
        branches = self._marked.branches_in(whole)
        (kind, values), *others = notices
        told = [said_of(kind, locale, whole, values, short=short)]
        if not others:
            return branches, told
        shared = _frame(situation, "")
        for kind, values in notices:
            part = _part(self._marked, locale, kind, values)
            said = said_of(kind, locale, _framed(self._marked, situation, part), values)
            shown = {name for name in said.shown if shared.get(name) == values.get(name)}
            told.append(replace(said, shown=frozenset(shown | _shown(part).keys())))
        return branches, told

    def sources(self, name: str) -> dict[str, str]:
        """The files that a template is made of, with their contents."""
        found: dict[str, str] = {}
        names = [name]
        while names:
            each = names.pop()
            if each not in found and each in self.files:
                found[each] = self.files[each]
                names += _parsed(each, found[each]).includes
                if each.endswith(f"/{TOGETHER}.txt"):
                    names.append(each.replace(TOGETHER, ONE_OF_THEM))
        return dict(sorted(found.items()))


class Trials:
    """Situations that templates are tried in, and what came of it: files that did not change since are not
    tried again.
    """

    def __init__(self, situations: Iterable[Situation]) -> None:
        self._situations: defaultdict[str, list[Situation]] = defaultdict(list)
        for situation in situations:
            self._situations[situation.file].append(situation)
        self._known: dict[tuple[str, str], Trial] = {}

    @property
    def files(self) -> Iterable[str]:
        """The templates that there are situations for."""
        return self._situations.keys()

    def of(self, name: str, templates: TemplateSet) -> "Trial":
        """What comes of trying a template in all its situations."""
        sources = templates.sources(name)
        key = name, json.dumps(sources)
        if key not in self._known:
            self._known[key] = Trial(templates, self._different(name, sources))
        return self._known[key]

    def _different(self, name: str, sources: Mapping[str, str]) -> Iterator[Situation]:
        """Of all situations that go through the same branches one, since their texts differ in values alone.

        A branch depends on whether values are empty, and on what conditions compare. Of several notices each
        is rendered by itself, and what they share depends on how many they are.
        """
        pairs = sorted({pair for file in sources.items() for pair in _parsed(*file).compared}, key=repr)
        seen: set[object] = set()
        for situation in self._situations[name]:
            ways: set[object] = {len(situation.notices)}
            for kind, values in situation.notices:
                empty = tuple((name, bool(value), value == "") for name, value in values.items())
                equal = tuple(_value(one, values) == _value(other, values) for one, other in pairs)
                ways.add((kind, empty, equal))
            if not ways <= seen:
                seen |= ways
                yield situation


class Trial:
    """What came of trying one template.

    texts: the situations, with the texts as the rules about words see them. taken: the branches that they
    went through. errors: why some could not be rendered.
    """

    def __init__(self, templates: TemplateSet, situations: Iterable[Situation]) -> None:
        self.texts: list[tuple[Situation, list[Said]]] = []
        self.taken: set[Branch] = set()
        self.errors: dict[str, None] = {}
        self._problems: dict[str, list[str]] = {}
        for situation in situations:
            try:
                taken, said = templates.tried(situation)
            except TemplateError as error:
                self.errors[str(error.message)] = None
            else:
                self.taken |= taken
                self.texts.append((situation, said))

    def problems(self, rules: WordRules, key: str) -> Iterable[str]:
        """What speaks against the template. key: tells these rules from others."""
        if key not in self._problems:
            found = self._problems[key] = []
            for _, (whole, *alone) in self.texts:
                found += check(whole, rules)
                found += [line for said in alone for line in missing(said, rules)]
        return [*self.errors, *self._problems[key]]


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


def said_of(kind: Kind, locale: str, marked: str, values: Values, *, short: bool = False) -> Said:
    """A text that was rendered with marks, as the rules about words see it."""
    subject, body = _divided(_MARK.sub("", marked))
    shown = _shown(marked)
    early = len(subject) + 2 + PREVIEW
    return Said(
        kind=kind.name,
        locale=locale,
        subject=subject,
        body=body,
        shown=frozenset(shown),
        shown_early=frozenset(name for name, at in shown.items() if at < early),
        empty=frozenset(name for name, value in values.items() if value in ("", None)),
        short=short,
    )


def _shown(marked: str) -> dict[str, int]:
    """The names of the values in a text that was rendered with marks, and where each stands first."""
    shown: dict[str, int] = {}
    marks = 0
    for mark in _MARK.finditer(marked):
        if mark[1] == "v":
            shown.setdefault(mark[2], mark.start() - marks)
        marks += len(mark[0])
    return shown


def _rendered(environment: ImmutableSandboxedEnvironment, situation: Situation) -> str:
    locale, notices, short = situation
    if len(notices) == 1:
        kind, values = notices[0]
        if short:
            values = {**values, "kind": kind.name.lower()}
        return environment.get_template(situation.file).render(values)
    parts = "\n".join(_part(environment, locale, kind, values) for kind, values in notices)
    return _framed(environment, situation, parts)


def _part(environment: ImmutableSandboxedEnvironment, locale: str, kind: Kind, values: Values) -> str:
    """What is said of one reminder among several."""
    template = environment.get_template(f"{locale}/{ONE_OF_THEM}.txt")
    return template.render({**values, "kind": kind.name.lower()})


def _framed(environment: ImmutableSandboxedEnvironment, situation: Situation, parts: str) -> str:
    return environment.get_template(situation.file).render(_frame(situation, parts))


def _frame(situation: Situation, parts: str) -> Values:
    """What the template of several reminders may name. Each has a notice code of its own, so none has all."""
    first = situation.notices[0][1]
    shared = {name: first[name] for name in _SHARED}
    return shared | {"code": "", "loans": len(situation.notices), TOGETHER: parts}


def _divided(text: str) -> tuple[str, str]:
    subject, _, body = text.partition("\n\n")
    return subject, body.rstrip() + "\n"


# ------------------------------------------------------------------------------------ marks in a template


class _Marked(ImmutableSandboxedEnvironment):
    """Renders what the templates say, with marks that tell the branches taken and the values shown."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.branches: list[Branch] = []
        self.includes: list[str] = []
        self.compared: set[tuple[_Operand, _Operand]] = set()

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        _refuse_all_but_words(tree, name or "")
        self.includes += [each.template.value for each in tree.find_all(nodes.Include)]  # type: ignore[attr-defined]
        for compare in tree.find_all(nodes.Compare):
            operands = [_operand(compare.expr), *(_operand(each.expr) for each in compare.ops)]
            self.compared |= set(pairwise(operands))
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


class _Parsed(NamedTuple):
    """What is known of a file without rendering it; `wrong` tells why it is no template."""

    wrong: str = ""
    branches: tuple[Branch, ...] = ()
    includes: tuple[str, ...] = ()
    compared: tuple[tuple[_Operand, _Operand], ...] = ()


@lru_cache(maxsize=1024)
def _parsed(name: str, text: str) -> _Parsed:
    environment = _environment(_Marked, {})
    try:
        environment.parse(text, name, name)
    except TemplateSyntaxError as error:
        return _Parsed(f"{name}, line {error.lineno}: {error.message}")
    if "\0" in text:
        return _Parsed(f"{name}: characters that no text needs")
    return _Parsed("", tuple(environment.branches), tuple(environment.includes), tuple(environment.compared))


def _operand(node: nodes.Node) -> _Operand:
    """A side of a comparison; others than names and constants are refused."""
    if isinstance(node, nodes.Name):
        return "name", node.name
    return "constant", getattr(node, "value", None)


def _value(operand: _Operand, values: Values) -> object:
    what, which = operand
    return values.get(str(which)) if what == "name" else which


def _with_marks(node: nodes.Expr) -> list[nodes.Expr]:
    # What was rendered from another template bears its own marks.
    if not isinstance(node, nodes.Name) or node.name == TOGETHER:
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
        elif isinstance(node, nodes.Compare):
            right = isinstance(node.expr, nodes.Name | nodes.Const)
        elif isinstance(node, nodes.Operand):
            right = node.op in ("eq", "ne") and isinstance(node.expr, nodes.Name | nodes.Const)
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

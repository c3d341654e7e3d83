"""deploy/Dockerfile read as data: its stages, what they copy, who they run as. Enough to lay out an image's code here."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Stage:
    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        return [rest for name, rest in self.steps if name == instruction]


def stages(text: str) -> dict[str, Stage]:
    """Every stage has a name here; a step that goes on over several lines is one step."""
    found: dict[str, Stage] = {}
    current: Stage | None = None
    for line in text.replace("\\\n", " ").splitlines():
        name, _, rest = line.strip().partition(" ")
        if name == "FROM":
            base, _, title = rest.partition(" AS ")
            current = found.setdefault(title, Stage(base))
        elif current is not None and name and not name.startswith("#"):
            current.steps.append((name, rest.strip()))
    return found


def line(target: str, table: dict[str, Stage]) -> list[Stage]:
    """The stage and those it is built on, from the first."""
    stage = table[target]
    return [*(line(stage.base, table) if stage.base in table else []), stage]


def user(target: str, table: dict[str, Stage]) -> str | None:
    said = [who for stage in line(target, table) for who in stage.all("USER")]
    return said[-1] if said else None


def copied(target: str, table: dict[str, Stage], arguments: dict[str, str]) -> set[str]:
    """What of the repository is in an image's /app, by path."""
    found: set[str] = set()
    for stage in line(target, table):
        for rest in stage.all("COPY"):
            words = rest.split()
            if words[0].startswith("--from="):
                origin = words[0].removeprefix("--from=")
                found |= copied(origin, table, arguments) if words[-1] == "/app" else set()
            else:
                found |= {_filled(word, arguments) for word in words[:-1]}
    return found


def _filled(word: str, arguments: dict[str, str]) -> str:
    for name, value in arguments.items():
        word = word.replace(f"${{{name}}}", value)
    return word


def lay_out(paths: set[str], repository: Path, target: Path) -> None:
    """The code of an image below ``target``, without what .dockerignore keeps from the builder.

    Bytecode comes along: it counts only beside the source it was made of, and spares compiling everything once an image.
    """
    for path in paths:
        source = repository / path
        place = target / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, place, ignore=shutil.ignore_patterns("tests", "*.egg-info", ".env*", "*.pem"))
        else:
            shutil.copy(source, place)


def kept_out(path: str, patterns: list[str]) -> bool:
    """Whether .dockerignore keeps a path of the repository from the builder: everything but what it lets in by name."""
    let_in = [pattern.removeprefix("!") for pattern in patterns if pattern.startswith("!")]
    anywhere = [pattern.removeprefix("**/") for pattern in patterns if pattern.startswith("**/")]
    named = any(path == allowed or path.startswith(allowed + "/") for allowed in let_in)
    return not named or any(Path(part).match(pattern) for part in path.split("/") for pattern in anywhere)

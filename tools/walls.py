"""A contract type for import-linter: modules that may import only what is listed.

Import-linter's own contracts name what is forbidden; a leaf is easier to say, and to keep, by what is allowed.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

from importlinter import Contract, ContractCheck, fields, output
from importlinter.domain.helpers import module_expressions_to_modules

if TYPE_CHECKING:
    from collections.abc import Iterable

    from grimp import ImportGraph
    from importlinter.domain.imports import ModuleExpression


class OnlyContract(Contract):
    """``source_modules`` and everything below them import ``allowed_modules`` (and below) directly, nothing else."""

    type_name = "only"

    source_modules = fields.SetField(subfield=fields.ModuleExpressionField())
    allowed_modules = fields.SetField(subfield=fields.StringField())
    allow_standard_library = fields.BooleanField(required=False, default=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: ARG002 - the base class calls it so
        sources = module_expressions_to_modules(graph, cast("Iterable[ModuleExpression]", self.source_modules))
        allowed = {str(name) for name in cast("set[str]", self.allowed_modules)}
        if self.allow_standard_library:
            allowed |= sys.stdlib_module_names
        illegal = []
        for source in sources:
            for importer in sorted({source.name, *graph.find_descendants(source.name)}):
                imported = graph.find_modules_directly_imported_by(importer)
                illegal += [(importer, name) for name in sorted(imported) if not _within(name, allowed)]
        return ContractCheck(kept=not illegal, metadata={"illegal": illegal})

    def render_broken_contract(self, check: Any) -> None:
        for importer, imported in check.metadata["illegal"]:
            output.print_error(f"{importer} may not import {imported}")


def _within(name: str, allowed: set[str]) -> bool:
    parts = name.split(".")
    return any(".".join(parts[:length]) in allowed for length in range(1, len(parts) + 1))

"""Kubernetes' own schemas, one set a version, and ours for the kinds of operators. Must not know where objects come from.

The package kubernetes-validate brings the schemas; its own function reads them anew for every object, which takes a hundred
times as long, so that only its files and its name rule are used.
"""

import json
import re
from functools import lru_cache
from pathlib import Path

import kubernetes_validate
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from referencing import Registry, Resource

SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"


class Schemas:
    """`operators` is the folder of schemas for kinds that Kubernetes does not have itself."""

    def __init__(self, operators):
        self.operators = operators

    def violations(self, document, kubernetes):
        """What is wrong with an object in this version; a kind without a schema is wrong too."""
        validator = self._validator(document.get("apiVersion", ""), document.get("kind", ""), kubernetes)
        name = f"{document.get('kind')}/{document.get('metadata', {}).get('name')}"
        if validator is None:
            return [f"{name}: no schema for {document.get('apiVersion')} {document.get('kind')} in {kubernetes}"]
        errors = list(validator.iter_errors(document))
        return [f"{name} in {kubernetes}: {'.'.join(map(str, e.absolute_path))}: {e.message[:200]}" for e in best(errors)]

    @lru_cache(maxsize=None)
    def _validator(self, api_version, kind, kubernetes):
        ours = self.operators / f"{kind.lower()}.json"
        if "." in api_version.partition("/")[0] and ours.exists():
            schema = json.loads(ours.read_text())
            accepted = schema["properties"]["apiVersion"]["const"] == api_version
            return Draft202012Validator(schema) if accepted else None
        folder = SCHEMAS / f"v{kubernetes}.0-local-strict"
        # rbac.authorization.k8s.io/v1 is rbac-v1, v1 is v1.
        group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
        path = folder / f"{kind.lower()}-{group}.json"
        if not path.exists():
            return None
        return Draft202012Validator(json.loads(path.read_text()), registry=definitions(folder))


def best(errors):
    match = best_match(errors)
    return [match] if match else []


@lru_cache(maxsize=None)
def definitions(folder):
    """The definitions that a version's schemas refer to."""
    contents = json.loads((folder / "_definitions.json").read_text())
    return Resource.from_contents(contents) @ Registry()

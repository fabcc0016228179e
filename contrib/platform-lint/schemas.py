"""Validates the objects in YAML files against Kubernetes' schemas, strictly: an unknown field is an error.

Kinds of others (routes, monitors) have none here; the e2e tests apply those to their real CRDs.
"""

import sys

import kubernetes_validate
import yaml

VERSIONS = ["1.33", "1.35"]


def main(files):
    wrong, valid, unknown = [], 0, set()
    for file in files:
        with open(file, encoding="utf-8") as text:
            objects = [found for found in yaml.safe_load_all(text) if found]
        for found in objects:
            for version in VERSIONS:
                name = f"{file}: {found['kind']} {found['metadata']['name']} ({version})"
                try:
                    kubernetes_validate.validate(found, version, strict=True)
                    valid += 1
                except kubernetes_validate.ValidationError as error:
                    wrong.append(f"{name}: {'.'.join(str(part) for part in error.path)}: {error.message}")
                except kubernetes_validate.SchemaNotFoundError:
                    unknown.add(found["kind"])
    print(f"{valid} valid; without a schema: {', '.join(sorted(unknown)) or 'none'}")
    print("\n".join(wrong), end="\n" if wrong else "")
    return 1 if wrong or not valid else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

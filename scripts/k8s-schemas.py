#!/usr/bin/env python3
"""k8s-schemas.py WHEEL FOLDER VERSION...: takes the strict schemas of these Kubernetes versions out of the package kubernetes-validate,
with references that work in a folder of files."""
import json
import pathlib
import sys
import zipfile


def main():
    wheel, folder, versions = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:]
    with zipfile.ZipFile(wheel) as archive:
        for version in versions:
            prefix = f"kubernetes_validate/kubernetes-json-schema/v{version}-local-strict/"
            names = [name for name in archive.namelist() if name.startswith(prefix) and name.endswith(".json")]
            if not names:
                sys.exit(f"{wheel} has no schemas of Kubernetes {version}")
            to = folder / f"v{version}-strict"
            to.mkdir(parents=True)
            for name in names:
                (to / name[len(prefix):]).write_text(local(archive.read(name).decode()))


def local(text):
    """The package resolves references through a server's address, which is not there."""
    schema = json.loads(text.replace('"/api/_definitions.json#', '"_definitions.json#'))
    schema.pop("$id", None)
    return json.dumps(schema)


if __name__ == "__main__":
    main()

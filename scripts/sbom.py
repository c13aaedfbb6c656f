#!/usr/bin/env python3
"""The bill of materials of the program, as CycloneDX 1.6: every crate that is built into it, and the C libraries that some of them bring.

  scripts/sbom.py [--features LIST] [--target TRIPLE] [--out FILE]   write it (standard output without --out)
  scripts/sbom.py --check FILE                                       judge one: what a scanner needs is there, and refers to what is there

It comes from Cargo.lock by `cargo metadata`; crates for tests, and for other platforms, are not in it. The same lock file gives the same
bytes. Nothing needs installing.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tomllib
import uuid
from pathlib import Path

# C libraries that a crate builds from its own copy; the crate's version says theirs, behind the plus sign.
NATIVE = {
    "rdkafka-sys": ("librdkafka", "BSD-2-Clause", "pkg:github/confluentinc/librdkafka@v{}"),
    "openssl-src": ("openssl", "Apache-2.0", "pkg:github/openssl/openssl@openssl-{}"),
    "zstd-sys": ("zstd", "BSD-3-Clause", "pkg:github/facebook/zstd@v{}"),
}
ROOT = Path(__file__).resolve().parent.parent


def metadata(features, target):
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    if features:
        command += ["--features", features]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


def built_in(graph):
    """The packages that the program is built from, with what each needs: {id: [id]}. Needs of tests are left out."""
    nodes = {node["id"]: node for node in graph["nodes"]}
    found, waiting = {}, [graph["root"]]
    while waiting:
        package = waiting.pop()
        if package in found:
            continue
        needs = [dep["pkg"] for dep in nodes[package]["deps"] if any(kind["kind"] != "dev" for kind in dep["dep_kinds"])]
        found[package] = sorted(set(needs))
        waiting += needs
    return found


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version'].replace('+', '%2B')}"


def component(package, checksums):
    licence = package["license"]
    made = {
        "type": "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "purl": purl(package),
        # An old way to write "or".
        "licenses": [{"expression": re.sub(r"\s*/\s*", " OR ", licence)}] if licence else [],
    }
    if checksum := checksums.get((package["name"], package["version"])):
        made["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["repository"]:
        made["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    if package["name"] in NATIVE and "+" in package["version"]:
        name, licence, location = NATIVE[package["name"]]
        version = re.sub(r"^\D+", "", package["version"].split("+", 1)[1])
        location = location.format(version)
        made["components"] = [
            {"type": "library", "bom-ref": location, "name": name, "version": version, "purl": location, "licenses": [{"expression": licence}]}
        ]
    return made


def bill(features, target):
    lock = (ROOT / "Cargo.lock").read_bytes()
    checksums = {(p["name"], p["version"]): p.get("checksum") for p in tomllib.loads(lock.decode())["package"]}
    found = metadata(features, target)
    packages = {package["id"]: package for package in found["packages"]}
    needs = built_in(found["resolve"])
    root = found["resolve"]["root"]
    refs = {package: purl(packages[package]) for package in needs}
    program = component(packages[root], checksums) | {"type": "application"}
    components = sorted((component(packages[p], checksums) for p in needs if p != root), key=lambda made: made["bom-ref"])
    made_from = hashlib.sha256(lock + f"{features} {target}".encode()).hexdigest()
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, made_from)}",
        "version": 1,
        "metadata": {
            "component": program,
            "properties": [{"name": "dualstream:features", "value": features}, {"name": "dualstream:target", "value": target}],
        },
        "components": components,
        "dependencies": sorted(({"ref": refs[p], "dependsOn": sorted(refs[n] for n in needs[p])} for p in needs), key=lambda d: d["ref"]),
    }


def problems(given):
    """What is wrong with a bill, each as a sentence."""
    wanted = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1}
    yield from (f"{key} is {given.get(key)!r}, not {value!r}" for key, value in wanted.items() if given.get(key) != value)
    if not re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", given.get("serialNumber", "")):
        yield "serialNumber is no URN of a UUID"
    program = given.get("metadata", {}).get("component", {})
    if program.get("type") != "application" or program.get("name") != "dualstream":
        yield "metadata.component is not the program"
    listed = given.get("components", [])
    if len(listed) < 50:
        yield f"only {len(listed)} components"
    refs = set()
    for made in [program, *listed, *(inner for outer in listed for inner in outer.get("components", []))]:
        name = f"{made.get('name')} {made.get('version')}"
        if not all(made.get(field) for field in ("type", "name", "version", "bom-ref", "purl")):
            yield f"{name}: a field is missing"
        if not any(licence.get("expression") for licence in made.get("licenses", [])):
            yield f"{name}: no licence"
        if made.get("purl", "").startswith("pkg:cargo/") and made is not program and not made.get("hashes"):
            yield f"{name}: no hash"
        if made.get("bom-ref") in refs:
            yield f"{name}: there are two"
        refs.add(made.get("bom-ref"))
    for native, _, _ in NATIVE.values():
        if native != "openssl" and not any(inner["name"] == native for outer in listed for inner in outer.get("components", [])):
            yield f"{native} is not in it"
    for edge in given.get("dependencies", []):
        for ref in [edge.get("ref"), *edge.get("dependsOn", [])]:
            if ref not in refs:
                yield f"dependencies name {ref}, which is not in it"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--features", default="", help="as for cargo build")
    parser.add_argument("--target", default="x86_64-unknown-linux-gnu", help="the platform (%(default)s)")
    parser.add_argument("--out", type=Path, help="write into this file")
    parser.add_argument("--check", type=Path, help="judge this file instead")
    args = parser.parse_args()
    given = json.loads(args.check.read_text()) if args.check else bill(args.features, args.target)
    if found := list(problems(given)):
        sys.exit("\n".join(f"sbom: {problem}" for problem in found))
    if args.check:
        print(f"{args.check}: {len(given['components'])} components")
        return
    text = json.dumps(given, indent=1, ensure_ascii=False) + "\n"
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()

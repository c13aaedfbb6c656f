#!/usr/bin/env python3
"""mutants.py [--write-docs] [--list] [NAME...]: takes each thing in tests/mutants/*.toml out of a copy of the tree, and runs the proof that must fail.

A mutant whose text is not there exactly once, or that does not compile, is an error and no kill; so is a proof that fails without it.
Python's standard library only. The copy and its build are in target/mutants; the first run builds everything once.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "target" / "mutants"
TREE = WORK / "tree"
BUILD = WORK / "build"
TABLES = ROOT / "tests" / "mutants"
DOCS = ROOT / "docs" / "mutants.md"
SECONDS = 900


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="only mutants whose name or proof holds one of these")
    parser.add_argument("--write-docs", action="store_true", help="write docs/mutants.md; only after a full run")
    parser.add_argument("--list", action="store_true", help="print the list and check each text")
    args = parser.parse_args()
    mutants = [m for table in sorted(TABLES.glob("*.toml")) for m in tomllib.loads(table.read_text())["mutant"]]
    if args.names:
        mutants = [m for m in mutants if any(name in m["name"] or name in m["proof"] for name in args.names)]
    for mutant in mutants:
        check(mutant)
    if args.list or not mutants:
        for mutant in mutants:
            print(f"{mutant['name']:<64} {mutant['proof']}")
        return 0 if mutants else fail("no mutant of that name")
    copy_tree()
    seed_build()
    results = run_all(mutants)
    if args.write_docs:
        write_docs(results)
    bad = [name for name, (_, outcome, _) in results.items() if not outcome.startswith("killed")]
    print(f"\n{len(results)} mutants, {len(results) - len(bad)} killed" + (f"; NOT: {', '.join(bad)}" if bad else ""))
    return 1 if bad else 0


def fail(message):
    print(f"mutants: {message}", file=sys.stderr)
    return 1


def edits(mutant):
    return [(mutant["find"], mutant["replace"])] + [tuple(edit) for edit in mutant.get("more", [])]


def check(mutant):
    text = (ROOT / mutant["file"]).read_text()
    for find, _ in edits(mutant):
        count = text.count(find)
        if count != 1:
            sys.exit(f"mutants: {mutant['name']}: its text stands {count} times in {mutant['file']}, not once")


def copy_tree():
    """Files that did not change keep their times, so that cargo builds only what did."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    names = {name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()}
    for name in names:
        source, target = ROOT / name, TREE / name
        if not target.is_file() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            shutil.copymode(source, target)
    for path in list(TREE.rglob("*")):
        if path.is_file() and str(path.relative_to(TREE)) not in names:
            path.unlink()
    # The integration tests start Kafka from here.
    cache = TREE / ".cache"
    if not cache.exists() and (ROOT / ".cache").exists():
        cache.symlink_to(ROOT / ".cache")


def seed_build():
    """The dependencies as they were built already, if they were."""
    built = ROOT / "target" / "debug"
    if BUILD.exists() or not built.exists():
        return
    ours = ("dualstream", "libdualstream", "it-", "handover-", "prove-", "sim-", "incremental")
    ignore = lambda folder, names: [name for name in names if name.startswith(ours)]
    for part in (".fingerprint", "build", "deps"):
        if (built / part).exists():
            shutil.copytree(built / part, BUILD / "debug" / part, ignore=ignore, symlinks=True)


def cargo(proof, *, build_only):
    """`cargo test` with the arguments of a proof; its exit code, None when it hangs, and what it said."""
    arguments, _, harness = proof.partition(" -- ")
    words = arguments.split()
    test = ["nice", "cargo", "test", "--locked", "--features", os.environ.get("FEATURES", "kafka-tls"), "--quiet"]
    command = [*test, *words]
    if build_only:
        # The filter is for the tests; what is built is named before it.
        command = [*test, "--no-run", *words[: 1 if words[0] == "--lib" else 2]]
    elif harness:
        command += ["--", *harness.split()]
    # Built quickly rather than well: whether a proof fails does not depend on it.
    fast = {"CARGO_PROFILE_DEV_OPT_LEVEL": "0", "CARGO_PROFILE_DEV_DEBUG": "0"}
    env = dict(os.environ, CARGO_TARGET_DIR=str(BUILD), **fast)
    if "--test sim" not in proof:
        # The simulation takes it for the only seed to run, and has its own, always the same.
        env["DUALSTREAM_SEED"] = "1"
    process = subprocess.Popen(command, cwd=TREE, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True)
    try:
        said, _ = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        return None, said
    return process.returncode, said


def run_all(mutants):
    results, healthy = {}, {}
    print(f"{'mutant':<64} {'outcome':<18} {'seconds':>7}  proof")
    for mutant in mutants:
        proof = mutant["proof"]
        if proof not in healthy:
            code, said = cargo(proof, build_only=False)
            healthy[proof] = code == 0 and ran_something(said, proof)
            if not healthy[proof]:
                print(f"--- {proof} fails, or runs no test, without a mutant:\n{tail(said)}")
        started = time.monotonic()
        outcome = judge(mutant) if healthy[proof] else "ERROR: the proof fails"
        seconds = time.monotonic() - started
        results[mutant["name"]] = (mutant, outcome, seconds)
        print(f"{mutant['name']:<64} {outcome:<18} {seconds:>7.0f}  {proof}", flush=True)
    return results


def ran_something(said, proof):
    """A filter that matches nothing proves nothing."""
    return "running 0 tests" not in said or any(f"running {n}" in said for n in range(1, 10)) or "--test" in proof and "--test it" not in proof


def judge(mutant):
    path = TREE / mutant["file"]
    original = path.read_text()
    text = original
    for find, replace in edits(mutant):
        text = text.replace(find, replace)
    path.write_text(text)
    try:
        code, said = cargo(mutant["proof"], build_only=True)
        if code != 0:
            print(tail(said))
            return "ERROR: no build"
        code, said = cargo(mutant["proof"], build_only=False)
        if code is None:
            return "killed (it hangs)"
        return "killed" if code != 0 else "SURVIVED"
    finally:
        path.write_text(original)


def tail(said):
    return "\n".join(said.splitlines()[-30:])


def write_docs(results):
    rows = [f"| {m['name']} | {m['why']} | `{m['proof']}` | {outcome} |" for m, outcome, _ in results.values()]
    killed = sum(outcome.startswith("killed") for _, outcome, _ in results.values())
    DOCS.write_text(
        "# Mutants of the buffer and the drain\n\n"
        "Each line was taken out of, or broken in, the code, and the proof named had to fail: what a check cannot notice, it does not prove.\n"
        "The list is `tests/mutants/*.toml`; `make mutants` runs it, and writes this page with `ARGS=--write-docs`. `make test` checks that each\n"
        "mutant still applies.\n\n"
        f"{killed} of {len(results)} were noticed.\n\n"
        "| taken out or broken | what a user would lose | proof: `cargo test …` | outcome |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
    )


if __name__ == "__main__":
    sys.exit(main())

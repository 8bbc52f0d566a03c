#!/usr/bin/env python3
"""Recompute the id of each manifest that is given, and compare it with the file's name."""
import hashlib, json, pathlib, sys

wrong = 0
for path in map(pathlib.Path, sys.argv[1:]):
    value = json.loads(path.read_bytes())
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    found = hashlib.sha256(text.encode()).hexdigest()
    wrong += found != path.stem
    print(found, "ok" if found == path.stem else f"is called {path.stem}")
sys.exit(wrong > 0)

"""Makes the quick-start collection, in MS MARCO's file layout, from the help text of azure-cli.

    python3 lib/scripts/quickstart.py .deps/azure-cli out/quickstart/data [--tune]

A passage is a command with its description; a query is the title that somebody gave to an example,
and the command it is an example of is its relevant passage. The files of azure-cli are read as text,
never imported. A hash of the query decides its split, so the splits never share a query. With
--tune, "dev" is a part of train instead: for choosing settings without looking at dev.
"""

import ast
import hashlib
import re
import sys
from pathlib import Path

# Of 100 buckets: dev, test, and (with --tune) the part of train that stands in for dev.
DEV, TEST, TUNE = range(0, 12), range(12, 20), range(20, 32)

# Added by a program to titles that it wrote; no searcher would type it.
MARK = re.compile(r"\s*\(?auto-?generated\)?\s*$", re.I)
# A class that is a command, with its docstring.
COMMAND_CLASS = re.compile(r'@register_command\(\s*"([^"]+)".*?^class \w+\(.*?\):\n\s+"""(.*?)"""', re.M | re.S)


def helps(text):
    """`(command, YAML)` for each helps['…'] = '…' of a module."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
            target, value = node.targets[0], node.value
            if getattr(target.value, "id", None) == "helps" and isinstance(target.slice, ast.Constant):
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield target.slice.value, value.value


def plain(text):
    """A YAML or docstring value as one line of text."""
    text = re.sub(r"^\s*[>|][+-]?\s", "", text.strip() + " ")
    text = re.sub(r"\s+", " ", text).strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def from_yaml(text):
    """`(description, example titles)` of a command's YAML; none for a group."""
    sections = dict(re.findall(r"^([a-z-]+):(.*(?:\n(?:[ \t]+.*|[ \t]*-.*|)$)*)", text, re.M))
    if plain(sections.get("type", "")) != "command":
        return None
    description = " ".join(plain(sections.get(name, "")) for name in ("short-summary", "long-summary"))
    titles = re.findall(r"^\s*-\s*name:(.*(?:\n(?!\s*(?:-\s|text:|crafted:|min_profile:|max_profile:|supported-profiles:|unsupported-profiles:)).*)*)", sections.get("examples", ""), re.M)
    return plain(description), [plain(title) for title in titles]


def from_docstring(text):
    """`(description, example titles)` of a command class's docstring."""
    description = re.split(r"^\s*:", text, maxsplit=1, flags=re.M)[0]
    return plain(description), [plain(title) for title in re.findall(r"^\s*:example:(.*)", text, re.M)]


def commands(folder):
    """Command name → `(description, example titles)`, in the order of the names."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8", errors="replace")
        # "latest" is the profile that a plain installation uses; the others repeat it.
        if "/aaz/" in path.as_posix() and "/aaz/latest/" not in path.as_posix():
            continue
        for name, docstring in COMMAND_CLASS.findall(text):
            found.setdefault(name, from_docstring(docstring))
        if "helps[" in text:
            # The YAML of a command wins over its class: it is what users see.
            found.update((name, entry) for name, entry in ((n, from_yaml(y)) for n, y in helps(text)) if entry)
    found = {name: entry for name, entry in found.items() if entry[0]}
    return dict(sorted(found.items()))


def bucket(query):
    return int(hashlib.sha256(query.encode()).hexdigest(), 16) % 100


def write(path, rows):
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines("\t".join(map(str, row)) + "\n" for row in rows)


def main():
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    tune = "--tune" in sys.argv[3:]
    passages, relevant = [], {}
    for name, (description, titles) in commands(source).items():
        for title in titles:
            query = MARK.sub("", title).strip(" .`")
            # A title that says no more than the command or its description would be a lookup, not a search.
            if len(query.split()) >= 3 and query.lower() not in (name.lower(), description.lower().strip(" .")):
                relevant.setdefault(query, []).append(len(passages))
        passages.append(f"{name}: {description}")

    splits = {"train": [], "dev": [], "test": []}
    for number, query in enumerate(sorted(relevant)):
        b = bucket(query)
        split = "dev" if b in (TUNE if tune else DEV) else "test" if b in TEST else "train"
        if not (tune and b in DEV):
            splits[split].append((number, query))

    target.mkdir(parents=True, exist_ok=True)
    names = {
        "train": ("queries.train.tsv", "qrels.train.tsv"),
        "dev": ("queries.dev.small.tsv", "qrels.dev.small.tsv"),
        "test": ("msmarco-test2019-queries.tsv", "2019qrels-pass.txt"),
    }
    for split, (queries, qrels) in names.items():
        write(target / queries, splits[split])
        rows = [(number, 0, doc, 1) for number, query in splits[split] for doc in sorted(set(relevant[query]))]
        if qrels.endswith(".txt"):
            rows = [(" ".join(map(str, row)),) for row in rows]
        write(target / qrels, rows)
    # Last: make takes it as the sign that all are there.
    write(target / "collection.tsv.tmp", enumerate(passages))
    (target / "collection.tsv.tmp").replace(target / "collection.tsv")
    sizes = ", ".join(f"{len(queries)} {split} queries" for split, queries in splits.items())
    print(f"quickstart: {len(passages)} passages, {sizes}", file=sys.stderr)


if __name__ == "__main__":
    main()

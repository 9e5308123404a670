"""Makes the texts of the bench from Debian's packages, and from question sets if there are any:
`python texts.py <unpacked packages> <question sets> <folder>`.

Sentences are for encoders, passages for decoders. Documents that texts are held out from give none for
the calibration or for trials.
"""

import hashlib
import html
import json
import re
import sys
from pathlib import Path

LEAST_PARAGRAPH = 120
LEAST_DOCUMENT = 1500
PASSAGE = 1600
FORTUNES = 12
COUNTS = {
    "sentences": {"calibration": 512, "trials": 192, "held-out": 100},
    "passages": {"calibration": 256, "trials": 64, "held-out": 24},
}


def digest(text):
    return hashlib.sha256(text.encode()).digest()


def spaced(text):
    return re.sub(r"\s+", " ", text).strip()


def paragraphs(page):
    text = re.sub(r"(?s)<(script|style|pre).*?</\1>", " ", page.read_text("utf-8", "ignore"))
    found = re.findall(r"(?s)<p[^>]*>(.*?)</p>", text) or [text]
    plain = [spaced(html.unescape(re.sub(r"<[^>]+>", " ", each))) for each in found]
    return [each for each in plain if len(each) > LEAST_PARAGRAPH]


def documents(packages):
    """Yields the name and the paragraphs of every document."""
    share = packages / "usr/share"
    pages = [*share.glob("doc/anarchism/**/*.html"), *share.glob("doc/debian-handbook/html/en-US/*.html")]
    for page in sorted(pages):
        yield str(page.relative_to(share)), paragraphs(page)
    for file in sorted((share / "games/fortunes").iterdir()):
        if file.suffix or "art" in file.name or not file.is_file() or file.is_symlink():
            continue
        sayings = [spaced(each) for each in file.read_text("utf-8", "ignore").split("\n%\n")]
        long = [each for each in sayings if len(each) > LEAST_PARAGRAPH]
        for begin in range(0, len(long), FORTUNES):
            yield f"{file.name} {begin}", long[begin : begin + FORTUNES]


def sentences(paragraphs):
    parts = [part for each in paragraphs for part in re.split(r"(?<=[.!?])\s+", each)]
    return [part for part in parts if 40 < len(part) < 400]


def passages(paragraphs):
    """Parts of whole paragraphs, long enough to be cut to any length that is run."""
    part = []
    for each in paragraphs:
        part.append(each)
        if sum(map(len, part)) >= PASSAGE:
            yield "\n".join(part)
            part = []


def claims(sets):
    """Texts of another kind than those of the calibration."""
    path = sets / "fever_paper_dev.jsonl"
    if not path.exists():
        return []
    lines = [line for line in path.read_text("utf-8").split("\n") if line]
    return [json.loads(line)["claim"] for line in lines]


def drawn(texts, count):
    """Texts drawn by their digests, so that the order of files does not matter."""
    return sorted(set(texts), key=digest)[:count]


def write(path, texts):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")


def main(packages, sets, folder):
    folder.mkdir(parents=True, exist_ok=True)
    kept, held = [], []
    for name, parts in documents(packages):
        if sum(map(len, parts)) > LEAST_DOCUMENT:
            (held if digest(name)[0] % 5 == 0 else kept).append(parts)
    for kind, split in {"sentences": sentences, "passages": passages}.items():
        counts = COUNTS[kind]
        away = {text for parts in held for text in split(parts)}
        used = drawn([t for p in kept for t in split(p) if t not in away], counts["calibration"] + counts["trials"])
        tests = drawn(away, counts["held-out"])
        if kind == "sentences":
            tests += drawn(claims(sets), counts["held-out"])
        write(folder / f"{kind}-calibration.jsonl", used[: counts["calibration"]])
        write(folder / f"{kind}-trials.jsonl", used[counts["calibration"] :])
        write(folder / f"{kind}-held-out.jsonl", tests)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

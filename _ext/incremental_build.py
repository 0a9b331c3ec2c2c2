"""A second build reads only what has changed, and is as good as a first one.

Sphinx alone would pass over three things: pages that gave warnings before, pages
whose numbers come from another page that has changed, and the code in ``_ext``. Here

* what was read is kept only after a build without a warning or an error;
* as soon as one page has changed, all are written anew, which resolves their numbers
  and links again;
* a change in anything that all pages depend on reads all pages again;
* pages that are no longer part of the book are removed from it.
"""

import hashlib
from pathlib import Path

ROOT = Path(__file__).parent.parent
SHARED = [
    "_ext/*.py",
    "_toc.yml",
    "_config.yml",
    "_static/*",
    "_templates/**/*",
    "_vendor/**/*",
    "requirements-book.lock",
    "course_book/explorers/*",
]
MADE_BY_SPHINX = {"genindex", "search"}


def fingerprint() -> str:
    found = sorted(path for pattern in SHARED for path in ROOT.glob(pattern))
    total = hashlib.sha256()
    for path in found:
        if path.is_file():
            total.update(path.relative_to(ROOT).as_posix().encode())
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def mark(app):
    return Path(app.doctreedir) / "no-warnings"


def forget_a_bad_build(app, config):
    """Runs before Sphinx loads what the last build read."""
    if not mark(app).exists():
        (Path(app.doctreedir) / "environment.pickle").unlink(missing_ok=True)
    # Gone until this build has ended well, however it may end.
    mark(app).unlink(missing_ok=True)


def look_for_removed_pages(app, env, added, changed, removed):
    app.book_has_changed = bool(removed)
    return []


def look_for_changed_pages(app, env, docnames):
    app.book_has_changed |= bool(docnames)


def write_all_or_nothing(app, env):
    return env.found_docs if app.book_has_changed else []


def finish(app, exception):
    if exception or app._warncount:
        return
    mark(app).parent.mkdir(parents=True, exist_ok=True)
    mark(app).touch()
    if app.builder.name != "html":
        return
    pages = app.env.found_docs | MADE_BY_SPHINX
    for path in Path(app.outdir).rglob("*.html"):
        name = path.relative_to(app.outdir)
        if name.parts[0] != "_static" and name.with_suffix("").as_posix() not in pages:
            path.unlink()


def setup(app):
    app.add_config_value("book_fingerprint", fingerprint(), "env", [str])
    app.connect("config-inited", forget_a_bad_build)
    app.connect("env-get-outdated", look_for_removed_pages)
    app.connect("env-before-read-docs", look_for_changed_pages)
    app.connect("env-updated", write_all_or_nothing)
    app.connect("build-finished", finish, priority=999)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""What is no data: files and folders that people, programs and systems leave behind."""

import os
import re
from pathlib import Path

__all__ = ["is_clutter"]

# Names of their own that systems, network drives and programs use.
_NAMES = re.compile(
    r"""
    \.  .*                                       # hidden: .git, .DS_Store, ._x.jpg
    | __macosx | __pycache__ | icon\r | network\ trash\ folder | temporary\ items
    | \$recycle\.bin | \$sysreset | \$winreagent | \$windows\.~\w+
    | system\ volume\ information | lost\+found | lost\.dir | found\.\d{3}
    | desktop\.ini | (eh)?thumbs(_vista)?\.db(:encryptable)?
    | @(__thumb|eadir|recently-snapshot|recycle|sharebin|tmp)  # QNAP, Synology
    | .* @syno(eastream|resource) | \#(recycle|sharebin|snapshot)
    | picasa\.ini | sync\.ffs_db | zbthumbnail\.info | _vti_cnf
    | .* :zone\.identifier                        # of a download on Windows
    | ~ (\$|syncthing~) .* | .* ~ | \# .* \#     # locks and backups of editors
    | .* \. (tmp|temp|part|partial|filepart|crdownload|download|opdownload|aria2
             |!ut|bak|sw[op]|lock|lnk|url|webloc)
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)


def is_clutter(path: str | os.PathLike[str]) -> bool:
    """Whether the last part of a path is hidden, temporary or a system's own.

    Every reader passes over such files and folders without a word.
    """
    return _NAMES.fullmatch(Path(path).name) is not None

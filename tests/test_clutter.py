"""What is never taken for data."""

from pathlib import Path

import pytest

from course_lib.data.folders import is_clutter

CLUTTER = (
    """
.ipynb_checkpoints|__MACOSX|@eaDir|.DS_Store|Thumbs.db|ehthumbs_vista.db|desktop.ini
._x.jpg|~$x.docx|x.tmp|photo.jpg.part|photo.jpg.crdownload|$RECYCLE.BIN|lost+found
System Volume Information|.git|.dropbox.cache|.Trash-1000|@Recycle|.@__thumb|#recycle
@tmp|#snapshot|.stversions|~syncthing~a.jpg.tmp|a.jpg@SynoEAStream|a.jpg~|#a.jpg#
.picasaoriginals|found.000|LOST.DIR|.a.jpg.swp|__pycache__|Network Trash Folder
a.jpg.lnk|a.jpg:Zone.Identifier|Picasa.ini|ZbThumbnail.info
""".replace("\n", "|")
    .strip("|")
    .split("|")
)
DATA = (
    """
a.jpg|crack|#1.jpg|$5.jpg|@home|~1.jpg|tmp|temp.jpg|part|a (1).jpg|_dark|__init|a.b.jpg
recycled|recycled paper|thumbs|icon.png|downloads|x.bake|lock|Trash|Straße|裂缝|-a.jpg
""".replace("\n", "|")
    .strip("|")
    .split("|")
)


@pytest.mark.parametrize("name", [*CLUTTER, "Icon\r"])
def test_clutter(name):
    assert is_clutter(name) and is_clutter(Path("photos") / name)
    assert is_clutter(f"photos/{name}/") and not is_clutter(f"{name}/a.jpg")


@pytest.mark.parametrize("name", DATA)
def test_data(name):
    assert not is_clutter(name) and not is_clutter(Path(".hidden") / name)

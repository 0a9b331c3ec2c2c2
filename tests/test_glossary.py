"""The glossary: its form, and the Chinese word of every entry."""

import re
from pathlib import Path

PAGE = Path(__file__).parent.parent / "chapters" / "reference" / "glossary.md"
NOTES = """CommonBlock SpecialBlock 普通残差单元 特别残差单元 预卷积 旁支卷积 等价映射
误差项 展平 批量标准化 全局平均池化 权值共享 梯度弥散 归一化指数函数 缩放因子 串联
隐含层 激活函数 恒等映射 残差块""".split()  # noqa: SIM905


def entries() -> dict[str, str]:
    text = PAGE.read_text(encoding="utf-8").split("```{glossary}")[1]
    found = re.findall(r"^([^\s:][^\n`]*)\n((?:  .*\n|\n)+)", text, flags=re.MULTILINE)
    assert len(found) == len(dict(found))
    return dict(found)


def test_every_entry_has_its_chinese_word():
    assert len(entries()) > 80
    plain = [name for name, text in entries().items() if not re.search("[一-龥]", text)]
    assert plain == []


def test_entries_are_short_and_without_formulas():
    """They are shown where the term stands, on pages that may load no MathJax."""
    for name, text in entries().items():
        assert "$" not in text, name
        assert len(text) < 420, name


def test_the_words_of_the_notes_are_there():
    page = PAGE.read_text(encoding="utf-8")
    assert [word for word in NOTES if word not in page] == []

import re

from hypothesis import given
from hypothesis import strategies as st

from epp.simulator.tokens import token_id, tokenize

ORIGINAL = re.compile(
    r"(\{|\}|:|,|-|\.|\?|\!|;|@|#|\$|%|\^|&|\*|\(|\)|\+|\-|_|~|/|\\|>|<|\[|\]|=|\"|\w+)(\s*)",
    re.ASCII,
)


def test_nine_words_and_a_question_mark_are_ten_tokens() -> None:
    assert len(tokenize("What do reviewers think about The Comedy of Errors?")) == 10


def test_white_space_belongs_to_the_token_before_it() -> None:
    assert tokenize(" one  two\n") == ["one  ", "two\n"]


def test_apostrophes_and_letters_beyond_ascii_vanish() -> None:
    assert tokenize("it's \u00fcber") == ["it", "s ", "ber"]


@given(st.text(st.sampled_from("ab_9 \n{}:,-.?!;@#$%^&*()+~/\\><[]=\"'`|\u00fc\u4e2d")))
def test_the_fast_expression_finds_what_the_original_one_finds(text: str) -> None:
    assert tokenize(text) == [match.group() for match in ORIGINAL.finditer(text)]


def test_a_token_id_is_fnv_1a() -> None:
    assert [token_id(""), token_id("a"), token_id("foobar")] == [0x811C9DC5, 0xE40C292C, 0xBF9CF968]

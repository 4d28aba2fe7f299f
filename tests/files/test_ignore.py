"""Patterns: what git itself says about the same patterns and paths is right."""

from __future__ import annotations

import os
import re
import subprocess
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pxfer.files.ignore import BadPattern, Patterns, split_lines
from p2pxfer.files.walk import Found, WalkOptions, walk


def kept(root, options):
    """What the walk keeps of `root`, relative to it, without folders."""
    return {
        found.entry.path.partition(b"/")[2]
        for found in walk([root], options)
        if isinstance(found, Found) and found.entry.kind != 2
    }


def git(root, *arguments):
    """Run git where no configuration of this machine's user counts."""
    env = {
        **os.environ,
        "HOME": str(root),
        "XDG_CONFIG_HOME": str(root),
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    done = subprocess.run(
        ["git", *arguments], cwd=root, env=env, capture_output=True, check=True, timeout=120
    )
    return done.stdout


def git_keeps(root):
    """What git would add of `root`, by name."""
    listed = git(root, "ls-files", "-z", "--others", "--exclude-standard")
    return {name for name in listed.split(b"\0") if name}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A repository with a few files, whose ignore files the tests write."""
    root = tmp_path_factory.mktemp("repository")
    git(root, "init", "-q")
    for folder in ("", "a", "a/b", "a/b/a", "b", "ab", "a b", "a\nb"):
        os.makedirs(root / folder, exist_ok=True)
        for name in ("a.o", "b.c", "!c", "#d", "e ", "ab.o"):
            (root / folder / name).touch()
    return root


pieces = st.sampled_from(
    ["a", "b", "*", "**", "?", "/", "/", "!", "#", " ", "\\ ", ".o", ".c", "[ab]", "[!a]", "c", "d"]
)
patterns = (
    st.lists(pieces, min_size=1, max_size=6)
    .map("".join)
    # Two asterisks that touch anything but a slash mean what git happens to make of them.
    .filter(lambda pattern: not re.search(r"[^/!]\*\*|.!\*\*|\*\*[^/]", pattern))
)


@settings(max_examples=150, deadline=None)
@given(st.lists(patterns, min_size=1, max_size=4), st.lists(patterns, max_size=2))
def test_what_git_ignores_is_left_out(tree, top, nested):
    """Any patterns, at the top and nested, leave out just what git would."""
    (tree / ".gitignore").write_text("\n".join(top) + "\n")
    (tree / "a" / ".gitignore").write_text("\n".join(nested) + "\n")
    assert kept(tree, WalkOptions(gitignore=True)) == git_keeps(tree)


@pytest.mark.parametrize(
    "lines",
    [
        ["*", "!*/", "!*.c"],
        ["/a/*", "!/a/b"],
        ["a/**", "!a/b.c"],
        ["*.o", "!/a/b/a.o"],
        ["**/b/", "!b.c"],
        ["\\!c", "\\#d", "e\\ "],
        ["a*/\r", "  ", "# comment"],
    ],
)
def test_idioms_mean_what_git_takes_them_for(tree, lines):
    """The usual ways to say everything-but, and the escapes."""
    (tree / "a" / ".gitignore").write_text("")
    (tree / ".gitignore").write_text("\n".join(lines) + "\n")
    assert kept(tree, WalkOptions(gitignore=True)) == git_keeps(tree)


def test_a_folder_inside_a_repository_heeds_what_is_above_it(tree):
    """Sending a subfolder leaves out the same files as sending the whole."""
    (tree / ".gitignore").write_text("/a/b/*.o\nb.c\n")
    (tree / "a" / ".gitignore").write_text("/b/a\n")
    (tree / ".git" / "info" / "exclude").write_text("!c\n!\\!c\n\\#d\n")
    try:
        whole = git_keeps(tree)
        inside = {name.removeprefix(b"a/b/") for name in whole if name.startswith(b"a/b/")}
        assert kept(tree / "a" / "b", WalkOptions(gitignore=True)) == inside
    finally:
        (tree / ".git" / "info" / "exclude").write_text("")


def test_the_repository_itself_stays_at_home(tree):
    """``.git`` is left out with --gitignore, and sent without."""
    (tree / ".gitignore").write_text("")
    assert not any(path.startswith(b".git/") for path in kept(tree, WalkOptions(gitignore=True)))
    assert b".git/HEAD" in kept(tree, WalkOptions())


def test_a_gitignore_that_is_no_file_is_passed_over(tmp_path):
    """A pipe of that name does not block the walk."""
    os.mkfifo(tmp_path / ".gitignore")
    (tmp_path / "x").touch()
    assert kept(tmp_path, WalkOptions(gitignore=True)) == {b"x"}


def test_a_bad_pattern_counts_for_nothing_in_a_gitignore_only():
    """Git passes over it; on the command line it is a mistake to be told."""
    assert Patterns([b"\\", b"x"], lenient=True).excludes(b"x", folder=False) is True
    with pytest.raises(BadPattern, match=r"^\\$"):
        Patterns([b"\\"])


def test_patterns_are_bytes():
    """A name that is not UTF-8 can be left out by its bytes, or by a wildcard."""
    assert Patterns([b"caf\xe9"]).excludes(b"x/caf\xe9", folder=False) is True
    assert Patterns([b"caf?"]).excludes(b"caf\xe9", folder=False) is True


def test_windows_line_ends_and_byte_order_marks():
    """Files of patterns may come from anywhere."""
    assert split_lines(b"\xef\xbb\xbfa\r\nb\n") == [b"a", b"b", b""]


def test_many_stars_take_no_time():
    """Whoever wrote the .gitignore of what is sent can't keep this process busy."""
    patterns = Patterns([b"a*" * 100 + b"b", b"[a]*?*" * 50 + b"b", b"*" * 200 + b"b"])
    began = time.process_time()
    assert patterns.excludes(b"a" * 255, folder=False) is None
    assert patterns.excludes(b"a" * 254 + b"b", folder=False)
    assert time.process_time() - began < 2  # a hundred times what it takes
